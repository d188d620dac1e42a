//! A worker: pops, claims, inserts, and hands what is new over to the couriers.

use std::{sync::Arc, sync::atomic::Ordering::Relaxed};

use anyhow::{Context, bail};
use bytes::Bytes;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use uuid::Uuid;
use vocabulary::{EndpointId, Key, KeyHash, SourceId, WebhookId};

use super::{
    Common, QUEUE,
    courier::Delivery,
    frame::{self, Frame},
    item::{self, Item},
    ledger::{Event, Ledger},
    resp::{self, Reply, Resp},
    told::{self, Names},
};

/// Claims keys that nobody has, and says of each whether it is won. As latchhook's claims, these are in memory alone: they are
/// not written to the append-only file.
const CLAIM: &[u8] = b"redis.set_repl(redis.REPL_NONE)
local won = {}
for i, key in ipairs(KEYS) do won[i] = redis.call('SET', key, '1', 'NX', 'PX', ARGV[1]) and '1' or '' end
return won";

/// How long a key is remembered: as long as latchhook remembers that one is done.
const CLAIM_MS: &[u8] = b"600000";

/// What a worker needs.
#[derive(Clone)]
pub(super) struct Worker {
    pub common: Common,
    /// Told whenever there is something to pop.
    pub pushed: Arc<Notify>,
}

/// One of them, with its connections.
struct Hands {
    common: Common,
    pushed: Arc<Notify>,
    redis: Resp,
    ledger: Ledger,
    endpoints: Vec<String>,
    ids: Ids,
    /// Of the last raw event that it took.
    number: i64,
}

/// An item, and the raw event that it came in.
struct Found<'a> {
    frame: &'a Frame,
    number: i64,
    source: &'a str,
    item: Item<'a>,
}

impl Worker {
    /// Works for ever.
    ///
    /// # Errors
    /// When a server is gone.
    pub(super) async fn run(self, couriers: mpsc::Sender<Delivery>) -> anyhow::Result<()> {
        let mut workers = JoinSet::new();
        for _ in 0..self.common.shape.workers {
            let Self { common, pushed } = self.clone();
            let hands = Hands {
                redis: Resp::connect(&common.redis).await?,
                ledger: Ledger::connect(&common.database).await?,
                endpoints: common.customers.iter().map(|customer| customer.endpoint_id.to_string()).collect(),
                ids: Ids::default(),
                number: 0,
                common,
                pushed,
            };
            workers.spawn_local(hands.work(couriers.clone()));
        }
        workers.join_next().await.context("there is no worker")??
    }
}

impl Hands {
    async fn work(mut self, couriers: mpsc::Sender<Delivery>) -> anyhow::Result<()> {
        let mut next = Vec::new();
        loop {
            let mut frames = std::mem::take(&mut next);
            if frames.is_empty() {
                frames = self.pop().await?;
            }
            if frames.is_empty() {
                self.pushed.notified().await;
                continue;
            }
            self.common.tally.taken.add(frames.len());
            let found = self.find(&frames);
            let won;
            (won, next) = self.claim_and_pop(found).await?;
            for delivery in self.insert(&won).await? {
                couriers.send(delivery).await.context("the couriers are gone")?;
            }
        }
    }

    async fn pop(&mut self) -> anyhow::Result<Vec<Frame>> {
        self.ask_for_more();
        self.redis.flush().await?;
        self.popped().await
    }

    fn ask_for_more(&mut self) {
        self.redis.command(&[b"LPOP", QUEUE, self.common.shape.take.to_string().as_bytes()]);
    }

    async fn popped(&mut self) -> anyhow::Result<Vec<Frame>> {
        match self.redis.reply().await? {
            Reply::Strings(strings) => {
                strings.into_iter().map(|bytes| frame::read(bytes).context("no frame")).collect()
            }
            Reply::Nil | Reply::Done => Ok(Vec::new()),
        }
    }

    /// The items of these raw events.
    fn find<'f>(&mut self, frames: &'f [Frame]) -> Vec<Found<'f>> {
        let mut found = Vec::with_capacity(frames.len());
        for frame in frames {
            self.number += 1;
            let (items, others) = item::items(&frame.body);
            self.common.tally.not_understood.fetch_add(others as u64, Relaxed);
            let source = std::str::from_utf8(&frame.source).unwrap_or_default();
            found.extend(items.into_iter().map(|item| Found { frame, number: self.number, source, item }));
        }
        found
    }

    /// Keeps those whose keys Redis has not seen; the second of two with the same key in one group is refused like any other.
    /// Asks for what comes next in the same breath: each time that Redis turns to its clients it syncs what they wrote.
    async fn claim_and_pop<'f>(&mut self, found: Vec<Found<'f>>) -> anyhow::Result<(Vec<Found<'f>>, Vec<Frame>)> {
        let mut spelt = Vec::new();
        for Found { source, item, .. } in &found {
            resp::string(&mut spelt, format!("ceiling:claim:{source}:{}", item.wamid).as_bytes());
        }
        resp::string(&mut spelt, CLAIM_MS);
        let keys = found.len().to_string();
        self.redis.command_with(&[b"EVAL", CLAIM, keys.as_bytes()], found.len() + 1, &spelt);
        self.ask_for_more();
        self.redis.flush().await?;
        let Reply::Strings(claims) = self.redis.reply().await? else { bail!("Redis answers something else") };
        let won = found.into_iter().zip(claims).filter(|(_, claim)| !claim.is_empty()).map(|(one, _)| one).collect();
        Ok((won, self.popped().await?))
    }

    /// Inserts them, and gives what is now owed.
    async fn insert(&mut self, won: &[Found<'_>]) -> anyhow::Result<Vec<Delivery>> {
        if won.is_empty() {
            return Ok(Vec::new());
        }
        let mut events = Vec::with_capacity(won.len());
        for found in won {
            events.push(self.event(found)?);
        }
        let new = self.ledger.insert(&events, &self.endpoints).await?;
        self.common.tally.claimed.add(won.len());
        self.common.tally.inserted.fetch_add(new.len() as u64, Relaxed);
        let owed = events.into_iter().filter_map(|event| Some((*new.get(&event.id)?, event)));
        Ok(owed.flat_map(|(sequence, event)| deliveries(event, sequence)).collect())
    }

    fn event<'f>(&mut self, found: &'f Found<'_>) -> anyhow::Result<Event<'f>> {
        let Found { frame, number, source, item } = found;
        let account = self.common.sources.get(*source).context("a source that is none")?;
        let (id, message_id) = (self.ids.next(frame.received_at), self.ids.next(frame.received_at));
        let names = Names { event: id, message: message_id, source, account };
        let (source_id, key): (SourceId, _) = (source.parse()?, Key::new(item.wamid.clone())?);
        let webhook_id = |endpoint: &EndpointId| WebhookId::of(&source_id, &key, endpoint);
        Ok(Event {
            id,
            message_id,
            source,
            item,
            hash: KeyHash::of(&source_id, &key),
            number: *number,
            received_at: frame.received_at,
            state: told::state(item)?,
            told: told::body(item, names)?,
            webhook_ids: self.common.customers.iter().map(|customer| webhook_id(&customer.endpoint_id)).collect(),
        })
    }
}

fn deliveries(event: Event<'_>, sequence: i64) -> impl Iterator<Item = Delivery> {
    let body = Bytes::from(told::whole(&event.told, sequence));
    let to_each = event.webhook_ids.into_iter().enumerate();
    to_each.map(move |(customer, webhook_id)| Delivery { event_id: event.id, customer, webhook_id, body: body.clone() })
}

/// Ids in the order of their times, as UUIDs of version 7 are; unlike those of the `uuid` crate without a system call each.
struct Ids {
    own: [u8; 6],
    next: u32,
}

impl Default for Ids {
    fn default() -> Self {
        Self { own: rand::random(), next: 0 }
    }
}

impl Ids {
    fn next(&mut self, micros: i64) -> Uuid {
        self.next = self.next.wrapping_add(1);
        let mut rest = [0; 10];
        rest[..6].copy_from_slice(&self.own);
        rest[6..].copy_from_slice(&self.next.to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(micros.unsigned_abs() / 1000, &rest).into_uuid()
    }
}
