use std::{collections::HashSet, future::Future};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use tokio::{net::TcpListener, sync::watch, time::timeout};

use super::*;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// An intake that takes down what it gets and answers as it is told.
#[derive(Clone, Default)]
struct Intake {
    posted: Arc<Mutex<Vec<(String, String, Bytes)>>>,
    present: watch::Sender<usize>,
}

impl Intake {
    /// The first `refused` posts are answered with `status`.
    async fn refusing(refused: usize, status: u16) -> (Self, SocketAddr) {
        let status = StatusCode::from_u16(status).unwrap();
        Self::start(move |posted| async move { if posted > refused { StatusCode::OK } else { status } }).await
    }

    async fn start<F>(answer: impl Fn(usize) -> F + Clone + Send + Sync + 'static) -> (Self, SocketAddr)
    where
        F: Future<Output = StatusCode> + Send,
    {
        let intake = Self::default();
        let post = async move |State(intake): State<Self>, Path(source): Path<String>, headers: HeaderMap, body| {
            let signature = headers["x-hub-signature-256"].to_str().unwrap().to_owned();
            let posted = {
                let mut posted = lock(&intake.posted);
                posted.push((source, signature, body));
                posted.len()
            };
            intake.present.send_modify(|present| *present += 1);
            answer(posted).await
        };
        let router = Router::new().route("/hooks/{source}", axum::routing::post(post)).with_state(intake.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (intake, address)
    }

    async fn has_got(&self, count: usize) {
        timeout(PATIENCE, self.present.subscribe().wait_for(|present| *present >= count)).await.unwrap().unwrap();
    }
}

fn to(addresses: &[SocketAddr]) -> Targets {
    let targets = Targets::default();
    targets.set(addresses.to_vec());
    targets
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

#[tokio::test]
async fn every_connection_of_every_request_is_accepted_once_and_posts_what_was_signed() {
    let (intake, address) = Intake::refusing(0, 200).await;
    let sender = Sender::start(Stream::new(1), to(&[address]), 2000);

    intake.has_got(300).await;
    let sent = sender.finished(soon()).await.unwrap();

    assert_eq!((sent.unaccepted.len(), sent.wrong.len()), (0, 0));
    let posted = lock(&intake.posted);
    assert_eq!(sent.answers, BTreeMap::from([("200".to_owned(), posted.len() as u64)]));
    let numbers: Vec<_> = sent.requests.iter().map(|request| request.number).collect();
    assert_eq!(numbers, (0..sent.requests.len() as u64).collect::<Vec<_>>());
    assert!(sent.requests.iter().all(|request| sent.accepted[&request.number].len() == request.at_once));
    let expected: HashSet<_> = Stream::new(1)
        .take(sent.requests.len())
        .map(|request| (format!("chaos-{}", request.source), request.signature, request.body))
        .collect();
    assert_eq!(posted.iter().cloned().collect::<HashSet<_>>(), expected);
}

#[tokio::test]
async fn what_is_refused_is_sent_again_to_another_target_until_it_is_accepted() {
    let (_refusing, bad) = Intake::refusing(usize::MAX, 503).await;
    let (accepting, good) = Intake::refusing(0, 200).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let sender = Sender::start(Stream::new(2), to(&[bad, nobody, good]), 500);

    accepting.has_got(60).await;
    let sent = sender.finished(soon()).await.unwrap();

    assert!(sent.unaccepted.is_empty() && sent.wrong.is_empty());
    assert!(sent.answers["503"] > 0 && sent.answers["no connection"] > 0);
    assert!(sent.most_tries > 1);
}

#[tokio::test]
async fn the_targets_can_be_changed_while_requests_wait_for_one() {
    let targets = Targets::default();
    let sender = Sender::start(Stream::new(3), targets.clone(), 500);
    let (intake, address) = Intake::refusing(0, 200).await;

    targets.set(vec![address]);
    intake.has_got(10).await;

    assert!(sender.finished(soon()).await.unwrap().unaccepted.is_empty());
}

#[tokio::test]
async fn a_genuine_request_that_is_not_believed_is_a_breach_and_is_sent_again() {
    for status in [401, 403, 404] {
        let (intake, address) = Intake::refusing(1, status).await;
        let sender = Sender::start(Stream::new(4), to(&[address]), 200);

        intake.has_got(5).await;
        let sent = sender.finished(soon()).await.unwrap();

        assert!(sent.wrong.len() == 1 && sent.wrong[0].contains(&status.to_string()), "{:?}", sent.wrong);
        assert!(sent.requests.iter().all(|request| sent.accepted[&request.number].len() == request.at_once));
        let accepted: usize = sent.accepted.values().map(Vec::len).sum();
        assert_eq!(sent.answers, BTreeMap::from([("200".to_owned(), accepted as u64), (status.to_string(), 1)]));
    }
}

#[tokio::test]
async fn what_is_not_accepted_by_the_deadline_is_named() {
    let (intake, address) = Intake::refusing(usize::MAX, 500).await;
    let sender = Sender::start(Stream::new(5), to(&[address]), 100);

    intake.has_got(3).await;
    let sent = sender.finished(Instant::now()).await.unwrap();

    let numbers: Vec<_> = sent.requests.iter().map(|request| request.number).collect();
    assert!(!numbers.is_empty());
    assert_eq!((sent.unaccepted, sent.accepted.len()), (numbers, 0));
}

#[tokio::test]
async fn an_intake_that_does_not_answer_gets_a_bounded_number_of_requests() {
    let (intake, address) = Intake::start(|_| std::future::pending()).await;
    let sender = Sender::start(Stream::new(6), to(&[address]), 100_000);

    intake.has_got(OUTSTANDING as usize - 6).await;
    tokio::task::yield_now().await;

    assert!(lock(&intake.posted).len() <= OUTSTANDING as usize);
    drop(sender);
}
