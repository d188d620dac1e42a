//! `appendfsync everysec`: what was acknowledged in the last two seconds may be lost, nothing older, and all of it is named.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use latchhook::servers::RedisSettings;
use queue::Inbound;
use rand::Rng;
use tokio::sync::mpsc;
use vocabulary::Stamp;

use super::{
    audit,
    machine::{Machine, Samples, job, kept, until},
    random,
};

/// What Redis says it may lose. It syncs once a second, and lets one sync be late by another.
const WINDOW: Duration = Duration::from_secs(2);

/// Enqueues until it is aborted, and tells when each stamp was acknowledged.
async fn enqueue_heard(producer: Inbound, tell: mpsc::UnboundedSender<(Stamp, Instant)>) {
    while let Ok(stamps) = producer.enqueue(&[job(2)]).await {
        let now = Instant::now();
        stamps.into_iter().for_each(|stamp| tell.send((stamp, now)).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_everysec_the_last_two_seconds_may_be_lost_nothing_older_and_all_of_it_is_named() {
    let mut machine = Machine::start(&RedisSettings::every_second());
    let (database, producer) = (tests::database().await, machine.producer());
    let (tell, mut heard) = mpsc::unbounded_channel();
    let (began, mut samples) = (Instant::now(), Samples::default());
    let enqueueing: Vec<_> = (0..4).map(|_| tokio::spawn(enqueue_heard(producer.clone(), tell.clone()))).collect();
    until(|| {
        samples.take(&machine);
        began.elapsed() > WINDOW * 3 / 2
    })
    .await;
    let dark_at = Instant::now();
    machine.loses_power();
    drop(tell);
    for task in enqueueing {
        task.await.unwrap();
    }
    let mut acknowledged = HashMap::new();
    while let Some((stamp, at)) = heard.recv().await {
        acknowledged.insert(stamp, at);
    }

    let (unsynced, written) = (samples.at(dark_at - Duration::from_secs(1)), machine.written());
    let (mut random, mut thrown_away) = (random(), Vec::new());
    for cut in (0..5).map(|_| random.random_range(unsynced..written)).chain([unsynced]) {
        machine.comes_back_with(cut);
        let incarnation = acknowledged.keys().next().unwrap().incarnation.clone();
        let kept = kept(&producer, &incarnation).await;
        let next = producer.enqueue(&[job(1)]).await.unwrap().remove(0);
        let audit = audit(&database, &machine.redis).await;

        let lost: Vec<_> = acknowledged.iter().filter(|(stamp, _)| stamp.number > kept).collect();
        assert!(lost.iter().all(|(_, at)| dark_at.duration_since(**at) < WINDOW), "older than the window");
        let last = acknowledged.keys().map(|stamp| stamp.number).max().unwrap();
        assert_eq!(lost.len() as u64, last.saturating_sub(kept));
        let mut named = thrown_away.clone();
        named.extend((last > kept).then(|| (incarnation, kept + 1, Some(last))));
        named.sort();
        assert_eq!((audit.is_kept, audit.missing), (named.is_empty(), named));
        thrown_away.push((next.incarnation, 1, Some(1)));
    }
}
