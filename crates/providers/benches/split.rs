//! What a raw event costs before anything is stored: its signature, which the producer pays for every byte that anybody
//! sends, and its split into items, which the worker pays for every genuine one.
//!
//! `cargo bench -p providers`; with `-- --quick` in a few seconds. Rates are in bytes of body for the signature, in items
//! for the split.

use std::hint::black_box;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use providers::{Provider, Request, Verdict};
use ring::hmac;
use serde_json::{Value, json};
use vocabulary::{RawEvent, Source};

const SECRET: &str = "fixture-app-secret";
const TEXT: &str = include_str!("../../../tests/fixtures/whatsapp/01_text.json");
const IMAGE: &str = include_str!("../../../tests/fixtures/whatsapp/04_image_caption.json");
const STATUS: &str = include_str!("../../../tests/fixtures/whatsapp/27_status_delivered.json");

fn verify(criterion: &mut Criterion) {
    let source = source();
    let mut group = criterion.benchmark_group("verify a raw event");
    for (name, size) in [("1 KB", 1_000), ("100 KB", 100_000)] {
        let body = vec![b'x'; size];
        let headers = signed(&body);
        let request = Request::posted(&headers, &body, DateTime::UNIX_EPOCH);
        assert_eq!(Provider::WhatsApp.verify(&source, &request), Verdict::Genuine);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| Provider::WhatsApp.verify(&source, black_box(&request)));
        });
    }
}

fn split(criterion: &mut Criterion) {
    let source = source();
    let bodies = [
        ("one text", compact(TEXT), 1),
        ("one text, with white space", Bytes::from_static(TEXT.as_bytes()), 1),
        ("one image", compact(IMAGE), 1),
        ("one status", compact(STATUS), 1),
        ("100 texts", repeated(TEXT, "messages"), 100),
        ("100 statuses", repeated(STATUS, "statuses"), 100),
    ];
    let mut group = criterion.benchmark_group("split a raw event");
    for (name, body, items) in bodies {
        let raw_event = raw_event(&source, body);
        let split = Provider::WhatsApp.split(&source, &raw_event);
        assert!(split.len() == items && split.iter().all(Result::is_ok), "{name}: {split:?}");
        group.throughput(Throughput::Elements(items as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| Provider::WhatsApp.split(&source, black_box(&raw_event)));
        });
    }
}

fn source() -> Source {
    Source {
        id: "wa".parse().expect("an id"),
        account_id: "shop".parse().expect("an id"),
        name: "Support".to_owned(),
        provider: Provider::WhatsApp.as_str().to_owned(),
        enabled: true,
        secrets: vec![SECRET.into()],
        verify_token: None,
        tokens: Vec::new(),
        body_limit: None,
        settings: [("phone_number_id".to_owned(), json!("990000000000042"))].into_iter().collect(),
        revision: 1,
    }
}

fn signed(body: &[u8]) -> HeaderMap {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let value = HeaderValue::from_str(&format!("sha256={hex}")).expect("digits");
    HeaderMap::from_iter([(http::HeaderName::from_static("x-hub-signature-256"), value)])
}

fn raw_event(source: &Source, body: Bytes) -> RawEvent {
    RawEvent { source_id: source.id.clone(), received_at: Utc::now(), headers: Vec::new(), body }
}

fn recorded(body: &str) -> Value {
    serde_json::from_str(body).expect("a recorded payload is JSON")
}

/// Without the white space of the recordings, as Meta sends it.
fn compact(body: &str) -> Bytes {
    recorded(body).to_string().into()
}

/// The only item of a recorded body a hundred times, each under an id of its own.
fn repeated(body: &str, list: &str) -> Bytes {
    let mut body = recorded(body);
    let items = body.pointer_mut(&format!("/entry/0/changes/0/value/{list}")).and_then(Value::as_array_mut);
    let items = items.expect("the recorded body has that list");
    let of_number = |number| {
        let mut item = items[0].clone();
        item["id"] = json!(format!("wamid.HBgLmC2ePrmW9VnmM/TRlN7zdh2Q{number:08}"));
        item
    };
    *items = (0..100).map(of_number).collect();
    body.to_string().into()
}

criterion_group!(benches, verify, split);
criterion_main!(benches);
