//! A Redis that throws keys away when it is full: `doctor` refuses it, because this is what becomes of it.

use latchhook::servers::RedisSettings;
use queue::Inbound;
use redis::aio::MultiplexedConnection;
use tests::raw_event;
use vocabulary::Job;

use super::{
    audit,
    machine::{Machine, job},
};

async fn says(redis: &mut MultiplexedConnection, command: &str) -> String {
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    command.arg(words.collect::<Vec<_>>()).query_async(redis).await.unwrap()
}

async fn pending(inbound: &Inbound) -> u64 {
    inbound.pending().await.unwrap().iter().map(|job| u64::from(job.count)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_that_evicts_loses_the_whole_queue_and_that_is_named() {
    let machine = Machine::start(&RedisSettings { maxmemory: Some(8 << 20), ..RedisSettings::durable() });
    let (database, producer) = (tests::database().await, machine.producer());
    let client = redis::Client::open(machine.redis.url.as_str()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    says(&mut redis, "CONFIG SET maxmemory-policy allkeys-random").await;

    // So large that nothing but the hash of all jobs makes room for another.
    let large = Job::of([raw_event("wa", "x".repeat(1 << 20))]);
    let mut acknowledged = 0;
    while says(&mut redis, "INFO stats").await.contains("evicted_keys:0\r\n") {
        acknowledged += producer.enqueue(std::slice::from_ref(&large)).await.unwrap().len() as u64;
    }
    acknowledged += producer.enqueue(&[job(1)]).await.unwrap().len() as u64;

    let kept = pending(&producer).await;
    let audit = audit(&database, &machine.redis).await;
    let named: u64 = audit.missing.iter().map(|(_, first, last)| last.unwrap() - first + 1).sum();
    assert!(kept <= 2, "{kept} of {acknowledged}");
    assert_eq!((named, audit.is_kept), (acknowledged - kept, false));
}
