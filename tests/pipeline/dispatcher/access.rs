//! What an endpoint's requests carry beside the signature: all of it, or nothing is sent.

use dispatcher::{Access, ClientCertificate};

use crate::{
    customer::Customer,
    setting::{Setting, dispatch_all},
};

impl Setting {
    pub(crate) async fn give_access(&self, access: &Access) {
        let (connection, bot) = (self.database.connection().await.unwrap(), "bot".parse().unwrap());
        database::endpoints::set_access(&connection, &self.master, &bot, Some(&access.to_json())).await.unwrap();
    }

    async fn keep_as_access(&self, sealed: &[u8]) {
        let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        self.execute(&format!("UPDATE endpoints SET access = '\\x{hex}'")).await;
    }
}

fn header(name: &str, value: &str) -> Access {
    Access { headers: vec![(name.to_owned(), value.to_owned())], ..Access::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_asks_for_is_carried_beside_the_signature() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.give_access(&Access { basic_auth: Some("user:pass".to_owned()), ..header("x-api-key", "hush") }).await;
    setting.owe("bot", "1").await;

    dispatch_all(&mut setting.dispatcher()).await;

    let request = customer.received().remove(0);
    assert_eq!(request.header("x-api-key"), "hush");
    assert_eq!(request.header("authorization"), "Basic dXNlcjpwYXNz");
    assert_eq!(request.header("content-type"), "application/json");
    assert!(request.is_signed_by(&setting.secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_attempt_carries_what_was_given_last() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let mut dispatcher = setting.dispatcher();

    for value in ["old", "new"] {
        setting.give_access(&header("x-api-key", value)).await;
        setting.owe("bot", value).await;
        dispatch_all(&mut dispatcher).await;
    }

    let received = customer.received();
    let carried: Vec<_> = received.iter().map(|request| request.header("x-api-key")).collect();
    assert_eq!(carried, ["old", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_that_does_not_open_or_cannot_be_carried_is_sent_nothing() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let own = rcgen::generate_simple_self_signed(["latchhook.example".to_owned()]).unwrap();
    let certificate = ClientCertificate { chain: own.cert.pem(), key: own.signing_key.serialize_pem() };
    let in_plain = Access { client_certificate: Some(certificate), ..Access::default() };
    let seal = |place: &str, json: &str| setting.master.seal(place, json.as_bytes());
    let unusable = [
        ("damaged", b"\0".to_vec()),
        ("another endpoint's", seal("endpoint:other", "{\"headers\":[]}")),
        ("no access", seal("endpoint:bot", "whsec_")),
        ("of a later version", seal("endpoint:bot", "{\"headers\":[],\"token\":\"x\"}")),
        ("a header that is ours", seal("endpoint:bot", "{\"headers\":[[\"webhook-id\",\"x\"]]}")),
        ("a certificate that nobody can be shown", {
            use secrecy::ExposeSecret;
            seal("endpoint:bot", in_plain.to_json().expose_secret())
        }),
    ];
    let mut dispatcher = setting.dispatcher();

    for (number, (what, sealed)) in unusable.iter().enumerate() {
        setting.keep_as_access(sealed).await;
        setting.owe("bot", &number.to_string()).await;
        dispatch_all(&mut dispatcher).await;

        assert_eq!(setting.attempts().await.pop(), Some(("access".to_owned(), None)), "{what}");
    }
    assert!(customer.received().is_empty());
}
