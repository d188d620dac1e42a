//! What an event's names cost (its hash in the ledger, its id at each customer's), and a job's way through the queue.
//!
//! `cargo bench -p vocabulary`; with `-- --quick` in a few seconds.

use std::hint::black_box;

use bytes::Bytes;
use chrono::DateTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vocabulary::{EndpointId, Job, Key, KeyHash, RawEvent, SourceId, WebhookId};

/// A text message as Meta sends it has about so many bytes.
const BODY: usize = 500;

fn names(criterion: &mut Criterion) {
    let source = source();
    let endpoint: EndpointId = "crm".parse().expect("an id");
    let key = Key::new("wamid.HBgLmC2ePrmW9VnmM/TRlN7zdh2Qn1o7ZH0a").expect("a key");
    let mut group = criterion.benchmark_group("names");
    group.bench_function("KeyHash", |bencher| bencher.iter(|| KeyHash::of(&source, black_box(&key))));
    group.bench_function("WebhookId", |bencher| bencher.iter(|| WebhookId::of(&source, black_box(&key), &endpoint)));
}

fn job(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("job");
    for raw_events in [1, 100] {
        let job = Job::of((0..raw_events).map(|_| raw_event()));
        let bytes = Bytes::from(job.encode());
        assert_eq!(Job::decode(&bytes).expect("what it encodes, it decodes"), job);
        group.throughput(Throughput::Elements(raw_events));
        group.bench_function(format!("encode {raw_events}"), |bencher| bencher.iter(|| black_box(&job).encode()));
        group.bench_function(format!("decode {raw_events}"), |bencher| {
            bencher.iter(|| Job::decode(black_box(&bytes)).map(|job| job.entries.len()));
        });
    }
}

fn source() -> SourceId {
    "wa".parse().expect("an id")
}

fn raw_event() -> RawEvent {
    let signature = format!("sha256={}", "0".repeat(64));
    RawEvent {
        source_id: source(),
        received_at: DateTime::from_timestamp_micros(1_771_000_000_123_456).expect("a time"),
        headers: vec![("x-hub-signature-256".to_owned(), signature)],
        body: Bytes::from(vec![b'x'; BODY]),
    }
}

criterion_group!(benches, names, job);
criterion_main!(benches);
