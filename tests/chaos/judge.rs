//! The judge: compares what the sender was told, what the customers heard, and what stands in Postgres. It asks no part of
//! the pipeline how it did, but for the audit, whose own verdict is one of those that are judged.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_postgres::Client;

use crate::{
    customers::{Answered, Heard},
    inject::Happened,
    sender::Sent,
    stage::ENDPOINTS,
    stream::{self, Request},
};

/// A fault may concern a success from a moment before it, which was not recorded yet.
const BEFORE: Duration = Duration::from_secs(3);
/// What Redis accepted is committed within so long, even while the workers are frozen for the moment before it forgets.
const QUEUED_FOR: Duration = Duration::from_secs(5);

/// All that is known of a run, from its beginning.
pub(crate) struct Evidence<'a> {
    /// What was sent, act by act.
    pub(crate) sent: &'a [Sent],
    pub(crate) heard: &'a [Heard],
    pub(crate) happened: &'a [Happened],
    /// When Redis lost its memory.
    pub(crate) forgot: &'a [Instant],
    /// What had not ended when its time was up.
    pub(crate) stuck: Vec<String>,
    pub(crate) rows: Rows,
    /// Whether `latchhook audit` ended with 0, and what it printed.
    pub(crate) audit: (bool, Value),
}

/// What stands in Postgres.
#[derive(Default)]
pub(crate) struct Rows {
    /// Source, key and event type of each event.
    events: Vec<(String, String, Option<String>)>,
    /// Endpoint, webhook id, state, source and key of each delivery.
    deliveries: Vec<(String, String, String, (String, String))>,
    /// Reason and raw event of what is in quarantine.
    quarantined: Vec<(String, Vec<u8>)>,
}

impl Rows {
    /// Reads them.
    pub(crate) async fn read(sql: &Client) -> anyhow::Result<Self> {
        let events = sql.query("SELECT source_id, key, event_type FROM events", &[]).await?;
        let deliveries = "SELECT d.endpoint_id, d.webhook_id, d.state, coalesce(e.source_id, ''), coalesce(e.key, '') \
                          FROM deliveries d LEFT JOIN events e ON e.id = d.event_id";
        let deliveries = sql.query(deliveries, &[]).await?;
        let quarantined = "SELECT q.reason, r.body FROM quarantine q \
                           JOIN quarantined_raw_events r USING (incarnation, number) WHERE q.closed_at IS NULL";
        let quarantined = sql.query(quarantined, &[]).await?;
        Ok(Self {
            events: events.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect(),
            deliveries: deliveries
                .iter()
                .map(|row| (row.get(0), row.get(1), row.get(2), (row.get(3), row.get(4))))
                .collect(),
            quarantined: quarantined.iter().map(|row| (row.get(0), row.get(1))).collect(),
        })
    }
}

/// One promise, and what broke it.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) promise: &'static str,
    pub(crate) breaches: Vec<String>,
    /// Of how many it was judged.
    pub(crate) of: String,
}

/// A key within its source.
type Scoped = (String, String);

/// Judges everything.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Vec<Verdict> {
    let mut verdicts = vec![
        recorded_once(evidence),
        never_lost(evidence),
        nothing_invented(evidence),
        quarantined(evidence),
        nothing_told_but_what_is_committed(evidence),
        everybody_told(evidence),
        recognisable(evidence),
        explained(evidence),
        Verdict {
            promise: "what is genuine is never refused",
            breaches: evidence.sent.iter().flat_map(|sent| sent.wrong.clone()).collect(),
            of: String::new(),
        },
        Verdict {
            promise: "what was begun has ended",
            breaches: evidence.stuck.iter().cloned().chain(unaccepted(evidence)).collect(),
            of: format!("{} requests", requests(evidence).count()),
        },
    ];
    verdicts.push(if evidence.forgot.is_empty() { audit_agrees(evidence) } else { audit_names(evidence) });
    verdicts
}

fn scoped(request: &Request) -> impl Iterator<Item = Scoped> + '_ {
    request.owed().map(|(source, key)| (format!("chaos-{source}"), key.to_owned()))
}

/// Promise 1.
fn recorded_once(evidence: &Evidence<'_>) -> Verdict {
    let mut times: HashMap<(&str, &str), usize> = HashMap::new();
    for (source, key, _) in &evidence.rows.events {
        *times.entry((source, key)).or_default() += 1;
    }
    let twice = times.iter().filter(|(_, times)| **times > 1);
    let breaches = twice.map(|((source, key), times)| format!("{source} {key}: {times} times")).collect();
    Verdict { promise: "recorded once", breaches, of: format!("{} events", evidence.rows.events.len()) }
}

/// Promise 2. Where Redis lost its memory, what it had accepted before may be missing.
fn never_lost(evidence: &Evidence<'_>) -> Verdict {
    let missing = missing(evidence);
    let keys: usize = accepted(evidence).map(|(request, _)| request.keys.len()).sum();
    let (forgotten, lost): (Vec<_>, Vec<_>) = missing.iter().partition(|(_, times)| may_be_forgotten(times, evidence));
    let lost = lost.into_iter().map(|(request, _)| request);
    Verdict {
        promise: "never lost",
        breaches: lost.map(|request| format!("request {}: {:?}", request.number, request.keys)).collect(),
        of: format!("{keys} accepted keys, {} requests forgotten by Redis", forgotten.len()),
    }
}

/// What the stream was like: without duplicates a run would prove little.
pub(crate) fn describe(sent: &Sent) -> String {
    let share = |is_one: fn(&Request) -> bool| {
        let count = sent.requests.iter().filter(|request| is_one(request)).count();
        100 * count / sent.requests.len().max(1)
    };
    format!(
        "{} requests, {} % of them repeated ones, {} % sent over several connections at the same instant; \
         {} acceptances, {} tries for one at most; answers {:?}",
        sent.requests.len(),
        share(|request| request.again_of.is_some()),
        share(|request| request.at_once > 1),
        sent.accepted.values().map(Vec::len).sum::<usize>(),
        sent.most_tries,
        sent.answers,
    )
}

/// All requests that were begun.
fn requests<'a>(evidence: &Evidence<'a>) -> impl Iterator<Item = &'a Request> {
    evidence.sent.iter().flat_map(|sent| &sent.requests)
}

fn unaccepted(evidence: &Evidence<'_>) -> impl Iterator<Item = String> {
    evidence.sent.iter().flat_map(|sent| &sent.unaccepted).map(|number| format!("request {number} was never accepted"))
}

/// Those that a producer has answered with 2xx, and when.
fn accepted<'a>(evidence: &Evidence<'a>) -> impl Iterator<Item = (&'a Request, &'a [Instant])> {
    evidence.sent.iter().flat_map(|sent| {
        let accepted = |request: &'a Request| Some((request, sent.accepted.get(&request.number)?.as_slice()));
        sent.requests.iter().filter_map(accepted)
    })
}

/// Accepted requests of which an item is not in the ledger.
fn missing<'a>(evidence: &Evidence<'a>) -> Vec<(&'a Request, &'a [Instant])> {
    let recorded: HashSet<Scoped> =
        evidence.rows.events.iter().map(|(source, key, _)| (source.clone(), key.clone())).collect();
    accepted(evidence).filter(|(request, _)| scoped(request).any(|key| !recorded.contains(&key))).collect()
}

/// Every time that it was accepted, Redis forgot soon afterwards.
fn may_be_forgotten(times: &[Instant], evidence: &Evidence<'_>) -> bool {
    let is_forgotten =
        |at: &Instant| evidence.forgot.iter().any(|forgot| (*forgot - QUEUED_FOR..=*forgot).contains(at));
    times.iter().all(is_forgotten)
}

/// What latchhook itself tells: that it has disabled an endpoint.
fn is_notice(source: &str) -> bool {
    source.starts_with("latchhook:")
}

fn nothing_invented(evidence: &Evidence<'_>) -> Verdict {
    let sent: HashSet<Scoped> = requests(evidence).flat_map(scoped).collect();
    let events = evidence.rows.events.iter().map(|(source, key, _)| (source.clone(), key.clone()));
    let events = events.filter(|(source, _)| !is_notice(source));
    let breaches = events.filter(|key| !sent.contains(key)).map(|(source, key)| format!("{source} {key}")).collect();
    Verdict { promise: "nothing recorded that was not sent", breaches, of: format!("{} keys", sent.len()) }
}

fn quarantined(evidence: &Evidence<'_>) -> Verdict {
    let malformed: HashSet<&[u8]> =
        requests(evidence).filter(|request| request.malformed).map(|request| request.body.as_ref()).collect();
    let kept: HashSet<&[u8]> = evidence.rows.quarantined.iter().map(|(_, body)| body.as_slice()).collect();
    let must_be = accepted(evidence).filter(|(request, times)| request.malformed && !may_be_forgotten(times, evidence));
    let lost = must_be.filter(|(request, _)| !kept.contains(request.body.as_ref()));
    let lost = lost.map(|(request, _)| format!("request {} is not there", request.number));
    let genuine = evidence.rows.quarantined.iter().filter(|(_, body)| !malformed.contains(body.as_slice()));
    let genuine = genuine.map(|(reason, body)| format!("{reason}: {}", String::from_utf8_lossy(body)));
    Verdict {
        promise: "what is no JSON is in quarantine, and nothing else",
        breaches: lost.chain(genuine).collect(),
        of: format!("{} malformed bodies", malformed.len()),
    }
}

/// Promise 3, one half.
fn nothing_told_but_what_is_committed(evidence: &Evidence<'_>) -> Verdict {
    let owed: HashSet<(&str, &str)> =
        evidence.rows.deliveries.iter().map(|(endpoint, id, ..)| (endpoint.as_str(), id.as_str())).collect();
    let told = evidence.heard.iter().filter(|heard| !owed.contains(&(&*heard.endpoint, &*heard.webhook_id)));
    let unsigned = evidence.heard.iter().filter(|heard| !heard.verified);
    let wanted =
        |heard: &&Heard| ENDPOINTS.contains(&(&*heard.endpoint, "*")) || *heard.event_type == *"message_created";
    let unwanted = evidence.heard.iter().filter(|heard| !wanted(heard));
    let unwanted = unwanted.map(|heard| format!("{} wants no {}", heard.endpoint, heard.event_type));
    let told = told.map(|heard| format!("{} at {} is owed to nobody", heard.webhook_id, heard.endpoint));
    let unsigned =
        unsigned.map(|heard| format!("{} at {} is not signed as it should be", heard.webhook_id, heard.endpoint));
    Verdict {
        promise: "told once it is true",
        breaches: told.chain(unsigned).chain(unwanted).collect(),
        of: format!("{} requests heard", evidence.heard.len()),
    }
}

/// Promise 3, the other half: every event that tells anything has reached whoever wants it.
fn everybody_told(evidence: &Evidence<'_>) -> Verdict {
    let succeeded: HashSet<(&str, &str)> = evidence
        .heard
        .iter()
        .filter(|heard| heard.answered == Answered::Ok)
        .map(|heard| (&*heard.endpoint, &*heard.webhook_id))
        .collect();
    let mut reached: HashSet<(&str, &str, &str)> = HashSet::new();
    let mut breaches = Vec::new();
    for (endpoint, id, state, (source, key)) in &evidence.rows.deliveries {
        if succeeded.contains(&(endpoint, id)) && state == "delivered" {
            reached.insert((endpoint, source, key));
        } else {
            breaches.push(format!("{id} of {key} for {endpoint} is {state}"));
        }
    }
    // Whom a notice was owed to when it was written is for the audit to say.
    for (source, key, event_type) in evidence.rows.events.iter().filter(|(source, ..)| !is_notice(source)) {
        let event_type = event_type.as_deref().or(stream::is_of_a_new_message(key).then_some("message_created"));
        let Some(event_type) = event_type else { continue };
        let wanting = ENDPOINTS.iter().filter(|(_, wants)| *wants == "*" || *wants == event_type);
        let not_told = wanting.filter(|(endpoint, _)| !reached.contains(&(endpoint, source, key)));
        breaches.extend(not_told.map(|(endpoint, _)| format!("{endpoint} was never told of {source} {key}")));
    }
    Verdict {
        promise: "told to everybody who wants to hear",
        breaches,
        of: format!("{} deliveries", evidence.rows.deliveries.len()),
    }
}

/// Promise 4.
fn recognisable(evidence: &Evidence<'_>) -> Verdict {
    let mut first: HashMap<&str, &Heard> = HashMap::new();
    let mut breaches = BTreeSet::new();
    for heard in evidence.heard {
        let before = first.entry(&heard.webhook_id).or_insert(heard);
        if (&before.body_hash, &before.endpoint) != (&heard.body_hash, &heard.endpoint) {
            breaches.insert(format!("{} came with two bodies, or to two endpoints", heard.webhook_id));
        }
    }
    let mut ids: HashMap<(&str, Option<&str>, Option<&str>), &str> = HashMap::new();
    for heard in evidence.heard {
        let told = (&*heard.endpoint, heard.source.as_deref(), heard.key.as_deref());
        if *ids.entry(told).or_insert(&heard.webhook_id) != &*heard.webhook_id {
            breaches.insert(format!("{told:?} came with two ids"));
        }
    }
    Verdict {
        promise: "one id and one body",
        breaches: breaches.into_iter().collect(),
        of: format!("{} ids", first.len()),
    }
}

/// Promise 4 again: after a success there is no further attempt, unless somebody may not have learnt of the success.
fn explained(evidence: &Evidence<'_>) -> Verdict {
    let mut successes: HashMap<&str, Vec<Instant>> = HashMap::new();
    let (mut repeated, mut breaches) = (0, Vec::new());
    for heard in evidence.heard {
        let before = successes.entry(&heard.webhook_id).or_default();
        if !before.is_empty() {
            repeated += 1;
        }
        if before.iter().any(|at| !may_be_unlearnt(*at, &heard.endpoint, evidence.happened)) {
            breaches.push(format!("{} came again after a success", heard.webhook_id));
        }
        if heard.answered == Answered::Ok {
            before.push(heard.at);
        }
    }
    Verdict {
        promise: "a success is repeated only where a fault explains it",
        breaches,
        of: format!("{repeated} repeated"),
    }
}

fn may_be_unlearnt(success: Instant, endpoint: &str, happened: &[Happened]) -> bool {
    happened.iter().any(|happened| {
        let after = happened.fault.excuses(endpoint);
        after.is_some_and(|after| (happened.from - BEFORE..happened.to + after).contains(&success))
    })
}

fn audit_agrees(evidence: &Evidence<'_>) -> Verdict {
    let (agrees, report) = &evidence.audit;
    let breaches = if *agrees { Vec::new() } else { broken(report) };
    Verdict { promise: "the audit agrees", breaches, of: "latchhook audit".to_owned() }
}

/// What the audit says when numbers are missing. After a loss of memory it must find that, of at least as many as are
/// missing (of what came twice one may be there), and nothing else.
const NAMES_LOSSES: [&str; 2] =
    ["every number that the queue gave is settled or pending", "the queue remembers every number that it gave"];

fn audit_names(evidence: &Evidence<'_>) -> Verdict {
    let (_, report) = &evidence.audit;
    let missing = missing(evidence).len();
    let checks = report["checks"].as_array().into_iter().flatten();
    let named: u64 =
        checks.filter(|check| check["check"] == NAMES_LOSSES[0]).filter_map(|check| check["breaches"].as_u64()).sum();
    let mut breaches = Vec::new();
    if usize::try_from(named).is_ok_and(|named| named < missing) {
        breaches.push(format!("{missing} requests are missing, and it names {named}"));
    }
    breaches.extend(broken(report).into_iter().filter(|line| !NAMES_LOSSES.iter().any(|check| line.contains(check))));
    Verdict {
        promise: "the audit names what Redis forgot, and finds nothing else",
        breaches,
        of: format!("{missing} requests missing, {named} numbers named"),
    }
}

fn broken(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().into_iter().flatten();
    let broken = checks.filter(|check| check["breaches"].as_u64() != Some(0));
    broken.map(|check| format!("{} ({}): {}", check["check"], check["breaches"], check["offenders"])).collect()
}
