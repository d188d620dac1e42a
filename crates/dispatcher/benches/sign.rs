//! What Standard Webhooks costs: a signature for every attempt here, its check for every delivery at the customer's.
//!
//! `cargo bench -p dispatcher`; with `-- --quick` in a few seconds.

use std::hint::black_box;

use chrono::{DateTime, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dispatcher::signing::{SigningSecret, signature, verify};
use http::{HeaderMap, HeaderValue};

const ID: &str = "msg_0123456789abcdef0123456789abcdef01234567";
const TIMESTAMP: i64 = 1_771_000_000;
/// About what a text message's webhook is, and what a large flow's answers are.
const SIZES: [(&str, usize); 2] = [("1 KB", 1_000), ("100 KB", 100_000)];

fn sign(criterion: &mut Criterion) {
    let (one, two) = (vec![secret()], vec![secret(), secret()]);
    let mut group = criterion.benchmark_group("sign a delivery");
    for (name, size) in SIZES {
        let body = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(name, |bencher| bencher.iter(|| signature(&one, ID, TIMESTAMP, black_box(&body))));
    }
    let body = vec![b'x'; 1_000];
    group.throughput(Throughput::Bytes(1_000));
    group.bench_function("1 KB, while secrets are rotated", |bencher| {
        bencher.iter(|| signature(&two, ID, TIMESTAMP, black_box(&body)));
    });
    let asymmetric = SigningSecret::parse(&SigningSecret::generate_ed25519()).expect("what it generates, it reads");
    group.bench_function("1 KB, with ed25519", |bencher| {
        bencher.iter(|| signature([&asymmetric], ID, TIMESTAMP, black_box(&body)));
    });
}

fn check(criterion: &mut Criterion) {
    let secret = secret();
    let now = DateTime::<Utc>::from_timestamp(TIMESTAMP, 0).expect("a time");
    let mut group = criterion.benchmark_group("verify a delivery");
    for (name, size) in SIZES {
        let body = vec![b'x'; size];
        let headers = headers(&signature(std::slice::from_ref(&secret), ID, TIMESTAMP, &body));
        assert_eq!(verify(&secret, &headers, &body, now), Ok(ID));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| verify(&secret, &headers, black_box(&body), now).map(str::len));
        });
    }
}

fn secret() -> SigningSecret {
    SigningSecret::parse(&SigningSecret::generate()).expect("what it generates, it reads")
}

fn headers(signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static(ID));
    headers.insert("webhook-timestamp", TIMESTAMP.into());
    headers.insert("webhook-signature", signature.parse().expect("letters and digits"));
    headers
}

criterion_group!(benches, sign, check);
criterion_main!(benches);
