//! What an operator is told in numbers: what was given up and why, what is owed, and since when.

use std::time::Duration;

use database::{
    attempts::{Next, Recorded},
    deliveries::{self, Backlog, Wanted},
};
use diesel_async::SimpleAsyncConnection;
use dispatcher::{Schedule, Settings};
use vocabulary::Terms;

use crate::{
    customer::Customer,
    leases::{ended, leased_twice},
    setting::{Setting, begin, dispatch_all},
};

/// One attempt, and no other.
fn only_one() -> Settings {
    Settings { schedule: Schedule(Vec::new()), ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dispatcher_gives_up_is_counted_by_what_the_last_attempt_came_to() {
    let (failing, picky) = (Customer::answering(&[500]).await, Customer::answering(&[422]).await);
    let setting = Setting::with_endpoint(&failing.url).await;
    setting.add_endpoint("nobody", "http://127.0.0.1:9/").await;
    let terms = Terms { give_up_on: Some("422".parse().unwrap()), ..Terms::of("*".parse().unwrap()) };
    setting.add_endpoint_with("picky", &picky.url, &terms).await;
    for endpoint in ["bot", "nobody", "picky"] {
        setting.owe(endpoint, "1").await;
    }
    let mut owing = begin(&setting.database).await;
    setting.owe_in_lane(&owing, "bot", Some("anna"), &["2", "3"]).await;
    owing.batch_execute("COMMIT").await.unwrap();
    let mut dispatcher = setting.dispatcher_with(only_one());

    dispatch_all(&mut dispatcher).await;

    let counted = dispatcher.counters().snapshot().abandoned;
    let counted: Vec<_> = counted.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("give_up_on", 1), ("status", 3), ("refused", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_tried_again_or_delivered_already_is_not_counted_as_given_up() {
    let customer = Customer::answering(&[200, 500]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher_with(only_one());
    dispatch_all(&mut dispatcher).await;
    let connection = setting.database.connection().await.unwrap();
    let rows = deliveries::find(&connection, &Wanted::default()).await.unwrap();
    deliveries::make_due(&connection, &rows, &["delivered"]).await.unwrap();
    setting.owe("bot", "2").await;
    setting.execute("UPDATE endpoints SET schedule_s = '{60}'").await;
    setting.execute("UPDATE due SET attempts = 1 WHERE delivered_at IS NOT NULL").await;

    dispatch_all(&mut dispatcher).await;

    let counters = dispatcher.counters().snapshot();
    assert_eq!((counters.of("status"), counters.abandoned.iter().map(|(_, count)| count).sum::<u64>()), (2, 0));
    let states = "SELECT count(DISTINCT state) FROM deliveries WHERE state IN ('delivered', 'pending')";
    assert_eq!(setting.number(states).await, 2);
}

/// The places of those under which a delivery is abandoned.
async fn abandons(setting: &Setting, attempts: &[Recorded]) -> Vec<usize> {
    let connection = setting.database.connection().await.unwrap();
    let abandoned = database::attempts::record(&connection, attempts).await.unwrap();
    let place = |last: &Recorded| attempts.iter().position(|one| std::ptr::eq(one, last)).unwrap();
    abandoned.into_iter().map(place).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_given_up_once_and_under_its_current_lease() {
    let (setting, late, current) = leased_twice().await;
    let given_up = [&late, &current].map(|leased| ended(leased, Next::Abandoned));

    let by_the_late = abandons(&setting, &given_up[..1]).await;
    let by_both = abandons(&setting, &[ended(&late, Next::GivenUp), given_up[1].clone()]).await;
    let again = abandons(&setting, &given_up).await;

    assert_eq!((by_the_late, by_both, again), (vec![], vec![1], vec![]));
    assert_eq!(setting.delivery().await, ("abandoned".to_owned(), 2));
}

async fn backlog(setting: &Setting) -> Backlog {
    deliveries::backlog(&setting.database.connection().await.unwrap()).await.unwrap()
}

async fn oldest_due(setting: &Setting) -> Duration {
    deliveries::oldest_due(&setting.database.connection().await.unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_held_and_abandoned_is_counted() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    let nothing = backlog(&setting).await;
    setting.add_endpoint("disabled", "http://127.0.0.1:9/").await;
    setting.owe_many("bot", 3).await;
    setting.owe_many("disabled", 2).await;
    setting.execute("UPDATE endpoints SET enabled = false, disabled_reason = 'by hand' WHERE id = 'disabled'").await;
    let leased = setting.lease().await;
    setting.record(&[ended(&leased[0], Next::Abandoned), ended(&leased[1], Next::Delivered)]).await;

    let Backlog { pending, held, abandoned } = backlog(&setting).await;

    assert_eq!((pending, held, abandoned), (3, 2, 1));
    assert_eq!(nothing, Backlog { pending: 0, held: 0, abandoned: 0 });
}

/// Endpoints whose names say since when they are owed something, and why that is or is not to be waited for.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_that_is_due_is_the_one_that_could_have_been_sent_for_longest() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    for (id, minutes) in [("bot", 10), ("retried", 20), ("rests", 60), ("rested", 60), ("disabled", 60), ("later", -60)]
    {
        setting.add_endpoint(id, "http://127.0.0.1:9/").await;
        setting.owe(id, "1").await;
        setting
            .execute(&format!(
                "UPDATE due SET due_at = now() - interval '{minutes} minutes' WHERE endpoint_id = '{id}'"
            ))
            .await;
    }
    let stand = "UPDATE due SET attempts = 1 WHERE endpoint_id = 'retried'; \
                 UPDATE endpoints SET enabled = false, disabled_reason = 'by hand' WHERE id = 'disabled'; \
                 INSERT INTO gates (endpoint_id, rests_until) \
                     VALUES ('rests', now() + interval '1 minute'), ('rested', now() - interval '30 minutes')";
    setting.execute(stand).await;
    let mut oldest = Vec::new();

    for gone in ["rested", "retried", "bot", "disabled"] {
        // By Postgres's clock, so a little more than so many minutes.
        oldest.push(oldest_due(&setting).await.as_secs() / 60);
        setting.execute(&format!("DELETE FROM due WHERE endpoint_id = '{gone}'")).await;
    }

    assert_eq!(oldest, [30, 20, 10, 0]);
}

/// It has no time of its own until what is before it has ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_lane_has_not_been_due_since_its_endpoint_last_rested() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    let mut owing = begin(&setting.database).await;
    setting.owe_in_lane(&owing, "bot", Some("anna"), &["1", "2"]).await;
    owing.batch_execute("COMMIT").await.unwrap();
    setting.execute("INSERT INTO gates (endpoint_id) VALUES ('bot')").await;
    setting.execute("DELETE FROM due WHERE due_at IS NOT NULL").await;

    let (waiting, oldest) = (backlog(&setting).await, oldest_due(&setting).await);

    assert_eq!((waiting.pending, oldest), (1, Duration::ZERO));
}
