//! Who hears of an event: by its source, its type and what its body says; and what they are told.

use serde_json::{Value, json};
use tests::{Pipeline, a_reaction, a_status, a_text, text, whatsapp};
use vocabulary::{Format, Terms};

/// Terms of an endpoint that wants these types.
fn wanting(event_types: &str) -> Terms {
    Terms::of(event_types.parse().unwrap())
}

fn only(filter: &Value) -> Terms {
    Terms { filter: Some(filter.to_string().parse().unwrap()), ..wanting("*") }
}

/// What is owed to an endpoint: the keys of its events, in their order.
async fn owed_to(pipeline: &Pipeline, endpoint: &str) -> Vec<String> {
    let query = "SELECT e.key FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.endpoint_id = $1 \
                 ORDER BY e.source_id, e.sequence";
    pipeline.rows(query, &[&endpoint]).await.iter().map(|row| row.get(0)).collect()
}

async fn bodies(pipeline: &Pipeline, format: &str) -> Vec<Value> {
    let query =
        "SELECT b.body FROM bodies b JOIN events e ON e.id = b.event_id WHERE b.format = $1 ORDER BY e.sequence";
    let rows = pipeline.rows(query, &[&format]).await;
    rows.iter().map(|row| serde_json::from_slice(row.get(0)).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_hears_of_the_sources_that_it_names_and_of_all_if_it_names_none() {
    let pipeline = Pipeline::new().await;
    pipeline.add_source("acme", "wa2").await;
    for (id, source) in [("first", "wa"), ("second", "wa2")] {
        let terms = Terms { sources: Some(vec![source.parse().unwrap()]), ..wanting("*") };
        pipeline.add_endpoint_on("acme", id, &terms).await;
    }

    pipeline.receive(a_text("wamid.1", "hello")).await;
    let held = pipeline.enqueue_from("wa2", a_text("wamid.2", "hello")).await;
    pipeline.worker.work(vec![held]).await;

    assert_eq!(owed_to(&pipeline, "first").await, ["wamid.1"]);
    assert_eq!(owed_to(&pipeline, "second").await, ["wamid.2"]);
    assert_eq!(owed_to(&pipeline, "bot").await, ["wamid.1", "wamid.2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_behind_the_beginning_of_a_type_wants_whatever_follows() {
    let pipeline = Pipeline::new().await;
    pipeline.add_endpoint("acme", "messages", "message_*").await;
    pipeline.add_endpoint("acme", "notices", "whatsapp.*").await;
    pipeline.add_endpoint("acme", "neither", "whatsapp.account_*").await;
    let system = json!({"from": "15550101234", "id": "wamid.s", "timestamp": "1771000001", "type": "system",
        "system": {"body": "changed", "type": "user_changed_number", "wa_id": "15550109999"}});

    pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.receive(a_status("wamid.2", "sent")).await;
    pipeline.receive(whatsapp(&[json!({"messages": [system]})])).await;

    assert_eq!(owed_to(&pipeline, "messages").await, ["wamid.1", "wamid.2:sent"]);
    assert_eq!(owed_to(&pipeline, "notices").await, ["wamid.s"]);
    assert_eq!(owed_to(&pipeline, "neither").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_wants_what_the_full_body_says_and_owes_nothing_else() {
    let pipeline = Pipeline::new().await;
    let read = json!({"pointer": "/data/changed/status/to", "equals": "read"});
    pipeline.add_endpoint_on("acme", "read", &only(&read)).await;
    let ada = json!([{"pointer": "/data/message/sender/phone", "in": ["15550101234"]}, {"not": read}]);
    pipeline.add_endpoint_on("acme", "ada", &Terms { format: Format::Thin, ..only(&ada) }).await;

    pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.receive(a_status("wamid.2", "sent")).await;
    pipeline.receive(a_status("wamid.2", "read")).await;

    assert_eq!(owed_to(&pipeline, "read").await, ["wamid.2:read"]);
    assert_eq!(owed_to(&pipeline, "ada").await, ["wamid.1"]);
    let counted = pipeline.rows("SELECT deliveries_owed FROM events ORDER BY sequence", &[]).await;
    assert_eq!(counted.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [2, 1, 2]);
    assert_eq!(bodies(&pipeline, "thin").await.len(), 1, "nobody else asked for one");
}

/// Half a surrogate pair is spliced into the body as it came. Nothing is lost for it, and its neighbours go on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_cannot_read_is_wanted() {
    let pipeline = Pipeline::new().await;
    pipeline
        .add_endpoint_on("acme", "asks", &only(&json!({"pointer": "/data/raw/text/body", "equals": "hello"})))
        .await;
    pipeline
        .add_endpoint_on("acme", "knows", &only(&json!({"pointer": "/data/message/kind", "equals": "image"})))
        .await;
    let messages = ["half \\ud83d", "nul \\u0000", "hello"].iter().zip(["wamid.1", "wamid.2", "wamid.3"]);
    let messages: Vec<_> = messages.map(|(body, wamid)| text(wamid, body)).collect();
    let body = whatsapp(&[json!({"messages": messages})]).replace("\\\\u", "\\u");

    pipeline.receive(body).await;

    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.2", "wamid.3"]);
    assert_eq!(owed_to(&pipeline, "asks").await, ["wamid.1", "wamid.3"]);
    assert_eq!(owed_to(&pipeline, "knows").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_endpoints_each_is_told_in_the_format_that_it_asks_for() {
    let pipeline = Pipeline::new().await;
    pipeline.add_endpoint_on("acme", "thin", &Terms { format: Format::Thin, ..wanting("message_created") }).await;

    pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.receive(a_reaction("wamid.2", "wamid.1", "👍")).await;

    let (full, thin) = (bodies(&pipeline, "full").await, bodies(&pipeline, "thin").await);
    assert_eq!((full.len(), thin.len()), (2, 1));
    let told = pipeline.told().await;
    assert_eq!(told, [full[0].clone(), thin[0].clone(), full[1].clone()]);
    let data = |name: &str| full[0]["data"][name].clone();
    let message = json!({"id": data("message")["id"], "external_id": "wamid.1"});
    let expected = json!({"type": "message_created", "timestamp": "2026-02-13T16:26:40Z", "data": {
        "event_id": data("event_id"), "source_id": "wa", "account_id": "acme", "key": "wamid.1", "sequence": 1,
        "message": message,
    }});
    assert_eq!(thin[0], expected);
}

/// A notice is about no message.
#[tokio::test(flavor = "multi_thread")]
async fn a_thin_body_names_a_message_only_where_there_is_one() {
    let pipeline = Pipeline::new().await;
    pipeline.add_endpoint_on("acme", "thin", &Terms { format: Format::Thin, ..wanting("whatsapp.*") }).await;
    let system = json!({"from": "15550101234", "id": "wamid.s", "timestamp": "1771000001", "type": "system",
        "system": {"body": "changed", "type": "user_changed_number", "wa_id": "15550109999"}});

    pipeline.receive(whatsapp(&[json!({"messages": [system]})])).await;

    let thin = bodies(&pipeline, "thin").await.remove(0);
    let mut fields: Vec<_> = thin["data"].as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["account_id", "event_id", "key", "sequence", "source_id"]);
    assert_eq!(thin["type"], "whatsapp.system");
}
