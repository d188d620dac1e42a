//! What it costs to refuse a stranger: a request with a forged signature, next to one that is answered 401 by the same server
//! without a look at it. Strangers send as many as they like, so the difference is what they can make us work.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use axum::{Router, http::StatusCode};
use producer::ConnectionLimits;
use serde::Serialize;
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;

use super::{children, one_thread, send::Sent, usage};

/// So many of each, in turns. A machine has its moments, and the two of a turn share them: the turn whose ratio is the middle one
/// is kept.
const REQUESTS: u64 = 10_000;
const TURNS: usize = 9;
/// What the threads of the bare server are called, and those of the intake.
const BARE: &str = "bare";
const INTAKE: &str = "producer";

/// CPU time of the server by request, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Refusal {
    /// Refused because of its signature.
    pub(super) forged_us: f64,
    /// Answered 401, whatever it is.
    pub(super) bare_us: f64,
}

impl Refusal {
    /// What the one costs by what the other does.
    pub(super) fn ratio(&self) -> f64 {
        self.forged_us / self.bare_us
    }
}

/// Sends forged requests to an intake in this process, and to a server that answers 401 to all.
///
/// # Errors
/// When one of the two answers something else.
pub(super) async fn measure(url: &str) -> anyhow::Result<Refusal> {
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let bare_url = format!("http://{}/hooks/bench", start_bare(stop).await?);
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        let (forged_us, bare_us) = (by_request(url, INTAKE).await?, by_request(&bare_url, BARE).await?);
        turns.push(Refusal { forged_us, bare_us });
    }
    turns.sort_by(|one, other| one.ratio().total_cmp(&other.ratio()));
    Ok(turns.swap_remove(TURNS / 2))
}

async fn by_request(url: &str, threads: &str) -> anyhow::Result<f64> {
    let used = || usage::cpu_by_thread("self").get(threads).copied().unwrap_or_default();
    let (before, events) = (used(), REQUESTS.to_string());
    let sent: Sent =
        children::told(&["send", "--url", url, "--app-secret", "forged", "--events", &events, "--duplicates", "0"])
            .await?;
    ensure!(sent.refused == REQUESTS, "of {REQUESTS} forged requests {} were refused", sent.refused);
    Ok(used().saturating_sub(before).as_secs_f64() * 1e6 / REQUESTS as f64)
}

/// On a thread of its own, as the intake has one. Gives its address.
async fn start_bare(stop: CancellationToken) -> anyhow::Result<SocketAddr> {
    let (tell, told) = oneshot::channel();
    let serving = one_thread::run(BARE, async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let _gone = tell.send(listener.local_addr()?);
        let router = Router::new().fallback(async || StatusCode::UNAUTHORIZED);
        producer::serve(listener, router, ConnectionLimits::default(), stop).await;
        anyhow::Ok(())
    });
    tokio::spawn(serving);
    told.await.context("the bare server did not start")
}
