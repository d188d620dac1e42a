//! The couriers: each holds a connection to every customer, and carries one delivery at a time.

use std::{rc::Rc, sync::atomic::Ordering::Relaxed};

use anyhow::Context;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use dispatcher::signing::{SigningSecret, signature};
use hyper::Uri;
use ring::digest::{SHA256, digest};
use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::Instant,
};
use uuid::Uuid;
use vocabulary::{EndpointId, WebhookId};

use super::{super::wire::Wire, Common, recorder::Ended};

/// Who is told of every event.
#[derive(Debug, Clone)]
pub(super) struct Customer {
    pub endpoint_id: EndpointId,
    authority: String,
    path: String,
}

/// What one customer is owed.
#[derive(Debug)]
pub(super) struct Delivery {
    pub event_id: Uuid,
    /// Which one.
    pub customer: usize,
    pub webhook_id: WebhookId,
    pub body: Bytes,
}

/// What all couriers need.
pub(super) struct Courier {
    pub common: Common,
    pub secret: SigningSecret,
}

/// The customers behind these addresses.
///
/// # Errors
/// When one names no host.
pub(super) fn customers(urls: &[Uri]) -> anyhow::Result<Vec<Customer>> {
    let customer = |(number, url): (usize, &Uri)| {
        let authority = url.authority().context("a customer's URL names no host")?.to_string();
        let path = url.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Customer { endpoint_id: format!("ceiling-{number}").parse()?, authority, path })
    };
    urls.iter().enumerate().map(customer).collect()
}

type Owed = Rc<Mutex<mpsc::Receiver<Delivery>>>;

impl Courier {
    /// Sends out so many of them, for ever.
    ///
    /// # Errors
    /// When the recorder is gone.
    pub(super) async fn run(self, owed: mpsc::Receiver<Delivery>, recorder: mpsc::Sender<Ended>) -> anyhow::Result<()> {
        let (courier, owed) = (Rc::new(self), Rc::new(Mutex::new(owed)));
        let mut at_work = JoinSet::new();
        for _ in 0..courier.common.shape.in_flight {
            at_work.spawn_local(courier.clone().carry(owed.clone(), recorder.clone()));
        }
        at_work.join_next().await.context("there is no courier")??
    }

    async fn carry(self: Rc<Self>, owed: Owed, recorder: mpsc::Sender<Ended>) -> anyhow::Result<()> {
        let mut wires: Vec<Option<Wire>> = self.common.customers.iter().map(|_| None).collect();
        let mut request = Vec::new();
        loop {
            let next = owed.lock().await.recv().await;
            let Some(delivery) = next else { return Ok(()) };
            let (now, started) = (Utc::now(), Instant::now());
            self.write(&mut request, &delivery, now)?;
            if self.post(&mut wires[delivery.customer], delivery.customer, &request).await.ok() != Some(200) {
                wires[delivery.customer] = None;
                self.common.tally.failed.fetch_add(1, Relaxed);
                continue;
            }
            self.common.tally.delivered.fetch_add(1, Relaxed);
            recorder.send(ended(delivery, now, started)).await.context("the recorder is gone")?;
        }
    }

    /// The headers are those of latchhook's requests.
    fn write(&self, request: &mut Vec<u8>, delivery: &Delivery, now: DateTime<Utc>) -> std::io::Result<()> {
        use std::io::Write;

        let Customer { authority, path, .. } = &self.common.customers[delivery.customer];
        let Delivery { webhook_id, body, .. } = delivery;
        let timestamp = now.timestamp();
        let signature = signature(std::slice::from_ref(&self.secret), webhook_id.as_str(), timestamp, body);
        request.clear();
        write!(
            request,
            "POST {path} HTTP/1.1\r\ncontent-type: application/json\r\nuser-agent: latchhook/ceiling\r\n\
             webhook-id: {webhook_id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n\
             host: {authority}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
        request.extend_from_slice(body);
        Ok(())
    }

    /// The status of the answer.
    async fn post(&self, wire: &mut Option<Wire>, customer: usize, request: &[u8]) -> std::io::Result<u16> {
        let wire = match wire {
            Some(wire) => wire,
            None => wire.insert(Wire::new(TcpStream::connect(&self.common.customers[customer].authority).await?)),
        };
        wire.write(request).await?;
        Ok(wire.answer().await?.status)
    }
}

fn ended(delivery: Delivery, now: DateTime<Utc>, started: Instant) -> Ended {
    let mut body_hash = [0; 32];
    body_hash.copy_from_slice(digest(&SHA256, &delivery.body).as_ref());
    Ended {
        event_id: delivery.event_id,
        customer: delivery.customer,
        webhook_id: delivery.webhook_id,
        body_hash,
        started_at: now.timestamp_micros(),
        duration_us: i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX),
    }
}
