use serde_json::json;

use super::*;
use crate::{fault::Fault, stream::Stream};

/// A run without a fault: what everybody saw, to be spoilt.
struct Seen {
    sent: Sent,
    heard: Vec<Heard>,
    happened: Vec<Happened>,
    forgot: Vec<Instant>,
    stuck: Vec<String>,
    rows: Rows,
    audit: (bool, Value),
}

impl Seen {
    fn of_a_good_run() -> Self {
        let stream = Stream::new(1);
        let now = Instant::now();
        let requests: Vec<_> = (0..400).map(|number| stream.request(number)).collect();
        let accepted = requests.iter().map(|request| (request.number, vec![now])).collect();
        let keys: BTreeSet<Scoped> = requests.iter().flat_map(scoped).collect();
        let mut rows = Rows::default();
        let mut heard = Vec::new();
        for (source, key) in keys {
            for (endpoint, _) in ENDPOINTS {
                let id = format!("{endpoint} {source} {key}");
                rows.deliveries.push((endpoint.into(), id.clone(), "delivered".into(), (source.clone(), key.clone())));
                heard.push(told(endpoint, &id, &source, &key, now));
            }
            rows.events.push((source, key, Some("message_created".to_owned())));
        }
        let malformed = requests.iter().filter(|request| request.malformed);
        rows.quarantined = malformed.map(|request| ("no JSON".to_owned(), request.body.to_vec())).collect();
        assert!(!rows.quarantined.is_empty(), "the stream has some that are no JSON");
        let sent = Sent { requests, accepted, ..Sent::default() };
        Self {
            sent,
            heard,
            happened: vec![],
            forgot: vec![],
            stuck: vec![],
            rows,
            audit: (true, json!({"checks": []})),
        }
    }

    /// The promises that are judged broken.
    fn broken(self) -> Vec<&'static str> {
        let evidence = Evidence {
            sent: &[self.sent],
            heard: &self.heard,
            happened: &self.happened,
            forgot: &self.forgot,
            stuck: self.stuck,
            rows: self.rows,
            audit: self.audit,
        };
        let verdicts = judge(&evidence).into_iter();
        verdicts.filter(|verdict| !verdict.breaches.is_empty()).map(|verdict| verdict.promise).collect()
    }
}

fn told(endpoint: &str, id: &str, source: &str, key: &str, at: Instant) -> Heard {
    Heard {
        endpoint: endpoint.into(),
        webhook_id: id.into(),
        body_hash: [7; 32],
        key: Some(key.into()),
        source: Some(source.into()),
        event_type: "message_created".into(),
        at,
        verified: true,
        answered: Answered::Ok,
    }
}

/// What a run shows after this.
fn after(spoil: impl FnOnce(&mut Seen)) -> Vec<&'static str> {
    let mut seen = Seen::of_a_good_run();
    spoil(&mut seen);
    seen.broken()
}

#[test]
fn a_good_run_breaks_nothing() {
    assert_eq!(after(|_| {}), Vec::<&str>::new());
}

/// Each way to break a promise, and the promise. A judge that overlooked one would make every run a good one.
#[test]
fn whatever_breaks_a_promise_is_seen() {
    const TOLD: &str = "told to everybody who wants to hear";
    const TRUE: &str = "told once it is true";
    const ONE: &str = "one id and one body";
    const KEPT: &str = "what is no JSON is in quarantine, and nothing else";
    type Spoil = fn(&mut Seen);
    let spoilt: [(Spoil, &[&str]); 16] = [
        (|seen| seen.rows.events.push(seen.rows.events[3].clone()), &["recorded once"]),
        (|seen| drop(seen.rows.events.remove(3)), &["never lost"]),
        (|seen| drop(seen.sent.requests.remove(0)), &["nothing recorded that was not sent"]),
        (|seen| seen.rows.quarantined.clear(), &[KEPT]),
        (|seen| seen.rows.quarantined.push(("missing id".into(), b"{}".to_vec())), &[KEPT]),
        (|seen| seen.heard.push(told("all", "unknown", "chaos-0", "other", Instant::now())), &[TRUE]),
        (|seen| seen.heard[0].verified = false, &[TRUE]),
        (|seen| seen.heard[1].event_type = "message_updated".into(), &[TRUE]),
        (|seen| seen.heard[0].answered = Answered::Otherwise, &[TOLD]),
        (|seen| seen.rows.deliveries[0].2 = "abandoned".into(), &[TOLD]),
        (|seen| drop(seen.heard.remove(0)), &[TOLD]),
        (|seen| repeat_one(seen, |heard| heard.body_hash = [8; 32]), &[ONE, REPEATED]),
        (|seen| repeat_one(seen, |_| {}), &[REPEATED]),
        (|seen| seen.sent.wrong.push("401".into()), &["what is genuine is never refused"]),
        (|seen| seen.stuck.push("a job".into()), &["what was begun has ended"]),
        (|seen| seen.audit = (false, json!({"checks": [{"check": "?", "breaches": 1}]})), &["the audit agrees"]),
    ];

    for (spoil, promises) in spoilt {
        assert_eq!(after(spoil), promises);
    }
}

const REPEATED: &str = "a success is repeated only where a fault explains it";

fn repeat_one(seen: &mut Seen, change: fn(&mut Heard)) {
    let mut again = seen.heard[0].clone();
    change(&mut again);
    seen.heard.push(again);
}

/// A new message that nobody is told of is a loss, whatever the ledger says of its type.
#[test]
fn an_event_that_owes_nobody_although_it_is_a_new_message_is_seen() {
    let broken = after(|seen| {
        let new = seen.rows.events.iter_mut().find(|(_, key, _)| stream::is_of_a_new_message(key)).unwrap();
        new.2 = None;
        let silenced = (new.0.clone(), new.1.clone());
        seen.rows.deliveries.retain(|(.., about)| *about != silenced);
        seen.heard.retain(|heard| first(heard) != (&*silenced.0, &*silenced.1));
    });

    assert_eq!(broken, ["told to everybody who wants to hear"]);
}

#[test]
fn a_repeated_success_is_excused_by_a_dispatchers_death_at_that_time_and_by_nothing_else() {
    let excused_by = |fault: Fault, seconds_later: u64| {
        after(|seen| {
            let from = seen.heard[0].at + Duration::from_secs(seconds_later);
            seen.happened.push(Happened { fault, from, to: from });
            repeat_one(seen, |_| {});
        })
    };
    let mut rng = rand::SeedableRng::seed_from_u64(1);
    let (dispatcher, worker) = (crate::fleet::Name::dispatcher(&mut rng), crate::fleet::Name::worker(&mut rng));

    assert_eq!(excused_by(Fault::Kill(dispatcher), 1), Vec::<&str>::new());
    assert_eq!(excused_by(Fault::Kill(dispatcher), 60), [REPEATED]);
    assert_eq!(excused_by(Fault::Kill(worker), 1), [REPEATED]);
}

/// Redis may forget what it had accepted before it lost its memory, and nothing that it accepted after.
#[test]
fn what_redis_forgot_may_be_missing_and_must_be_named() {
    let missing_with = |forgot_later: bool, named: bool| {
        after(|seen| {
            let accepted = seen.heard[0].at;
            seen.rows.events.retain(|(source, key, _)| (&**source, &**key) != first(&seen.heard[0]));
            seen.rows.deliveries.retain(|(.., (source, key))| (&**source, &**key) != first(&seen.heard[0]));
            let gone = seen.heard[0].clone();
            seen.heard.retain(|heard| first(heard) != first(&gone));
            let second = Duration::from_secs(1);
            seen.forgot.push(if forgot_later { accepted + second } else { accepted.checked_sub(second).unwrap() });
            let check = json!({"check": NAMES_LOSSES[0], "breaches": 400});
            seen.audit = (!named, json!({"checks": if named { vec![check] } else { vec![] }}));
        })
    };

    assert_eq!(missing_with(true, true), Vec::<&str>::new());
    assert_eq!(missing_with(false, true), ["never lost"]);
    assert_eq!(missing_with(true, false), ["the audit names what Redis forgot, and finds nothing else"]);
}

fn first(heard: &Heard) -> (&str, &str) {
    (heard.source.as_deref().unwrap(), heard.key.as_deref().unwrap())
}
