//! The sender: signed requests over many connections, as cheap as it can be made, because it shares the cores with what it
//! measures.
//!
//! The cast: the [`Schedule`] says which request is next and when it is due; each connection takes one turn after the other
//! and sends it again until it is answered. Flat out, a request is due when a connection is free for it. At a rate, requests
//! are due at fixed times, whatever becomes of the earlier ones, and what waits for a free connection has waited since
//! then: no omission is coordinated.

mod pace;
mod schedule;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use hyper::Uri;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, task::JoinSet, time::sleep};

use super::{
    clock,
    histogram::{Histogram, Latency},
    payload::Payload,
    usage,
    wire::Wire,
};
use pace::Pace;
use schedule::{Due, Schedule};

/// Who was told to come again does so; Meta is more patient.
const AGAIN: Duration = Duration::from_millis(100);
/// Then it is given up: whatever is measured is gone.
const MOST_TRIES: u32 = 600;

/// What to send, and how.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Where to
    #[arg(long, value_name = "http://HOST:PORT/PATH")]
    pub(crate) url: Uri,
    /// What signs the requests
    #[arg(long, value_name = "SECRET")]
    pub(crate) app_secret: String,
    /// How many events in all, those that are sent again included
    #[arg(long, value_name = "N")]
    pub(crate) events: u64,
    /// The share of them that repeat earlier ones
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share)]
    pub(crate) duplicates: f64,
    /// How many events each request carries
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) items_per_request: u64,
    /// How many requests are on their way at most
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// Events a second, each due at its time; without it each connection sends as soon as it was answered
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// The same seed makes the same stream
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Keeps the ids apart from those of other runs with this seed
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) prefix: String,
}

pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    if (0.0..1.0).contains(&share) { Ok(share) } else { Err("a share is from 0 to less than 1".to_owned()) }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    if rate > 0.0 && rate.is_finite() { Ok(rate) } else { Err("a rate is more than 0".to_owned()) }
}

/// What was sent, and what the intake answered.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Events, those that were sent again included.
    pub(crate) events: u64,
    /// Of these, different ones.
    pub(crate) distinct: u64,
    /// Different turns, however often each had to be sent.
    pub(crate) requests: u64,
    /// Bytes of one request's body.
    pub(crate) body_bytes: u64,
    /// Answered with 2xx.
    pub(crate) accepted: u64,
    /// Answered with what is no use repeating.
    pub(crate) refused: u64,
    /// How often a request was sent again because it was answered 429 or 5xx, or not at all.
    pub(crate) again: u64,
    /// When the first one was due, in nanoseconds since 1970.
    pub(crate) first_at: u64,
    /// When the last answer came.
    pub(crate) last_at: u64,
    /// From the one to the other.
    pub(crate) seconds: f64,
    /// What this process used meanwhile.
    pub(crate) cpu_seconds: f64,
    /// From when a request was due to its last answer.
    #[serde(flatten)]
    pub(crate) latency: Latency,
}

/// What the connections share.
struct Shared {
    schedule: Mutex<Schedule>,
    pace: Pace,
    authority: String,
}

/// What one connection has seen.
#[derive(Debug, Default)]
struct Answers {
    accepted: u64,
    refused: u64,
    again: u64,
    latency: Histogram,
    last_at: u64,
}

/// Sends all of it.
///
/// # Errors
/// When the URL is no such one, or nobody answers there for a minute.
pub(crate) async fn send(options: Options) -> anyhow::Result<Sent> {
    let authority = options.url.authority().context("the URL names no host")?.to_string();
    let path = options.url.path_and_query().map_or("/", |path| path.as_str());
    let items = usize::try_from(options.items_per_request)?;
    let suffix = format!("{:x}{}", options.seed, options.prefix);
    let payload = Payload::render(&authority, path, &options.app_secret, items, &suffix)?;

    let used_before = usage::cpu("self");
    let schedule = Schedule::new(&options, clock::now());
    let (requests, distinct) = (schedule.requests(), schedule.firsts() * options.items_per_request);
    let first_at = schedule.first_at();
    let pace = schedule.interval().map_or(Pace::FlatOut, |interval| Pace::keep(first_at, interval, requests));
    let shared = Arc::new(Shared { schedule: Mutex::new(schedule), pace, authority });
    let mut connections = JoinSet::new();
    for _ in 0..options.connections {
        connections.spawn(connection(shared.clone(), payload.clone()));
    }
    let mut sum = Answers::default();
    while let Some(ended) = connections.join_next().await {
        sum.add(&ended??);
    }
    Ok(Sent {
        events: requests * options.items_per_request,
        distinct,
        requests,
        body_bytes: payload.body_len() as u64,
        accepted: sum.accepted,
        refused: sum.refused,
        again: sum.again,
        first_at,
        last_at: sum.last_at,
        seconds: Duration::from_nanos(sum.last_at.saturating_sub(first_at)).as_secs_f64(),
        cpu_seconds: (usage::cpu("self") - used_before).as_secs_f64(),
        latency: sum.latency.latency(),
    })
}

async fn connection(shared: Arc<Shared>, mut payload: Payload) -> anyhow::Result<Answers> {
    let (mut answers, mut wire) = (Answers::default(), None);
    while let Some(due) = shared.next().await {
        let request = payload.stamped(due.number, due.stamp);
        let mut tries = 0;
        loop {
            match post(&mut wire, &shared.authority, request).await {
                Ok(200..=299) => answers.accepted += 1,
                Ok(429 | 500..=599) | Err(_) if tries < MOST_TRIES => {
                    (tries, answers.again) = (tries + 1, answers.again + 1);
                    sleep(AGAIN).await;
                    continue;
                }
                Ok(_) => answers.refused += 1,
                Err(error) => return Err(error).context(format!("nobody answers at {}", shared.authority)),
            }
            break;
        }
        answers.last_at = clock::now();
        answers.latency.record(answers.last_at.saturating_sub(due.at) / 1000);
    }
    Ok(answers)
}

/// The status of the answer. Without one the connection is of no further use.
async fn post(wire: &mut Option<Wire>, authority: &str, request: &[u8]) -> std::io::Result<u16> {
    let mut open = match wire.take() {
        Some(open) => open,
        None => Wire::new(TcpStream::connect(authority).await?),
    };
    open.write(request).await?;
    let answer = open.answer().await?;
    let (status, last) = (answer.status, answer.last);
    *wire = Some(open).filter(|_| !last);
    Ok(status)
}

impl Shared {
    /// The next turn, once it is due; `None` when all are taken.
    async fn next(&self) -> Option<Due> {
        self.pace.turn().await;
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner).next(clock::now)
    }
}

impl Answers {
    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.again += other.again;
        self.latency.add(&other.latency);
        self.last_at = self.last_at.max(other.last_at);
    }
}
