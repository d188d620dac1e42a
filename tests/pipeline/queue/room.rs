//! Redis neither fills up by itself, nor stays full.

use latchhook::servers::RedisSettings;
use queue::{ConsumerSettings, EnqueueError, Inbound, Redis};
use vocabulary::Job;

use super::support::{Consumer, connection, enqueue, inbound, raw_event, run, short_lived, until};

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_do_not_pile_up() {
    let server = tests::private_redis();
    let inbound = Inbound::new(&Redis::new(&server.url(), "p").unwrap());
    let mut connection = connection(&server.url()).await;
    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());
    enqueue(&inbound, 1).await;
    consumer.next().await;
    until(async || inbound.depth().await.unwrap().inflight == 0).await;
    let keys_before: usize = run(&mut connection, "DBSIZE").await;

    enqueue(&inbound, 5000).await;
    consumer.names(5000).await;
    until(async || inbound.depth().await.unwrap().inflight == 0).await;

    assert_eq!(run::<usize>(&mut connection, "DBSIZE").await, keys_before);
    let depth = inbound.depth().await.unwrap();
    assert_eq!((depth.ready, depth.scheduled, depth.dead, depth.unreachable), (0, 0, 0, 0));
    assert!(!run::<bool>(&mut connection, "EXISTS p:inbound:data p:inbound:done p:inbound:dead").await);
    consumer.stop().await;
}

#[tokio::test]
async fn what_somebody_put_into_the_dead_set_is_put_back() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 2).await;
    let mut connection = connection(&redis.url).await;
    let q = format!("{}:inbound", redis.prefix);
    let id: String = run(&mut connection, &format!("LPOP {q}:active")).await;
    let () = run(&mut connection, &format!("SADD {q}:dead {id} of-nothing")).await;
    assert_eq!(inbound.depth().await.unwrap().dead, 2);

    let mut consumer = Consumer::start(&inbound, short_lived());

    assert!(consumer.names(2).await.contains(&id));
    assert_eq!((inbound.counts().put_back, inbound.depth().await.unwrap().dead), (1, 0));
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_refuses_what_is_new_and_is_emptied_all_the_same() {
    let server = tests::private_redis_with(&RedisSettings { maxmemory: Some(8 << 20), ..RedisSettings::fast() });
    let inbound = Inbound::new(&Redis::new(&server.url(), "p").unwrap());
    let large = Job::of([raw_event(&"x".repeat(20_000))]);
    let mut enqueued = 0;
    let refusal = loop {
        match inbound.enqueue(std::slice::from_ref(&large)).await {
            Ok(stamps) => enqueued += stamps.len(),
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, EnqueueError::Full(_)), "{refusal:?}");
    assert!(inbound.memory().await.unwrap().is_above_75_percent());

    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());

    consumer.names(enqueued).await;
    until(async || inbound.depth().await.unwrap().inflight == 0).await;
    let last = inbound.enqueue(&[large]).await.unwrap().remove(0);
    assert_eq!(last.number, enqueued as u64 + 1, "a refusal takes no number");
    consumer.stop().await;
}

#[tokio::test]
async fn doctor_learns_what_decides_whether_redis_keeps_what_it_acknowledged() {
    let server = tests::private_redis_with(&RedisSettings { maxmemory: Some(64 << 20), ..RedisSettings::fast() });

    let facts = Redis::new(&server.url(), "p").unwrap().server().await.unwrap();

    assert!(["redis", "valkey"].contains(&facts.name.as_str()));
    assert!(facts.version.starts_with(|c: char| c.is_ascii_digit()) && facts.run_id.len() == 40, "{facts:?}");
    assert_eq!((facts.max_memory, facts.policy.as_str()), (Some(64 << 20), "noeviction"));
    assert!(facts.used_memory > 0 && facts.system_memory > facts.used_memory);
    assert_eq!((facts.is_append_only, facts.append_fsync.as_deref()), (true, Some("no")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_holds_as_many_bytes_as_it_may_fetches_nothing_until_it_holds_fewer() {
    let redis = tests::redis().await;
    let inbound = inbound(&redis);
    enqueue(&inbound, 1).await;
    let jobs: Vec<_> = (0..9).map(|n| Job::of([raw_event(&format!("{n}{}", "x".repeat(99_999)))])).collect();
    inbound.enqueue(&jobs).await.unwrap();
    let settings = ConsumerSettings { fetch_bytes: 1, held_bytes: 250_000, ..ConsumerSettings::default() };

    let mut consumer = Consumer::start_holding(&inbound, settings);
    let held = consumer.names(4).await.len();

    assert!(consumer.is_idle_for(2 * ConsumerSettings::default().poll_floor).await, "a fourth of 100,000 bytes");
    assert_eq!((held, inbound.depth().await.unwrap().inflight), (4, 4));
    consumer.let_go();
    assert_eq!(consumer.names(6).await.len(), 6);
    consumer.stop().await;
}
