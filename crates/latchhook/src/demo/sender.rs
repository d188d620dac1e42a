//! The sender: posts the stream as Meta would, over many connections, and again whatever was not accepted.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use anyhow::Context;
use http_body_util::Full;
use hyper::{Request as HttpRequest, StatusCode, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::sync::{Barrier, Mutex, mpsc};

use super::stream::{Request, Stream};

const CONNECTIONS: usize = 32;
/// A sender that was told 503 comes again; this one is less patient than Meta.
const AGAIN: Duration = Duration::from_millis(100);

/// What the intake answered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answers {
    /// 200: ours to keep from here on.
    pub(super) accepted: usize,
    /// 401.
    pub(super) refused: usize,
    /// Anything else, sent again until it was one of the above.
    pub(super) again: usize,
}

struct Post {
    request: Request,
    /// Those that are sent at the same instant wait for each other here.
    together: Option<Arc<Barrier>>,
}

/// Posts everything, so many different requests a second; `tick` is called for each answer.
///
/// # Errors
/// When the intake cannot be reached.
pub(super) async fn send(
    url: &str,
    stream: &Stream,
    rate: NonZeroU32,
    tick: impl Fn() + Clone + Send + 'static,
) -> anyhow::Result<Answers> {
    let (posts, received) = mpsc::channel(CONNECTIONS);
    let received = Arc::new(Mutex::new(received));
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(CONNECTIONS).build(HttpConnector::new());
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::spawn(connection(client.clone(), url.to_owned(), received.clone(), tick.clone())))
        .collect();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / rate.get());
    for request in &stream.requests {
        pace.tick().await;
        let together = (request.at_once > 1).then(|| Arc::new(Barrier::new(request.at_once)));
        for _ in 0..request.at_once {
            let post = Post { request: request.clone(), together: together.clone() };
            posts.send(post).await.context("the sender is gone")?;
        }
    }
    drop(posts);
    let mut sum = Answers::default();
    for connection in connections {
        let answers = connection.await.context("a connection of the sender broke")??;
        sum.accepted += answers.accepted;
        sum.refused += answers.refused;
        sum.again += answers.again;
    }
    Ok(sum)
}

/// Waits until the intake knows its sources, and would not turn the first ones away with 503.
///
/// # Errors
/// When it cannot be reached, or is not ready within ten seconds.
pub(super) async fn until_ready(url: &str) -> anyhow::Result<()> {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let ready = async {
        while client.get(url.parse()?).await.context("the intake does not answer")?.status() != StatusCode::OK {
            tokio::time::sleep(AGAIN).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(10), ready).await.context("the intake is not ready: see the log")?
}

async fn connection(
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    posts: Arc<Mutex<mpsc::Receiver<Post>>>,
    tick: impl Fn(),
) -> anyhow::Result<Answers> {
    let mut answers = Answers::default();
    loop {
        let Some(Post { request, together }) = posts.lock().await.recv().await else { return Ok(answers) };
        if let Some(together) = together {
            together.wait().await;
        }
        loop {
            match post(&client, &url, &request).await? {
                StatusCode::OK => answers.accepted += 1,
                StatusCode::UNAUTHORIZED => answers.refused += 1,
                _ => {
                    answers.again += 1;
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            }
            break;
        }
        tick();
    }
}

async fn post(client: &Client<HttpConnector, Full<Bytes>>, url: &str, request: &Request) -> anyhow::Result<StatusCode> {
    let request = HttpRequest::post(url)
        .header("content-type", "application/json")
        .header("x-hub-signature-256", &request.signature)
        .body(Full::new(request.body.clone()))?;
    Ok(client.request(request).await.context("the intake does not answer")?.status())
}
