//! A producer's door on a loopback port, in front of a real Redis.

use std::{future::poll_fn, net::SocketAddr, pin::Pin, task::Poll, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use producer::{
    Certificates, ConnectionLimits, Intake, IntakeSettings, Producer, ProducerSettings, SourceBook, Stopped, routes,
    serve,
};
use queue::{Inbound, Redis, Snapshots};
use ring::hmac;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use vocabulary::{Job, MasterKey, RawEvent, Source, TokenHash};

use super::http::{Response, exchange, get, post};

pub(super) const SECRET: &str = "test_app_secret";
/// What an app shows for a source of [`open_to_apps`].
pub(super) const TOKEN: &str = "lhtok_of_a_test";
pub(super) const VERIFY_TOKEN: &str = "vibecoding";

/// How the door is to be.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) producer: ProducerSettings,
    pub(super) intake: IntakeSettings,
    pub(super) certificates: Certificates,
    pub(super) limits: ConnectionLimits,
}

pub(super) struct Door {
    pub(super) address: SocketAddr,
    pub(super) intake: Intake,
    pub(super) producer: Producer,
    pub(super) inbound: Inbound,
    pub(super) stop: CancellationToken,
    server: JoinHandle<Stopped>,
    redis: Redis,
    master: String,
    prefix: String,
    url: String,
}

/// A door for one source, `wa`, on a Redis that is shared with other tests.
pub(super) async fn door() -> Door {
    let redis = tests::redis().await;
    Plan::default().open(&redis.url, &redis.prefix).await
}

impl Plan {
    /// A door for one source, `wa`, that has looked at Redis once.
    pub(super) async fn open(self, url: &str, prefix: &str) -> Door {
        let door = self.open_unseen(url, prefix).await;
        door.publish(1, &[open_to_apps("wa")], Utc::now()).await;
        door.intake.look(Utc::now()).await;
        door
    }

    /// A door that knows nothing yet.
    pub(super) async fn open_unseen(self, url: &str, prefix: &str) -> Door {
        let redis = Redis::new(url, prefix).unwrap();
        let master = secret_text(&MasterKey::generate());
        let producer = Producer::new(&redis, self.producer);
        let book = SourceBook::new(&redis, MasterKey::parse(&master.clone().into()).unwrap());
        let intake = Intake::new(&redis, producer.clone(), book, self.certificates, self.intake);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let server = tokio::spawn(serve(listener, routes(intake.clone()), self.limits, stop.clone()));
        let (inbound, prefix, url) = (Inbound::new(&redis), prefix.to_owned(), url.to_owned());
        Door { address, intake, producer, inbound, stop, server, redis, master, prefix, url }
    }
}

impl Door {
    /// Another book of the same sources, which nobody has opened.
    pub(super) fn book(&self) -> SourceBook {
        SourceBook::new(&self.redis, MasterKey::parse(&self.master.clone().into()).unwrap())
    }

    pub(super) async fn publish(&self, revision: i64, sources: &[Source], at: DateTime<Utc>) {
        let master = MasterKey::parse(&self.master.clone().into()).unwrap();
        Snapshots::new(&self.redis).publish(&master, revision, sources, at).await.unwrap();
    }

    /// Posts a body to `wa` with a signature over it.
    pub(super) async fn post_signed(&self, body: &[u8]) -> Response {
        exchange(self.address, &signed(body)).await
    }

    pub(super) async fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Response {
        exchange(self.address, &post("/hooks/wa", headers, body)).await
    }

    /// Posts a body to `wa` as an app with its token does.
    pub(super) async fn enqueue(&self, headers: &[(&str, &str)], body: &[u8]) -> Response {
        exchange(self.address, &enqueue("wa", headers, body)).await
    }

    pub(super) async fn get(&self, target: &str) -> Response {
        exchange(self.address, &get(target)).await
    }

    /// The raw events that Redis holds, in the order of their numbers; which have no gaps.
    pub(super) async fn stored(&self) -> Vec<RawEvent> {
        let mut jobs: Vec<(String, Vec<u8>)> = redis::cmd("HGETALL")
            .arg(format!("{}:inbound:data", self.prefix))
            .query_async(&mut self.redis().await)
            .await
            .unwrap();
        let mut pending = self.inbound.pending().await.unwrap();
        pending.sort_by_key(|job| job.first);
        let expected =
            pending.iter().scan(1, |next, job| Some(std::mem::replace(next, job.first + u64::from(job.count))));
        assert!(expected.eq(pending.iter().map(|job| job.first)), "{pending:?}");
        jobs.sort_by_key(|(id, _)| first_number(id));
        let jobs = jobs.into_iter().map(|(_, bytes)| Job::decode(&bytes.into()).unwrap());
        jobs.flat_map(|job| job.entries).map(|entry| entry.raw_event).collect()
    }

    pub(super) async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// What the server said when it had ended.
    pub(super) async fn ended(self) -> Stopped {
        timeout(Duration::from_secs(20), self.server).await.expect("the server ends").unwrap()
    }
}

/// A job is named `<incarnation>-<first number>-<count>`.
fn first_number(id: &str) -> u64 {
    id.rsplit('-').nth(1).unwrap().parse().unwrap()
}

fn secret_text(secret: &impl secrecy::ExposeSecret<str>) -> String {
    secret.expose_secret().to_owned()
}

/// An enabled WhatsApp source that knows [`SECRET`] and [`VERIFY_TOKEN`].
pub(super) fn source(id: &str) -> Source {
    Source {
        id: id.parse().unwrap(),
        account_id: "account".parse().unwrap(),
        name: "Support".into(),
        provider: "whatsapp".into(),
        enabled: true,
        secrets: vec![SECRET.to_owned().into()],
        verify_token: Some(VERIFY_TOKEN.to_owned().into()),
        tokens: Vec::new(),
        body_limit: None,
        settings: serde_json::Map::new(),
        revision: 1,
    }
}

/// As [`source`], and apps that show [`TOKEN`] enqueue for it.
pub(super) fn open_to_apps(id: &str) -> Source {
    Source { tokens: vec![TokenHash::of(&TOKEN.to_owned().into())], ..source(id) }
}

/// Meta's header over these bytes.
pub(super) fn signature(secret: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body);
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

/// A `POST` to `wa` that is signed as Meta signs.
pub(super) fn signed(body: &[u8]) -> Vec<u8> {
    post("/hooks/wa", &[("X-Hub-Signature-256", &signature(SECRET, body))], body)
}

/// A `POST` of an app that shows [`TOKEN`].
pub(super) fn enqueue(source: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let token = format!("Bearer {TOKEN}");
    post(&raw_events_of(source), &[headers, &[("authorization", &token)]].concat(), body)
}

/// Where apps enqueue for a source.
pub(super) fn raw_events_of(source: &str) -> String {
    format!("/v1/sources/{source}/raw-events")
}

/// A raw event for the library, which asks nobody whether its source exists.
pub(super) fn raw_event(body: impl Into<Bytes>) -> RawEvent {
    RawEvent { source_id: "orders".parse().unwrap(), received_at: Utc::now(), headers: Vec::new(), body: body.into() }
}

/// Begins something, so that it is on its way, without waiting for its end.
pub(super) async fn begin<F: Future>(mut future: Pin<&mut F>) {
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Waits for something that nobody tells us of.
pub(super) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let all = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), all).await.unwrap_or_else(|_| panic!("it never came true: {what}"));
}
