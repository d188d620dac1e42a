//! What the door knows of the sources, and when it says that it does not know.

use std::{sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use producer::{Lookup, SourceBook};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use vocabulary::Source;

use super::{
    door::{Door, Plan, SECRET, VERIFY_TOKEN, door, enqueue, eventually, open_to_apps, signature, source},
    http::{Connection, exchange, get, post},
};

async fn post_to(door: &Door, id: &str) -> u16 {
    let headers = [("x-hub-signature-256", signature(SECRET, b"{}"))];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    exchange(door.address, &post(&format!("/hooks/{id}"), &headers, b"{}")).await.status
}

/// How many commands named `name` this Redis has run.
async fn calls_of(door: &Door, name: &str) -> u64 {
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut door.redis().await).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")).map(str::to_owned));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_source_that_was_just_added_is_found_without_waiting_for_the_next_look() {
    let door = door().await;

    door.publish(2, &[source("wa"), source("new")], Utc::now()).await;

    assert_eq!(post_to(&door, "new").await, 200);
}

#[tokio::test]
async fn a_source_that_was_added_right_after_a_stranger_asked_is_found_by_the_next_request() {
    let door = door().await;
    assert_eq!(post_to(&door, "nobody").await, 404);

    door.publish(2, &[source("wa"), source("new")], Utc::now()).await;

    assert_eq!(post_to(&door, "new").await, 200);
}

#[tokio::test]
async fn when_redis_is_away_nobody_is_told_that_a_source_does_not_exist() {
    let redis = tests::private_redis();
    let door = Plan::default().open(&redis.url(), "latchhook").await;
    assert_eq!(post_to(&door, "nobody").await, 404);

    drop(redis);

    assert_eq!(post_to(&door, "new").await, 503);
}

#[tokio::test]
async fn no_more_than_a_thousand_wait_to_hear_that_they_are_nobody() {
    let door = door().await;
    let book = Arc::new(door.book());
    book.refresh(Utc::now()).await;
    assert!(matches!(look_up(&book).await, Lookup::Unknown));

    let mut strangers = JoinSet::new();
    for _ in 0..1002 {
        let book = book.clone();
        strangers.spawn(async move { look_up(&book).await });
    }
    let answers = strangers.join_all().await;

    assert_eq!(answers.iter().filter(|answer| matches!(answer, Lookup::Unknown)).count(), 1000);
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Lookup::Stale)).count(), 2);
}

async fn look_up(book: &SourceBook) -> Lookup {
    book.lookup(&"nobody".parse().unwrap(), Utc::now()).await
}

#[tokio::test]
async fn a_thousand_requests_for_nobody_are_a_few_reads_of_redis() {
    let redis = tests::private_redis();
    let door = Plan::default().open(&redis.url(), "latchhook").await;
    let before = calls_of(&door, "hmget").await;

    let mut strangers = JoinSet::new();
    for stranger in 0..250 {
        let address = door.address;
        strangers.spawn(async move {
            let mut connection = Connection::open(address).await;
            for request in 0..4 {
                connection.send(&get(&format!("/hooks/nobody-{stranger}-{request}"))).await;
                assert_eq!(connection.receive().await.unwrap().status, 404);
            }
        });
    }
    strangers.join_all().await;

    // One a second, and each connection waits for four; a slow machine may need some seconds more.
    let reads = calls_of(&door, "hmget").await - before;
    assert!((1..=10).contains(&reads), "{reads} reads");
}

#[tokio::test]
async fn without_a_fresh_snapshot_nobody_is_told_that_a_source_does_not_exist() {
    let redis = tests::redis().await;
    let door = Plan::default().open_unseen(&redis.url, &redis.prefix).await;
    door.intake.look(Utc::now()).await;
    assert_eq!((post_to(&door, "wa").await, post_to(&door, "nobody").await), (503, 503));

    door.publish(1, &[source("wa")], Utc::now() - TimeDelta::minutes(6)).await;
    door.intake.look(Utc::now()).await;
    assert_eq!((post_to(&door, "wa").await, post_to(&door, "nobody").await), (503, 503));
    assert!(!door.intake.is_ready(Utc::now()));

    door.publish(1, &[source("wa")], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    assert_eq!((post_to(&door, "wa").await, post_to(&door, "nobody").await), (200, 404));
    assert!(!door.intake.is_ready(Utc::now() + TimeDelta::minutes(6)));
}

#[tokio::test]
async fn a_publisher_whose_clock_is_minutes_off_still_publishes() {
    for off in [TimeDelta::minutes(-10), TimeDelta::minutes(10)] {
        let redis = tests::redis().await;
        let door = Plan::default().open_unseen(&redis.url, &redis.prefix).await;

        for seconds in [0, 2] {
            door.publish(1, &[source("wa")], Utc::now() + off + TimeDelta::seconds(seconds)).await;
            door.intake.look(Utc::now()).await;
        }

        assert_eq!(post_to(&door, "wa").await, 200, "{off}");
    }
}

#[tokio::test]
async fn a_source_that_was_disabled_is_gone_within_a_look() {
    let door = door().await;
    let mut disabled = source("wa");
    disabled.enabled = false;

    door.publish(2, &[disabled], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    assert_eq!(post_to(&door, "wa").await, 404);
}

#[tokio::test]
async fn it_keeps_looking_until_it_is_stopped() {
    let redis = tests::redis().await;
    let door = Plan::default().open_unseen(&redis.url, &redis.prefix).await;
    let stop = CancellationToken::new();
    let (intake, until) = (door.intake.clone(), stop.clone());
    let looking = tokio::spawn(async move { intake.keep_looking(until).await });

    door.publish(1, &[source("wa")], Utc::now()).await;

    eventually("the door is ready", async || door.get("/readyz").await.status == 200).await;
    stop.cancel();
    timeout(Duration::from_secs(5), looking).await.expect("it stops").unwrap();
}

/// Its row is damaged, or sealed under a key that the publisher lacks. It exists, so nobody is told that it does not.
#[tokio::test]
async fn a_source_that_did_not_open_is_to_be_tried_again_and_shuts_out_nobody_else() {
    let door = door().await;
    let sealed = Source { secrets: Vec::new(), verify_token: None, ..open_to_apps("sealed") };

    door.publish(2, &[open_to_apps("wa"), sealed], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    assert_eq!((post_to(&door, "sealed").await, post_to(&door, "wa").await), (503, 200));
    let handshake = format!("/hooks/sealed?hub.mode=subscribe&hub.challenge=1&hub.verify_token={VERIFY_TOKEN}");
    assert_eq!(door.get(&handshake).await.status, 503);
    let of_an_app = exchange(door.address, &enqueue("sealed", &[], b"{}")).await;
    assert_eq!(of_an_app.status, 202, "a token is checked by its hash, which nobody seals");
}

#[tokio::test]
async fn a_token_that_was_made_a_moment_ago_is_taken_without_waiting_for_the_next_look() {
    let door = door().await;
    door.publish(2, &[source("wa")], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    assert_eq!(door.enqueue(&[], b"{}").await.status, 401);

    door.publish(3, &[open_to_apps("wa")], Utc::now()).await;

    assert_eq!(door.enqueue(&[], b"{}").await.status, 202);
}

#[tokio::test]
async fn when_redis_is_away_nobody_is_told_that_a_token_is_wrong() {
    let redis = tests::private_redis();
    let door = Plan::default().open(&redis.url(), "latchhook").await;
    let unknown = post("/v1/sources/wa/raw-events", &[("authorization", "Bearer lhtok_of_tomorrow")], b"{}");
    assert_eq!(exchange(door.address, &unknown).await.status, 401);

    drop(redis);

    assert_eq!(exchange(door.address, &unknown).await.status, 503);
}
