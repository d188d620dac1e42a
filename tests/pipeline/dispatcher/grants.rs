//! What an account is granted: its endpoints may be where nobody else's may, over connections that nobody else uses.

use dispatcher::{Access, Client, ClientCertificate, Dispatcher, Granted, Guard, Settings};
use tests::own_address;
use tokio::{net::TcpListener, time::timeout};
use vocabulary::Terms;

use crate::{
    customer::Customer,
    setting::{Setting, dispatch_all},
};

impl Setting {
    /// An endpoint of another account.
    async fn add_endpoint_of_another(&self, id: &str, url: &str) {
        let connection = self.database.connection().await.unwrap();
        database::accounts::put(&connection, &"other".parse().unwrap(), "Other").await.unwrap();
        let new = database::endpoints::NewEndpoint {
            id: &id.parse().unwrap(),
            account_id: &"other".parse().unwrap(),
            url,
            secrets: std::slice::from_ref(&self.secret),
            terms: &Terms::of("*".parse().unwrap()),
        };
        database::endpoints::put(&connection, &self.master, &new).await.unwrap();
    }

    /// Gives the account `acme` these ranges, and no others.
    async fn grant(&self, ranges: &str) {
        let granted = if ranges.is_empty() { Granted::default() } else { ranges.parse().unwrap() };
        let connection = self.database.connection().await.unwrap();
        let acme = "acme".parse().unwrap();
        assert!(database::accounts::allow_private(&connection, &acme, &granted.to_texts()).await.unwrap());
    }

    /// Has an endpoint sent something, and says what came of it.
    async fn attempt(&self, dispatcher: &mut Dispatcher, endpoint: &str) -> String {
        let key = self.number("SELECT count(*) FROM deliveries").await.to_string();
        self.owe(endpoint, &key).await;
        dispatch_all(dispatcher).await;
        let last = "SELECT outcome FROM attempts ORDER BY started_at DESC, lease DESC LIMIT 1";
        self.rows(last).await[0].get(0)
    }

    /// A dispatcher to which the operator has allowed nothing.
    fn strict_dispatcher(&self) -> Dispatcher {
        let client = Client::new(Guard::default());
        Dispatcher::new(self.database.clone(), self.master.clone(), Settings::default(), client)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_account_is_granted_no_other_reaches_at_the_very_same_url_while_a_connection_there_is_warm() {
    let customer = Customer::content_at(own_address()).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.add_endpoint_of_another("theirs", &customer.url).await;
    setting.grant(&own_address().to_string()).await;
    let mut dispatcher = setting.strict_dispatcher();

    let mut outcomes = Vec::new();
    for endpoint in ["bot", "theirs", "bot", "theirs"] {
        outcomes.push(setting.attempt(&mut dispatcher, endpoint).await);
    }

    assert_eq!(outcomes, ["delivered", "guard", "delivered", "guard"]);
    assert_eq!(customer.received().len(), 2);
    let over_a_kept_one = "SELECT count(*) FROM attempts WHERE connect_us IS NULL AND outcome = 'delivered'";
    assert_eq!(setting.number(over_a_kept_one).await, 1, "it was there to be misused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_taken_back_is_closed_to_the_next_attempt_on_a_kept_connection_too() {
    let customer = Customer::content_at(own_address()).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let mut dispatcher = setting.strict_dispatcher();

    let mut outcomes = Vec::new();
    for ranges in [own_address().to_string(), "10.255.255.0/31".to_owned(), String::new(), own_address().to_string()] {
        setting.grant(&ranges).await;
        outcomes.push(setting.attempt(&mut dispatcher, "bot").await);
    }

    assert_eq!(outcomes, ["delivered", "guard", "guard", "delivered"]);
    assert_eq!(customer.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_shows_a_certificate_may_go_where_its_account_may_and_no_further() {
    let customer = Customer::content_at(own_address()).await;
    let setting = Setting::with_endpoint(&customer.url.replace("http:", "https:")).await;
    let own = rcgen::generate_simple_self_signed(["latchhook.example".to_owned()]).unwrap();
    let certificate = ClientCertificate { chain: own.cert.pem(), key: own.signing_key.serialize_pem() };
    setting.give_access(&Access { client_certificate: Some(certificate), ..Access::default() }).await;
    let mut dispatcher = setting.strict_dispatcher();

    let before = setting.attempt(&mut dispatcher, "bot").await;
    setting.grant(&own_address().to_string()).await;
    let granted = setting.attempt(&mut dispatcher, "bot").await;

    // The customer speaks no TLS, so that is how far it gets.
    assert_eq!((before.as_str(), granted.as_str()), ("guard", "tls"));
}

#[tokio::test(flavor = "multi_thread")]
async fn however_wide_a_range_is_this_machine_is_not_even_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setting = Setting::with_endpoint(&format!("http://{}/", listener.local_addr().unwrap())).await;
    setting.grant("0.0.0.0/0,::/0").await;

    let outcome = setting.attempt(&mut setting.strict_dispatcher(), "bot").await;

    assert_eq!(outcome, "guard");
    assert!(timeout(std::time::Duration::ZERO, listener.accept()).await.is_err());
    let detail: String = setting.rows("SELECT detail FROM attempts").await[0].get(0);
    assert!(detail.contains("127.0.0.1 is not public (loopback)"), "{detail}");
}

/// Postgres reads a leading zero and this version does not, as it may be with what a later one has written.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_cannot_be_read_uses_nothing_up_and_speaks_against_no_endpoint() {
    let customer = Customer::content_at(own_address()).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe_many("bot", 12).await;
    setting.execute("UPDATE accounts SET allowed_private = '{010.0.0.0/8}'").await;

    let leased = dispatch_all(&mut setting.strict_dispatcher()).await;
    let untouched = "SELECT count(*) FROM due WHERE lease IS NULL AND attempts = 0 AND due_at <= now()";
    let (kept, attempts) = (setting.number(untouched).await, setting.number("SELECT count(*) FROM attempts").await);
    setting.grant(&own_address().to_string()).await;
    dispatch_all(&mut setting.strict_dispatcher()).await;

    assert_eq!((leased, kept, attempts), (0, 12, 0));
    assert_eq!(setting.number("SELECT count(*) FROM gates WHERE failures > 0").await, 0);
    assert_eq!(customer.received().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_no_range_that_is_none() {
    let setting = Setting::new().await;
    let connection = setting.database.connection().await.unwrap();
    let too_many = vec!["10.0.0.0/8".to_owned(); 65];

    for ranges in [&["10.0.0.0/33".to_owned()][..], &["shop.example".to_owned()], &too_many] {
        let kept = database::accounts::allow_private(&connection, &"acme".parse().unwrap(), ranges).await;
        assert!(kept.is_err(), "{ranges:?}");
    }
    let nobody = "nobody".parse().unwrap();
    assert!(!database::accounts::allow_private(&connection, &nobody, &[]).await.unwrap());
}
