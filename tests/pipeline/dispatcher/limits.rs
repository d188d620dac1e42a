//! Limits that an endpoint asks for: they hold for the whole fleet, and cost nobody else anything.

use std::{sync::Arc, time::Duration};

use database::due::{self, Body, LeaseRequest, Leased, Room};
use futures::future::join_all;
use tests::leasing;
use tokio::sync::{Barrier, Notify};
use tokio_util::sync::CancellationToken;
use vocabulary::Terms;

use crate::{
    customer::Customer,
    master_key::another_key,
    setting::{Setting, dispatch_all},
};

fn terms() -> Terms {
    Terms::of("*".parse().unwrap())
}

async fn lease(setting: &Setting, room: Room, busy: &[(&str, Room)]) -> Vec<Leased<Body>> {
    let busy: Vec<_> = busy.iter().map(|(id, room)| (id.parse().unwrap(), *room)).collect();
    let request = LeaseRequest { busy: &busy, ..leasing(room) };
    due::lease(&setting.database.connection().await.unwrap(), &request).await.unwrap()
}

fn room(all: usize) -> Room {
    Room { all, retries: all }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_limit_allows_is_leased_together() {
    let setting = Setting::new().await;
    setting.add_endpoint_with("bot", "http://127.0.0.1:9/", &Terms { max_in_flight: Some(50), ..terms() }).await;
    setting.owe_many("bot", 200).await;

    let leased = setting.lease().await.len();

    assert_eq!(leased, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_leave_half_of_what_a_limit_allows_to_first_attempts() {
    let setting = Setting::new().await;
    setting.add_endpoint_with("bot", "http://127.0.0.1:9/", &Terms { max_in_flight: Some(10), ..terms() }).await;
    setting.owe_many("bot", 200).await;
    setting.execute("UPDATE due SET attempts = 1 WHERE ctid IN (SELECT ctid FROM due LIMIT 100)").await;

    let leased = setting.lease().await;

    let retries = leased.iter().filter(|leased| leased.attempts > 0).count();
    assert_eq!((leased.len(), retries), (10, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_may_have_all_that_a_limit_allows_while_no_first_attempt_is_due() {
    let setting = Setting::new().await;
    setting.add_endpoint_with("bot", "http://127.0.0.1:9/", &Terms { max_in_flight: Some(1), ..terms() }).await;
    setting.owe_many("bot", 2).await;
    setting.execute("UPDATE due SET attempts = 1").await;

    let leased = setting.lease().await.len();

    assert_eq!(leased, 1);
}

/// Who has least in flight comes first, by what this dispatcher is sending, not by what an endpoint allows.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_with_a_low_limit_is_not_last_behind_those_that_are_busy() {
    let setting = Setting::new().await;
    setting.add_endpoint_with("limited", "http://127.0.0.1:9/", &Terms { max_in_flight: Some(1), ..terms() }).await;
    for endpoint in ["limited", "busy", "busy-too"] {
        if endpoint != "limited" {
            setting.add_endpoint(endpoint, "http://127.0.0.1:9/").await;
        }
        setting.owe_many(endpoint, 20).await;
    }

    let leased = lease(&setting, room(4), &[("busy", room(3)), ("busy-too", room(3))]).await;

    assert!(leased.iter().any(|leased| leased.endpoint_id.as_str() == "limited"), "{leased:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_fleet_sends_no_more_at_once_than_an_endpoint_allows() {
    let gate = Arc::new(Notify::new());
    let customer = Customer::waiting_for(&gate).await;
    let setting = Setting::new().await;
    setting.add_endpoint_with("bot", &customer.url, &Terms { max_in_flight: Some(2), ..terms() }).await;
    setting.owe_many("bot", 20).await;
    let stop = CancellationToken::new();
    let run = || tokio::spawn(setting.dispatcher().run(Arc::new(Notify::new()), stop.clone()));
    let fleet = [run(), run(), run()];

    for answered in 0..20 {
        let received = customer.has_received((answered + 2).min(20)).await.len();
        assert!(received - answered <= 2, "{received} were sent when {answered} were answered");
        gate.notify_one();
    }

    while setting.number("SELECT count(*) FROM due").await > 0 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    for dispatcher in fleet {
        dispatcher.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_taken_at_the_same_instant_stay_within_what_an_endpoint_allows_at_once() {
    let setting = Setting::new().await;
    setting.add_endpoint_with("bot", "http://127.0.0.1:9/", &Terms { max_in_flight: Some(3), ..terms() }).await;
    setting.owe_many("bot", 100).await;
    let (setting, barrier) = (Arc::new(setting), Arc::new(Barrier::new(8)));
    let look = || {
        let (setting, barrier) = (setting.clone(), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            lease(&setting, room(2), &[]).await.len()
        })
    };

    let at_once: usize = join_all((0..8).map(|_| look())).await.into_iter().map(Result::unwrap).sum();
    let later = setting.lease().await.len();

    assert!((1..=3).contains(&at_once), "{at_once}");
    assert_eq!(at_once + later, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_fleet_sends_no_more_per_second_than_an_endpoint_allows() {
    let setting = Setting::new().await;
    setting.add_endpoint_with("bot", "http://127.0.0.1:9/", &Terms { max_per_second: Some(2.0), ..terms() }).await;
    setting.owe_many("bot", 100).await;
    let a_second_passes = || setting.execute("UPDATE gates SET filled_at = filled_at - interval '1 second'");
    setting.execute("UPDATE gates SET tokens = 0, filled_at = now()").await;

    let mut leased = vec![setting.lease().await.len()];
    for _ in 0..3 {
        a_second_passes().await;
        leased.push(setting.lease().await.len() + setting.lease().await.len());
    }
    setting.execute("UPDATE gates SET filled_at = filled_at - interval '1 hour'").await;
    leased.push(setting.lease().await.len());

    assert_eq!(leased, [0, 2, 2, 2, 2], "what was not used is not saved up");
}

/// At most one in a hundred seconds, so that none is due again by itself meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_given_back_gives_the_endpoint_back_what_it_had_of_its_limit_and_no_more() {
    let setting = Setting::new().await;
    setting.add_endpoint_with("bot", "http://127.0.0.1:9/", &Terms { max_per_second: Some(0.01), ..terms() }).await;
    setting.owe_many("bot", 10).await;
    let connection = setting.database.connection().await.unwrap();
    let unused = setting.lease().await;
    assert_eq!((unused.len(), setting.lease().await.len()), (1, 0));

    for _ in 0..3 {
        due::release(&connection, &unused, Duration::ZERO).await.unwrap();
    }
    let again = [setting.lease().await, setting.lease().await];
    due::release(&connection, &unused, Duration::ZERO).await.unwrap();

    assert_eq!(again.each_ref().map(Vec::len), [1, 0]);
    assert_eq!(setting.lease().await.len(), 0, "what was given back before gives nothing back again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_one_dispatcher_leaves_to_another_is_sent_what_its_limit_allows() {
    let customer = Customer::content().await;
    let setting = Setting::new().await;
    setting.add_endpoint_with("bot", &customer.url, &Terms { max_per_second: Some(0.01), ..terms() }).await;
    setting.owe_many("bot", 10).await;
    let mut lacking = setting.dispatcher_of(another_key());

    let leased = (lacking.dispatch_due().await.unwrap().leased, lacking.counters().snapshot().released);
    let sent = dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!((leased, sent, customer.received().len()), ((0, 1), 1, 1));
}

/// A dispatcher that waits for answers for twenty minutes (`--request-deadline`).
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_for_as_long_as_leases_last_however_long_that_is() {
    let setting = Setting::new().await;
    setting.add_endpoint_with("bot", "http://127.0.0.1:9/", &Terms { max_in_flight: Some(1), ..terms() }).await;
    setting.owe_many("bot", 3).await;
    let connection = setting.database.connection().await.unwrap();
    let request = LeaseRequest { lease: Duration::from_secs(20 * 60), ..leasing(room(10)) };

    let first = due::lease(&connection, &request).await.unwrap().len();
    let second = due::lease(&connection, &request).await.unwrap().len();

    assert_eq!((first, second), (1, 0));
}
