//! One connection's tries to get a request accepted.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rand::Rng;
use tokio::time::timeout;

use super::{OUTSTANDING, Shared, lock};
use crate::stream::Request;

/// For one try, from connecting to the last byte of the answer's head.
const PATIENCE: Duration = Duration::from_secs(5);
/// Milliseconds before the next try. Meta waits longer; a run has no week to spend.
const PAUSE: std::ops::RangeInclusive<u64> = 100..=500;

pub(super) type Client = legacy::Client<HttpConnector, Full<Bytes>>;

pub(super) fn client() -> Client {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(OUTSTANDING as usize)
        .build(connector)
}

impl Shared {
    /// Tries one target after the other; returns when it is told 200.
    pub(super) async fn post_until_accepted(&self, request: &Request) {
        for tries in 1.. {
            if let Some(target) = self.targets.next()
                && self.post(request, target, tries).await
            {
                return;
            }
            let pause = rand::rng().random_range(PAUSE);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Whether it was accepted.
    async fn post(&self, request: &Request, target: SocketAddr, tries: u32) -> bool {
        let answer = timeout(PATIENCE, self.ask(request, target)).await;
        let mut record = lock(&self.record);
        match answer {
            Ok(Ok(status)) => {
                record.count(status.as_u16().to_string());
                if status == StatusCode::OK {
                    record.accept(request.number, tries);
                }
                if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
                    record.breach(format!("genuine request {} was answered with {status} by {target}", request.number));
                }
                status == StatusCode::OK
            }
            Ok(Err(error)) => {
                record.count(if error.is_connect() { "no connection" } else { "broken off" }.to_owned());
                false
            }
            Err(_) => {
                record.count("no answer".to_owned());
                false
            }
        }
    }

    async fn ask(&self, request: &Request, target: SocketAddr) -> Result<StatusCode, legacy::Error> {
        let post = http::Request::post(format!("http://{target}/hooks/chaos-{}", request.source))
            .header("content-type", "application/json")
            .header("x-hub-signature-256", &request.signature)
            .body(Full::new(request.body.clone()))
            .expect("the parts of a request are valid");
        let (head, body) = self.client.request(post).await?.into_parts();
        // The head is the answer. The rest is read so that the connection can be used again.
        tokio::spawn(timeout(PATIENCE, body.collect()));
        Ok(head.status)
    }
}
