//! Bodies in two formats, from the provider's request to the customers.

use dispatcher::{Client, Dispatcher, Guard, Settings};
use serde_json::Value;
use tests::{Pipeline, a_text};
use vocabulary::{Format, Terms};

use crate::{
    customer::{Customer, Received},
    setting::dispatch_all,
};

fn data(received: &Received) -> Value {
    serde_json::from_slice::<Value>(&received.body).unwrap()["data"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_asks_for_ids_gets_them_signed_on_every_attempt_beside_one_who_gets_everything() {
    let pipeline = Pipeline::new().await;
    let terms = Terms { format: Format::Thin, ..Terms::of("message_*".parse().unwrap()) };
    pipeline.add_endpoint_on("acme", "thin", &terms).await;
    let (full, thin) = (Customer::content().await, Customer::answering(&[500, 200]).await);
    for (id, customer) in [("bot", &full), ("thin", &thin)] {
        pipeline.execute(&format!("UPDATE endpoints SET url = '{}' WHERE id = '{id}'", customer.url)).await;
    }
    let client = Client::new(Guard::new("127.0.0.0/8".parse().unwrap()));
    let mut dispatcher =
        Dispatcher::new(pipeline.database.clone(), pipeline.master.clone(), Settings::default(), client);

    pipeline.receive(a_text("wamid.1", "hello")).await;
    dispatch_all(&mut dispatcher).await;
    pipeline.execute("UPDATE due SET due_at = now()").await;
    dispatch_all(&mut dispatcher).await;

    let (full, thin) = (full.received(), thin.received());
    assert_eq!((full.len(), thin.len()), (1, 2));
    assert_eq!((thin[0].id(), &thin[0].body), (thin[1].id(), &thin[1].body));
    let secret = "whsec_dGhlIHNlY3JldCBvZiBhIHRlc3QgYm90".to_owned().into();
    assert!(full.iter().chain(&thin).all(|request| request.is_signed_by(&secret)));
    let (everything, ids) = (data(&full[0]), data(&thin[1]));
    assert_eq!((&everything["event_id"], &everything["key"]), (&ids["event_id"], &ids["key"]));
    assert_eq!((&ids["message"]["external_id"], &ids["message"]["content"]), (&"wamid.1".into(), &Value::Null));
    assert_eq!((&ids["raw"], &everything["message"]["content"]), (&Value::Null, &"hello".into()));
    let findings = database::audit::check(&pipeline.database.connection().await.unwrap()).await.unwrap();
    assert!(findings.iter().all(|finding| finding.breaches == 0), "{findings:?}");
}
