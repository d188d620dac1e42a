use std::collections::{HashMap, HashSet};

use chrono::DateTime;
use http::HeaderMap;
use providers::{Provider, Verdict};
use serde_json::json;
use vocabulary::{RawEvent, Source};

use super::*;

/// Enough for every kind to come, and few enough for a debug build.
const MANY: usize = 4000;

fn requests() -> Vec<Request> {
    Stream::new(7).take(MANY).collect()
}

fn source() -> Source {
    Source {
        id: "chaos-0".parse().unwrap(),
        account_id: "chaos".parse().unwrap(),
        name: "chaos".to_owned(),
        provider: "whatsapp".to_owned(),
        enabled: true,
        secrets: vec![APP_SECRET.to_owned().into()],
        verify_token: None,
        tokens: Vec::new(),
        body_limit: None,
        settings: json!({"phone_number_id": PHONE_NUMBER_ID}).as_object().unwrap().clone(),
        revision: 1,
    }
}

fn share(requests: &[Request], is_one: impl Fn(&Request) -> bool) -> f64 {
    requests.iter().filter(|request| is_one(request)).count() as f64 / requests.len() as f64
}

#[test]
fn the_same_seed_gives_the_same_stream_and_another_seed_shares_no_key() {
    let (one, again, other) = (Stream::new(7), Stream::new(7), Stream::new(8));

    let first: Vec<_> = one.clone().take(500).collect();

    assert_eq!(first, again.take(500).collect::<Vec<_>>());
    assert_eq!(first[321], one.request(321), "by its number, too");
    let keys: HashSet<_> = first.iter().flat_map(|request| request.keys.clone()).collect();
    assert!(other.take(500).all(|request| request.keys.iter().all(|key| !keys.contains(key))));
}

#[test]
fn latchhook_believes_each_signature_and_reads_the_keys_that_were_put_in() {
    let source = source();
    for request in requests() {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-hub-signature-256"),
            request.signature.parse().unwrap(),
        )]);
        assert_eq!(
            Provider::WhatsApp
                .verify(&source, &providers::Request::posted(&headers, &request.body, DateTime::UNIX_EPOCH)),
            Verdict::Genuine
        );

        let raw_event = RawEvent {
            source_id: source.id.clone(),
            received_at: DateTime::UNIX_EPOCH,
            headers: Vec::new(),
            body: request.body.clone(),
        };
        let mut seen = HashSet::new();
        let items = Provider::WhatsApp.split(&source, &raw_event);
        let keys = items.iter().flatten().map(|event| event.key.as_str().to_owned());
        let keys: Vec<_> = keys.filter(|key| seen.insert(key.clone())).collect();
        assert_eq!(keys, request.keys, "request {}", request.number);
        assert_eq!(items.iter().any(Result::is_err), request.malformed, "request {}", request.number);
    }
}

#[test]
fn many_requests_are_sent_again_soon_or_late_and_many_at_the_same_instant() {
    let requests = requests();

    assert!(share(&requests, |request| request.again_of.is_some()) >= 0.2);
    assert!(share(&requests, |request| request.at_once > 1) >= 0.1);
    assert!(requests.iter().all(|request| (1..=6).contains(&request.at_once)));
    let distance = |request: &Request| request.again_of.map(|earlier| request.number - earlier);
    assert!(requests.iter().any(|request| distance(request) == Some(1)));
    assert!(requests.iter().any(|request| distance(request) > Some(MANY as u64 / 2)));
    for request in &requests {
        let Some(original) = request.again_of.map(|earlier| &requests[usize::try_from(earlier).unwrap()]) else {
            continue;
        };
        assert_eq!(original.again_of, None);
        assert_eq!((&original.body, original.source), (&request.body, request.source));
    }
}

#[test]
fn malformed_and_large_bodies_and_repeated_keys_come_now_and_then() {
    let requests = requests();
    let originals: Vec<_> = requests.iter().filter(|request| request.again_of.is_none()).collect();

    let malformed = share(&requests, |request| request.malformed);
    assert!((0.001..0.015).contains(&malformed), "{malformed}");
    assert!(originals.iter().any(|request| request.keys.len() >= LARGE));
    assert!(originals.iter().any(|request| (BATCH..LARGE).contains(&request.keys.len())));

    let bodies: HashSet<_> = originals.iter().map(|request| &request.body).collect();
    assert_eq!(bodies.len(), originals.len(), "what is no duplicate is another body");
    let ids = |body: &Bytes| body.windows(5).filter(|window| *window == b"\"id\":").count();
    let entries = |body: &Bytes| body.windows(10).filter(|window| *window == b"\"changes\":").count();
    let twice_inside = |request: &&&Request| {
        !request.body.windows(10).any(|window| window == b"image/jpeg")
            && ids(&request.body) - entries(&request.body) > request.keys.len()
    };
    assert!(originals.iter().filter(|request| !request.malformed).any(|request| twice_inside(&request)));

    let mut raw_events: HashMap<(usize, &str), usize> = HashMap::new();
    for owed in originals.iter().flat_map(|request| request.owed()) {
        *raw_events.entry(owed).or_default() += 1;
    }
    assert!(raw_events.values().any(|count| *count > 1), "the same key in two raw events");
    assert!(raw_events.keys().any(|(source, key)| raw_events.contains_key(&((source + 1) % SOURCES, *key))));
    let sources: HashSet<_> = requests.iter().map(|request| request.source).collect();
    assert_eq!(sources.len(), SOURCES);
}
