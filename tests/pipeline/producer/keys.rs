//! A request under an `Idempotency-Key`: enqueued once, however often it comes, and answered the same.

use std::sync::Arc;

use chrono::Utc;
use producer::{Producer, ProducerSettings, Refusal};
use queue::Redis;
use tests::private_redis;
use tokio::{sync::Barrier, task::JoinSet};
use vocabulary::{Once, Source};

use super::{
    door::{Plan, door, enqueue, eventually, open_to_apps, raw_event},
    http::{Response, exchange},
    outage::Frozen,
};

const LINES: (&str, &str) = ("content-type", "application/x-ndjson");
const WHY: &str =
    "another request was sent under this key, or other lines of this one were taken: take a new key for each";

fn ids(response: &Response) -> String {
    assert_eq!(response.status, 202, "{response:?}");
    response.json()["results"].to_string()
}

#[tokio::test]
async fn the_same_request_under_one_key_is_enqueued_once_and_answered_the_same() {
    let door = door().await;
    let body = b"{\"body\": 1}\nbroken\n{\"body\": 2}";

    let first = door.enqueue(&[LINES, ("idempotency-key", "\"k 1\"")], body).await;
    let other = door.enqueue(&[LINES, ("idempotency-key", "\"k 2\"")], body).await;
    let again = door.enqueue(&[LINES, ("idempotency-key", "k 1")], body).await;

    assert_eq!(first.json()["results"].as_array().unwrap().len(), 3);
    assert_eq!(ids(&again), ids(&first));
    assert_ne!(ids(&other), ids(&first));
    assert_eq!(door.stored().await.len(), 4);
}

#[tokio::test]
async fn without_a_key_nobody_knows_a_request_again() {
    let door = door().await;

    let (first, again) = (door.enqueue(&[], b"{}").await, door.enqueue(&[], b"{}").await);

    assert_ne!(ids(&first), ids(&again));
    assert_eq!(door.stored().await.len(), 2);
}

#[tokio::test]
async fn another_request_under_a_key_is_refused_and_leaves_the_first_as_it_was() {
    let door = door().await;
    let key = ("idempotency-key", "k");
    let first = door.enqueue(&[key], b"{\"body\": 1}").await;

    let others = [
        door.enqueue(&[key], b"{\"body\": 2}").await,
        door.enqueue(&[key, LINES], b"{\"body\": 1}").await,
        door.enqueue(&[key, ("x-hub-signature-256", "sha256=00")], b"{\"body\": 1}").await,
    ];

    for other in others {
        assert_eq!(other.error(), (422, WHY.to_owned()));
    }
    assert_eq!(ids(&door.enqueue(&[key], b"{\"body\": 1}").await), ids(&first));
    assert_eq!((door.stored().await.len(), door.intake.counters().refused(Refusal::KeyReused)), (1, 3));
}

#[tokio::test]
async fn the_same_lines_are_the_same_request_whatever_their_source_has_been_told_since() {
    let door = door().await;
    let lines = |headers: &[(&'static str, &'static str)]| [&[LINES, ("idempotency-key", "k")], headers].concat();
    let body = b"{\"body\": 1, \"headers\": {\"x-id\": \"1\"}}\n{\"body\": 2}";
    let first = door.enqueue(&lines(&[("x-id", "a")]), body).await;

    let told = serde_json::json!({"algorithm": "equal", "signature_header": "x-token", "key_header": "x-id"});
    let settings = told.as_object().unwrap().clone();
    let source = Source { provider: "generic".into(), settings, body_limit: Some(2048), ..open_to_apps("wa") };
    door.publish(2, &[source], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    let again = door.enqueue(&lines(&[("x-id", "b")]), body).await;

    assert_eq!((ids(&again), door.stored().await.len()), (ids(&first), 2));
}

/// Nobody remembers which lines were taken, so their names cannot be told again.
#[tokio::test]
async fn a_request_of_which_other_lines_can_be_taken_now_is_told_to_take_a_new_key() {
    let door = door().await;
    let limited = |body_limit| Source { body_limit: Some(body_limit), ..open_to_apps("wa") };
    door.publish(2, &[limited(1024)], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    let body = format!("{{\"body\": \"{}\"}}\n{{\"body\": 2}}", "x".repeat(2000));
    let headers = [LINES, ("idempotency-key", "k")];
    let first = door.enqueue(&headers, body.as_bytes()).await;

    door.publish(3, &[limited(2048)], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    let again = door.enqueue(&headers, body.as_bytes()).await;

    assert_eq!((first.status, again.error()), (202, (422, WHY.to_owned())));
    assert_eq!(door.stored().await.len(), 1);
}

#[tokio::test]
async fn a_key_belongs_to_its_source() {
    let door = door().await;
    door.publish(2, &[open_to_apps("wa"), open_to_apps("other")], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    let mut answers = Vec::new();
    for source in ["wa", "other"] {
        answers.push(ids(&exchange(door.address, &enqueue(source, &[("idempotency-key", "k")], b"{}")).await));
    }

    assert_ne!(answers[0], answers[1]);
    assert_eq!(door.stored().await.len(), 2);
}

#[tokio::test]
async fn what_can_be_no_key_is_refused_before_anything_is_enqueued() {
    let door = door().await;

    let twice = door.enqueue(&[("idempotency-key", "k"), ("idempotency-key", "k")], b"{}").await;
    let empty = door.enqueue(&[("idempotency-key", "\"\"")], b"{}").await;

    assert_eq!((twice.error().0, empty.error().0), (400, 400));
    assert_eq!(door.stored().await.len(), 0);
}

#[tokio::test]
async fn a_request_is_told_to_wait_while_one_under_its_key_is_under_way() {
    let redis = private_redis();
    let door = Plan::default().open(&redis.url(), "latchhook").await;
    let request = enqueue("wa", &[("idempotency-key", "k")], b"{}");
    let send = || {
        let (address, request) = (door.address, request.clone());
        tokio::spawn(async move { exchange(address, &request).await })
    };

    let frozen = Frozen::freeze(&redis);
    let first = send();
    eventually("the first has arrived", async || door.intake.counters().received.get() == 1).await;
    let meanwhile = send().await.unwrap();
    drop(frozen);
    let (first, again) = (first.await.unwrap(), send().await.unwrap());

    assert_eq!((meanwhile.error().0, meanwhile.retry_after().is_some()), (409, true));
    assert_eq!(ids(&again), ids(&first));
    assert_eq!(door.stored().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_producers_that_have_a_request_at_the_same_moment_one_enqueues_it() {
    let address = tests::redis().await;
    let redis = Redis::new(&address.url, &address.prefix).unwrap();
    let producers = [(), ()].map(|()| Producer::new(&redis, ProducerSettings::default()));
    let (barrier, mut handing_in) = (Arc::new(Barrier::new(64)), JoinSet::new());

    for number in 0..64 {
        let (producer, barrier) = (producers[number % 2].clone(), barrier.clone());
        handing_in.spawn(async move {
            let raw_events = [raw_event("1"), raw_event("2")];
            let once = Once::new(&raw_events[0].source_id, "k", &[b"12"]);
            barrier.wait().await;
            producer.enqueue_once(&raw_events, once).await.unwrap()
        });
    }
    let stamps = handing_in.join_all().await;

    assert!(stamps.iter().all(|given| given == &stamps[0]), "{stamps:?}");
    assert_eq!(stamps[0].iter().map(|stamp| stamp.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(queue::Inbound::new(&redis).depth().await.unwrap().ready, 1);
}
