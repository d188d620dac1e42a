//! The receivers of docs/receiving.md, as customers would run them, behind a real pipeline: what is delivered twice is
//! recorded once, and what is forged or old is refused.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

use std::{net::SocketAddr, path::Path, process::Command};

use bytes::Bytes;
use chrono::Utc;
use database::{deliveries, endpoints};
use dispatcher::{
    Client, Dispatcher, Guard,
    signing::{SigningSecret, signature},
};
use futures::future::join_all;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::{client::legacy, rt::TokioExecutor};
use latchhook::servers::ScratchDir;
use secrecy::SecretString;
use tests::{Pipeline, Process, a_text, example};
use vocabulary::Terms;

/// That of the pipeline's endpoint.
const SECRET: &str = "whsec_dGhlIHNlY3JldCBvZiBhIHRlc3QgYm90";
/// A body as any delivery has it.
const BODY: &str = r#"{"type":"message_created","timestamp":"2026-02-13T16:26:40Z","data":{"sequence":1}}"#;

/// A language that a receiver is written in.
#[derive(Clone, Copy)]
enum Language {
    Rust,
    Python,
    Node,
}

/// A pipeline whose endpoint is one of the receivers.
struct Customer {
    pipeline: Pipeline,
    language: Language,
    /// What it records is kept here.
    dir: ScratchDir,
    process: Process,
    address: SocketAddr,
}

impl Customer {
    async fn new(language: Language) -> Self {
        let (pipeline, dir) = (Pipeline::new().await, ScratchDir::new().unwrap());
        let process = start(language, &pipeline, dir.path()).await;
        let address = process.address_behind("listening on http://");
        let customer = Self { pipeline, language, dir, process, address };
        customer.listens_there().await;
        customer
    }

    /// Gives the endpoint the receiver's address.
    async fn listens_there(&self) {
        let endpoint = endpoints::NewEndpoint {
            id: &"bot".parse().unwrap(),
            account_id: &"acme".parse().unwrap(),
            url: &format!("http://{}/webhooks", self.address),
            secrets: &[],
            terms: &Terms::of("*".parse().unwrap()),
        };
        let connection = self.pipeline.database.connection().await.unwrap();
        endpoints::put(&connection, &self.pipeline.master, &endpoint).await.unwrap();
    }

    /// Ends, and starts again over what it has recorded.
    async fn restarts(&mut self) {
        self.process = start(self.language, &self.pipeline, self.dir.path()).await;
        self.address = self.process.address_behind("listening on http://");
        self.listens_there().await;
    }

    /// Sends all that is due, to the end.
    async fn is_sent_what_is_due(&self) {
        let client = Client::new(Guard::new("127.0.0.0/8".parse().unwrap()));
        let (database, master) = (self.pipeline.database.clone(), self.pipeline.master.clone());
        let mut dispatcher = Dispatcher::new(database, master, dispatcher::Settings::default(), client);
        while dispatcher.dispatch_due().await.unwrap().leased > 0 {
            dispatcher.settled().await;
        }
    }

    /// Sends what was delivered once more, under its id: as after an answer that was lost.
    async fn is_sent_all_again(&self) {
        let connection = self.pipeline.database.connection().await.unwrap();
        let rows = deliveries::list(&connection, &deliveries::Wanted::default(), 10, |_| ()).await.unwrap();
        deliveries::make_due(&connection, &rows, &["delivered"]).await.unwrap();
        self.is_sent_what_is_due().await;
    }

    /// Sends a request of our own making.
    async fn is_sent(&self, id: &str, timestamp: i64, signed: &str, body: &str) -> StatusCode {
        let secret = SigningSecret::parse(&SecretString::from(SECRET)).unwrap();
        let request = Request::post(format!("http://{}/", self.address))
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature(&[secret], id, timestamp, signed.as_bytes()))
            .body(Full::<Bytes>::from(body.to_owned()))
            .unwrap();
        let client: legacy::Client<_, _> = legacy::Client::builder(TokioExecutor::new()).build_http();
        client.request(request).await.unwrap().status()
    }

    fn recorded(&self, webhook_id: &str) -> usize {
        self.process.log().matches(&format!("recorded {webhook_id}")).count()
    }

    fn had(&self, webhook_id: &str) -> usize {
        self.process.log().matches(&format!("had {webhook_id} already")).count()
    }
}

async fn start(language: Language, pipeline: &Pipeline, dir: &Path) -> Process {
    let receivers = Path::new(env!("CARGO_MANIFEST_DIR")).join("receivers");
    let mut command = match language {
        Language::Rust => Command::new(example("receiver")),
        Language::Python => interpreter("python3", &receivers.join("python/receiver.py")),
        Language::Node => interpreter("node", &receivers.join("node/receiver.mjs")),
    };
    command.env("WEBHOOK_SECRET", SECRET).env("PORT", "0").env("DATABASE_URL", &pipeline.test_database.url);
    command.env("DATABASE", dir.join("webhooks.db")).env("INBOX", dir.join("webhooks.ndjson"));
    Process::spawn(command, "listening on").await
}

/// A program that runs a file. One that is missing is no reason to believe what it was to show.
fn interpreter(name: &str, file: &Path) -> Command {
    let found = Command::new(name).arg("--version").output().is_ok_and(|said| said.status.success());
    assert!(found, "{name} is missing: install it (on Debian: apt-get install nodejs python3)");
    let mut command = Command::new(name);
    command.arg(file);
    command
}

async fn what_is_delivered_twice_is_recorded_once(language: Language) {
    let mut customer = Customer::new(language).await;
    customer.pipeline.receive(a_text("wamid.1", "Grüße, \u{1F44B}")).await;
    let id: String = customer.pipeline.rows("SELECT webhook_id FROM deliveries", &[]).await[0].get(0);

    customer.is_sent_what_is_due().await;
    customer.is_sent_all_again().await;
    let before = (customer.recorded(&id), customer.had(&id));
    customer.restarts().await;
    customer.is_sent_all_again().await;
    let after = (customer.recorded(&id), customer.had(&id));

    assert_eq!((before, after), ((1, 1), (0, 1)), "{}", customer.process.log());
    let delivered = "SELECT count(*) FROM attempts WHERE outcome = 'delivered' AND http_status = 204";
    assert_eq!(customer.pipeline.number(delivered).await, 3);
}

async fn what_comes_many_times_at_once_is_recorded_once(language: Language) {
    let customer = Customer::new(language).await;
    let now = Utc::now().timestamp();

    let answers = join_all((0..16).map(|_| customer.is_sent("msg_1", now, BODY, BODY))).await;

    assert!(answers.iter().all(|answer| *answer == StatusCode::NO_CONTENT), "{answers:?}");
    assert_eq!((customer.recorded("msg_1"), customer.had("msg_1")), (1, 15), "{}", customer.process.log());
}

async fn what_is_forged_or_old_is_refused(language: Language) {
    let customer = Customer::new(language).await;
    let (now, forged) = (Utc::now().timestamp(), BODY.replace('1', "2"));

    let answers = [
        customer.is_sent("msg_forged", now, BODY, &forged).await,
        customer.is_sent("msg_old", now - 400, BODY, BODY).await,
        customer.is_sent("msg_new", now + 400, BODY, BODY).await,
    ];
    let good = customer.is_sent("msg_good", now - 200, BODY, BODY).await;

    assert_eq!((answers, good), ([StatusCode::UNAUTHORIZED; 3], StatusCode::NO_CONTENT));
    assert_eq!((customer.recorded("msg_"), customer.recorded("msg_good")), (1, 1), "{}", customer.process.log());
}

macro_rules! of {
    ($module:ident, $language:expr) => {
        mod $module {
            use super::Language;

            #[tokio::test(flavor = "multi_thread")]
            async fn what_is_delivered_twice_is_recorded_once() {
                super::what_is_delivered_twice_is_recorded_once($language).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn what_comes_many_times_at_once_is_recorded_once() {
                super::what_comes_many_times_at_once_is_recorded_once($language).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn what_is_forged_or_old_is_refused() {
                super::what_is_forged_or_old_is_refused($language).await;
            }
        }
    };
}

of!(rust, Language::Rust);
of!(python, Language::Python);
of!(node, Language::Node);
