//! What Redis cannot take is never answered with 200.

use std::time::Duration;

use chrono::Utc;
use latchhook::servers::RedisSettings;
use producer::{ProducerSettings, Refusal};
use rustix::process::{Pid, Signal, kill_process};
use tests::{PrivateRedis, private_redis, private_redis_with};
use tokio::task::JoinSet;

use super::{
    door::{Door, Plan, begin, eventually, raw_event, signed},
    http::{Response, exchange},
};

/// A Redis that stands still until this is dropped.
pub(super) struct Frozen(Pid);

impl Frozen {
    pub(super) fn freeze(redis: &PrivateRedis) -> Self {
        let pid = Pid::from_raw(redis.pid().cast_signed()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

async fn open(redis: &PrivateRedis) -> Door {
    let producer = ProducerSettings { deadline: Duration::from_millis(300), ..ProducerSettings::default() };
    Plan { producer, ..Plan::default() }.open(&redis.url(), "latchhook").await
}

/// Lets Redis hold so many bytes more, of which none travel: a buffer of its own for them would count as well.
async fn fill(door: &Door, bytes: usize) {
    let mut command = redis::cmd("SETRANGE");
    let () = command.arg("filler").arg(bytes).arg("x").query_async(&mut door.redis().await).await.unwrap();
}

fn is_told_to_come_back(response: &Response) -> bool {
    response.error() == (503, "not taken, try again later".into()) && (1..=5).contains(&response.retry_after().unwrap())
}

#[tokio::test]
async fn while_redis_is_dead_nothing_is_taken_and_once_it_is_back_everything_is() {
    let mut redis = private_redis();
    let door = open(&redis).await;

    redis.kill();
    assert!(is_told_to_come_back(&door.post_signed(b"unnoticed").await));
    door.intake.look(Utc::now()).await;
    assert!(is_told_to_come_back(&door.post_signed(b"noticed").await));
    assert_eq!((door.get("/healthz").await.status, door.get("/readyz").await.status), (200, 503));

    redis.restart().unwrap();
    door.intake.look(Utc::now()).await;
    assert_eq!(door.post_signed(b"back").await.status, 200);
    assert_eq!(door.get("/readyz").await.status, 200);
    assert_eq!(door.stored().await.iter().map(|raw_event| raw_event.body.clone()).collect::<Vec<_>>(), ["back"]);
}

#[tokio::test]
async fn while_redis_stands_still_nothing_is_taken_and_once_it_moves_everything_is() {
    let redis = private_redis();
    let door = open(&redis).await;

    let frozen = Frozen::freeze(&redis);
    assert!(is_told_to_come_back(&door.post_signed(b"unnoticed").await));
    door.intake.look(Utc::now()).await;
    assert!(is_told_to_come_back(&door.post_signed(b"noticed").await));
    assert_eq!(door.intake.counters().refused(Refusal::RedisDown), 2);

    drop(frozen);
    door.intake.look(Utc::now()).await;
    assert_eq!(door.post_signed(b"back").await.status, 200);
}

#[tokio::test]
async fn above_three_quarters_of_its_memory_redis_is_left_to_the_workers() {
    let redis = private_redis_with(&RedisSettings { maxmemory: Some(16 << 20), ..RedisSettings::fast() });
    let door = open(&redis).await;
    fill(&door, 13 << 20).await;

    door.intake.look(Utc::now()).await;
    let full = door.post_signed(b"{}").await;
    let () = redis::cmd("DEL").arg("filler").query_async(&mut door.redis().await).await.unwrap();
    door.intake.look(Utc::now()).await;

    assert!(is_told_to_come_back(&full));
    assert_eq!(door.intake.counters().refused(Refusal::RedisFull), 1);
    assert_eq!(door.post_signed(b"{}").await.status, 200);
}

#[tokio::test]
async fn a_redis_that_has_filled_up_since_the_last_look_refuses_by_itself() {
    let redis = private_redis_with(&RedisSettings { maxmemory: Some(16 << 20), ..RedisSettings::fast() });
    let door = open(&redis).await;
    fill(&door, 16 << 20).await;

    let response = door.post_signed(b"{}").await;

    assert!(is_told_to_come_back(&response));
    assert_eq!(door.intake.counters().refused(Refusal::RedisFull), 1);
}

#[tokio::test]
async fn when_too_much_waits_for_redis_the_next_is_refused_at_once() {
    let redis = private_redis();
    let producer = ProducerSettings { backlog_bytes: 10_000, ..ProducerSettings::default() };
    let door = Plan { producer, ..Plan::default() }.open(&redis.url(), "latchhook").await;

    let frozen = Frozen::freeze(&redis);
    let large = raw_event(vec![0; 6000]);
    let mut waits = Box::pin(door.producer.enqueue(&large));
    begin(waits.as_mut()).await;
    let refused = door.post_signed(&[b'x'; 6000]).await;
    drop(frozen);

    assert!(is_told_to_come_back(&refused));
    assert_eq!(door.intake.counters().refused(Refusal::Busy), 1);
    assert_eq!(waits.await.unwrap().number, 1);
    assert_eq!(door.post_signed(&[b'x'; 6000]).await.status, 200);
}

#[tokio::test]
async fn requests_in_flight_together_share_their_pushes() {
    let redis = private_redis();
    let door = Plan::default().open(&redis.url(), "latchhook").await;

    let frozen = Frozen::freeze(&redis);
    let mut requests = JoinSet::new();
    for number in 0..64 {
        let (address, request) = (door.address, signed(format!("{number}\0").as_bytes()));
        requests.spawn(async move { exchange(address, &request).await.status });
    }
    eventually("all have arrived", async || door.intake.counters().received.get() == 64).await;
    drop(frozen);

    assert_eq!(requests.join_all().await, [200; 64]);
    let pushes = door.producer.counters().pushes.get();
    assert!(pushes < 16, "{pushes} pushes");
    let mut bodies: Vec<_> = door.stored().await.into_iter().map(|raw_event| raw_event.body).collect();
    bodies.sort();
    let mut expected: Vec<_> = (0..64).map(|number| format!("{number}\0")).collect();
    expected.sort();
    assert_eq!(bodies, expected);
}
