//! The server below the door: an accept loop whose every wait has an end.
//!
//! `axum::serve` sets no timer, so that hyper's own header deadline does nothing and one client can hold a connection for
//! ever. hyper-util's `auto` builder waits without a deadline for the first bytes, to tell HTTP/1 from HTTP/2. So this is
//! hyper's HTTP/1 connection itself, over a stream that keeps the deadlines (`patience.rs`).
//!
//! Connections above the cap wait, the first of them accepted and the others in the kernel's backlog, rather than being
//! answered with 503: an answer needs a file descriptor, a task and the reading of a header, which is what has run out.
//! For the one that is accepted, the connection that has been silent longest is closed, if that is a second or more. A
//! shorter idle deadline for all would make room too, but by hanging up on every idle client at once, who would all come
//! back at once.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, http::Request, response::Response};
use bytes::Bytes;
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::debug;

use super::{
    entrance::{Entrance, Guest},
    patience::{Busy, Patient, Phase},
};

/// What a connection may take, and how long it may keep us waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The most connections at one time. Further ones wait for their turn; see [`serve`].
    pub connections: usize,
    /// The most headers of one request; above it 431.
    pub headers: usize,
    /// About the most bytes of a request's header, 8 KiB at least; above it 431. hyper reads in steps that double, so up
    /// to twice as much may pass.
    pub header_bytes: usize,
    /// From the first byte of a request (for the first one: from the connection) to the end of its header.
    pub header_deadline: Duration,
    /// How long a connection may stay open between two requests. Longer than a load balancer's, so that it closes first.
    pub idle_deadline: Duration,
    /// How long a client may leave its responses unread.
    pub write_deadline: Duration,
    /// How long requests in flight may take to finish after `stop`.
    pub drain_deadline: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            headers: 64,
            header_bytes: 32 << 10,
            header_deadline: Duration::from_secs(10),
            idle_deadline: Duration::from_secs(75),
            write_deadline: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(20),
        }
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still open at the drain deadline, and were cut off.
    pub cut_off: usize,
}

/// Serves `routes` (an axum `Router`, say) on `listener` until `stop`; then takes no more connections, finishes the requests
/// in flight, and returns. Close the producer after that, not before: the requests in flight still need it.
///
/// When there are as many connections as `limits` allow, and one more waits, the one that has been silent longest is closed,
/// once it has been so for a second. One that has a request in flight is never closed for another.
pub async fn serve<R>(listener: TcpListener, routes: R, limits: ConnectionLimits, stop: CancellationToken) -> Stopped
where
    R: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let make_room = Arc::new(Notify::new());
    let mut entrance = Entrance::new(listener, limits.connections, make_room.clone());
    let server = Arc::new(Server { routes, http: http(&limits), limits, make_room, stop: stop.clone() });
    let mut connections = JoinSet::new();
    while let Some(guest) = stop.run_until_cancelled(entrance.next()).await {
        connections.spawn(server.clone().drive(guest));
        while connections.try_join_next().is_some() {}
    }
    drop(entrance);
    drain(connections, limits.drain_deadline).await
}

fn http(limits: &ConnectionLimits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).max_headers(limits.headers).max_buf_size(limits.header_bytes);
    http
}

async fn drain(mut connections: JoinSet<()>, deadline: Duration) -> Stopped {
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(deadline, all).await;
    let cut_off = connections.len();
    connections.shutdown().await;
    Stopped { cut_off }
}

struct Server<R> {
    routes: R,
    http: http1::Builder,
    limits: ConnectionLimits,
    make_room: Arc<Notify>,
    stop: CancellationToken,
}

impl<R> Server<R>
where
    R: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone,
{
    async fn drive(self: Arc<Self>, Guest { stream, place: _place }: Guest) {
        // Responses are a packet each: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let phase = Phase::fresh();
        let io = Patient::new(stream, phase.clone(), self.limits, self.make_room.clone());
        let service = service_fn(|request: Request<Incoming>| {
            let busy = phase.busy();
            // All that is served is always ready.
            let answer = self.routes.clone().call(request);
            async move { answer.await.map(|response| response.map(|body| Answer { body, _busy: busy })) }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(io), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(error = &error as &dyn std::error::Error, "connection ended early");
        }
    }
}

/// The body of an answer. Who gets one is not idle before its end, however long it takes, and however long it says nothing.
struct Answer {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
