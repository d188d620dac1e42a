//! What the tests of providers share.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Map, Value, json};
use vocabulary::{Event, RawEvent, Rejection, Source};

use crate::{
    NoSample, Provider, Request, Sample, Signed, Verdict,
    properties::{are_slices_of, is_storable},
};

/// Usable as the secret of any provider: of Standard Webhooks too.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A source with one secret and no settings.
pub(crate) fn source_of(provider: Provider, secret: &str) -> Source {
    Source {
        id: "src".parse().unwrap(),
        account_id: "acme".parse().unwrap(),
        name: "a source".to_owned(),
        provider: provider.as_str().to_owned(),
        enabled: true,
        secrets: vec![secret.to_owned().into()],
        verify_token: None,
        tokens: Vec::new(),
        body_limit: None,
        settings: Map::new(),
        revision: 1,
    }
}

/// The same with settings.
pub(crate) fn with_settings(source: Source, settings: &Value) -> Source {
    Source { settings: settings.as_object().unwrap().clone(), ..source }
}

/// A moment, in seconds since 1970.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// Headers, in their order; one that is named twice comes twice.
pub(crate) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

/// Whether a POST is genuine, whenever it comes.
pub(crate) fn genuine(source: &Source, pairs: &[(&str, &str)], body: &[u8]) -> bool {
    genuine_at(source, pairs, body, DateTime::UNIX_EPOCH)
}

/// Whether a POST is genuine at a moment.
pub(crate) fn genuine_at(source: &Source, pairs: &[(&str, &str)], body: &[u8], now: DateTime<Utc>) -> bool {
    let provider: Provider = source.provider.parse().unwrap();
    provider.verify(source, &Request::posted(&headers(pairs), body, now)) == Verdict::Genuine
}

/// Whether a POST with this query is genuine.
pub(crate) fn genuine_by_query(source: &Source, pairs: &[(&str, &str)], body: &[u8]) -> bool {
    let provider: Provider = source.provider.parse().unwrap();
    let query: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (headers, now) = (HeaderMap::new(), DateTime::UNIX_EPOCH);
    let request = Request { headers: &headers, query: &query, body, now };
    provider.verify(source, &request) == Verdict::Genuine
}

/// A raw event with these headers kept.
pub(crate) fn raw_event(pairs: &[(&str, &str)], body: &str) -> RawEvent {
    RawEvent {
        source_id: "src".parse().unwrap(),
        received_at: DateTime::UNIX_EPOCH,
        headers: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// The only event of a raw event.
pub(crate) fn event(provider: Provider, raw_event: &RawEvent) -> Event {
    let [item] = provider.split(&source_of(provider, "secret"), raw_event).try_into().unwrap();
    item.unwrap()
}

/// The only rejection of a raw event.
pub(crate) fn rejection(provider: Provider, raw_event: &RawEvent) -> Rejection {
    let [item] = provider.split(&source_of(provider, "secret"), raw_event).try_into().unwrap();
    item.unwrap_err()
}

/// What a source needs to be told so that a sample can be made of it.
fn settings_of(provider: Provider) -> Value {
    match provider {
        Provider::Dialog360 => json!({"header": "x-secret"}),
        Provider::Twilio => json!({"public_url": "https://hooks.example.com/hooks/src"}),
        Provider::Generic => json!({"algorithm": "hmac-sha256", "signature_header": "x-tag", "key_pointer": "/id"}),
        _ => json!({}),
    }
}

/// A source that a sample can be made of.
fn sending(provider: Provider) -> Source {
    with_settings(source_of(provider, SECRET), &settings_of(provider))
}

fn sample_of(provider: Provider) -> Result<Signed, NoSample> {
    provider.sample(&sending(provider), &Sample { id: "abc123", now: at(1_800_000_000) })
}

/// Every provider's sample is what the provider itself takes for genuine, holds one event at least, and none that is rejected.
#[test]
fn a_sample_is_genuine_and_splits_into_events_and_nothing_else() {
    for provider in Provider::ALL {
        match sample_of(*provider) {
            Ok(sample) => assert!(!events_of(&sending(*provider), sample).is_empty(), "{provider}"),
            Err(why) => assert_eq!(why, NoSample::OnlyTheSenders, "{provider}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What is said to be JSON among it: customers are told of that as it is.
    #[test]
    fn what_any_provider_makes_of_anybodys_damaged_body_is_a_part_of_it_and_can_be_kept(
        overwritten in vec(any::<(Index, u8)>(), 0..4),
    ) {
        for sample in Provider::ALL.iter().filter_map(|provider| sample_of(*provider).ok()) {
            let mut body = sample.body.to_vec();
            for (at, byte) in &overwritten {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            let raw_event = RawEvent { body: body.into(), ..raw_event(&[], "") };

            for provider in Provider::ALL {
                let items = provider.split(&sending(*provider), &raw_event);

                are_slices_of(&raw_event.body, &items);
                items.iter().flatten().for_each(is_storable);
            }
        }
    }
}

/// What becomes of a sample at the door and in the worker.
pub(crate) fn events_of(source: &Source, sample: Signed) -> Vec<Event> {
    let provider: Provider = source.provider.parse().unwrap();
    let query = form_urlencoded::parse(sample.query.trim_start_matches('?').as_bytes());
    let query: Vec<(String, String)> = query.into_owned().collect();
    let request = Request { headers: &sample.headers, query: &query, body: &sample.body, now: at(1_800_000_000) };
    assert_eq!(provider.verify(source, &request), Verdict::Genuine, "{provider}");

    let given = sample.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let headers = provider.door(None, &source.settings).keep(given);
    let raw_event = RawEvent { headers, body: sample.body, ..raw_event(&[], "") };
    provider.split(source, &raw_event).into_iter().map(|item| item.unwrap()).collect()
}

#[test]
fn the_page_for_whoever_writes_a_provider_shows_one_that_there_is() {
    let page = include_str!("../../../docs/providers.md");

    let (github, _tests) = include_str!("github.rs").split_once("\n#[cfg(test)]").unwrap();

    assert!(page.contains(github), "docs/providers.md shows another github.rs than there is");
}
