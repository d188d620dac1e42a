//! `appendfsync always`: what was acknowledged is kept, and the test would see it if it were not.

use latchhook::servers::RedisSettings;
use queue::Inbound;
use rand::Rng;
use vocabulary::Stamp;

use super::{
    audit,
    machine::{Machine, enqueue_together, enqueue_unheard, job, kept, until},
    random,
};

/// A machine that lost power while many were enqueueing.
struct Dark {
    machine: Machine,
    /// One whose process lives on elsewhere.
    producer: Inbound,
    acknowledged: Vec<Stamp>,
    /// Bytes of the log at the last acknowledgement, all of them synced by then.
    synced: u64,
    /// Bytes of the log when the power went.
    written: u64,
}

async fn a_machine_that_lost_power() -> Dark {
    let mut machine = Machine::start(&RedisSettings::durable());
    let producer = machine.producer();
    let acknowledged = enqueue_together(&producer, 12).await;
    let synced = machine.written();
    let unheard = tokio::spawn(enqueue_unheard(machine.producer()));
    until(|| machine.written() > synced + 20_000).await;
    machine.loses_power();
    unheard.abort();
    let written = machine.written();
    Dark { machine, producer, acknowledged, synced, written }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_always_nothing_acknowledged_is_lost_wherever_the_log_is_cut_after_the_last_acknowledgement() {
    let Dark { mut machine, producer, acknowledged, synced, written } = a_machine_that_lost_power().await;
    let database = tests::database().await;
    let mut random = random();
    // The first thing enqueued after one cut is thrown away by the next, which must be noticed too.
    let mut thrown_away = Vec::new();
    let cuts = (0..8).map(|_| random.random_range(synced..=written)).chain([synced, synced + 1, written - 1, written]);

    for cut in cuts {
        machine.comes_back_with(cut);
        let kept = kept(&producer, &acknowledged[0].incarnation).await;
        let next = producer.enqueue(&[job(1)]).await.unwrap().remove(0);
        let audit = audit(&database, &machine.redis).await;

        assert!(
            kept >= acknowledged.last().unwrap().number,
            "{kept} are left of {acknowledged:?} after a cut at {cut}"
        );
        assert_ne!(next.incarnation, acknowledged[0].incarnation);
        assert_eq!(next.number, 1);
        assert_eq!(
            (audit.is_kept, &audit.missing),
            (thrown_away.is_empty(), &thrown_away),
            "cut at {cut} of {written}"
        );
        thrown_away.push((next.incarnation, 1, Some(1)));
        thrown_away.sort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_off_before_the_last_acknowledgement_is_lost_and_named_number_by_number() {
    let Dark { mut machine, producer, acknowledged, synced, .. } = a_machine_that_lost_power().await;
    let database = tests::database().await;
    let mut random = random();
    let incarnation = acknowledged[0].incarnation.clone();
    let last = acknowledged.last().unwrap().number;
    let mut thrown_away = Vec::new();

    for cut in (0..6).map(|_| random.random_range(synced / 4..synced)).chain([synced - 1]) {
        machine.comes_back_with(cut);
        let kept = kept(&producer, &incarnation).await;
        let next = producer.enqueue(&[job(1)]).await.unwrap().remove(0);
        let audit = audit(&database, &machine.redis).await;

        assert!(kept < last, "a cut at {cut} of {synced} lost nothing");
        let mut lost = thrown_away.clone();
        lost.push((incarnation.clone(), kept + 1, Some(last)));
        lost.sort();
        assert_eq!((audit.is_kept, audit.missing), (false, lost));
        thrown_away.push((next.incarnation, 1, Some(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_producer_knew_that_died_too_is_named_by_nobody() {
    let Dark { mut machine, acknowledged, synced, .. } = a_machine_that_lost_power().await;
    let database = tests::database().await;

    machine.comes_back_with(synced / 2);
    let another = machine.producer();
    another.enqueue(&[job(1)]).await.unwrap();
    let audit = audit(&database, &machine.redis).await;

    assert!(kept(&another, &acknowledged[0].incarnation).await < acknowledged.len() as u64);
    assert!(audit.is_kept, "the page for operators says otherwise");
}
