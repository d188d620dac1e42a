//! Leases keep dispatchers apart; the number of a lease makes what comes late harmless.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::Utc;
use database::{
    attempts::{Next, Recorded, Split},
    due::{Body, Leased},
};
use diesel::{QueryableByName, sql_types::Text};
use diesel_async::AsyncPgConnection;
use dispatcher::Settings;
use futures::future::join_all;
use tests::rows_read;
use tokio::{sync::Barrier, time::timeout};

use crate::{
    customer::Customer,
    setting::{Setting, begin, dispatch_all},
};

const RETRY: Next = Next::Retry { after: Duration::from_secs(60) };

pub(crate) fn ended(leased: &Leased<Body>, next: Next) -> Recorded {
    Recorded {
        event_id: leased.event_id,
        endpoint_id: leased.endpoint_id.clone(),
        lease: leased.lease,
        webhook_id: leased.webhook_id.clone(),
        body_hash: [0; 32],
        outcome: if next == Next::Delivered { "delivered" } else { "timeout" },
        http_status: None,
        detail: None,
        response_head: None,
        started_at: Utc::now(),
        duration: Duration::from_millis(1),
        split: Split::default(),
        next,
        lane: None,
    }
}

/// A delivery leased twice: first by somebody who was late, then, when that lease had ended, by somebody else.
pub(crate) async fn leased_twice() -> (Setting, Leased<Body>, Leased<Body>) {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    setting.owe("bot", "1").await;
    let late = setting.lease().await.remove(0);
    setting.leases_end().await;
    let current = setting.lease().await.remove(0);
    (setting, late, current)
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_dispatchers_that_lease_at_the_same_instant_never_hold_the_same_delivery() {
    let setting = Arc::new(Setting::with_endpoint("http://127.0.0.1:9/").await);
    setting.owe_many("bot", 500).await;
    let barrier = Arc::new(Barrier::new(8));
    let mut racing = Vec::new();
    for _ in 0..8 {
        let (setting, barrier) = (setting.clone(), barrier.clone());
        racing.push(tokio::spawn(async move {
            barrier.wait().await;
            setting.lease().await
        }));
    }

    let mut held: Vec<_> = join_all(racing).await.into_iter().flat_map(Result::unwrap).collect();
    held.extend(setting.lease().await);

    let distinct = |of: fn(&Leased<Body>) -> String| held.iter().map(of).collect::<HashSet<_>>().len();
    assert_eq!(held.len(), 500);
    assert_eq!(distinct(|leased| leased.event_id.to_string()), 500);
    assert_eq!(distinct(|leased| leased.lease.to_string()), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dispatchers_together_send_everything_once() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe_many("bot", 200).await;
    let (mut one, mut other) = (setting.dispatcher(), setting.dispatcher());

    let sent = tokio::join!(dispatch_all(&mut one), dispatch_all(&mut other));

    let received = customer.received();
    assert_eq!(sent.0 + sent.1, 200);
    assert_eq!(received.iter().map(|request| request.id()).collect::<HashSet<_>>().len(), 200);
    assert_eq!(received.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_stays_leased_for_longer_than_its_answer_may_take() {
    let customer = Customer::hanging().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let settings = Settings::default();
    let deadline = settings.deadline.as_secs();

    setting.dispatcher_with(settings).dispatch_due().await.unwrap();
    customer.has_received(1).await;

    let outlasts = format!("SELECT count(*) FROM due WHERE due_at > now() + interval '{deadline} seconds'");
    assert_eq!(setting.number(&outlasts).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_somebody_is_just_leasing_is_passed_over_and_not_waited_for() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    setting.owe_many("bot", 3).await;
    setting.execute("BEGIN; UPDATE due SET lease = 1 WHERE ctid = (SELECT min(ctid) FROM due)").await;

    let leased = timeout(Duration::from_secs(1), setting.lease()).await;

    assert_eq!(leased.expect("nobody is waited for").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_leased_or_waits_for_its_pause_stays_where_it_is_while_its_endpoint_is_sent_other_things() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    setting.owe("bot", "leased").await;
    setting.lease().await;
    setting.owe("bot", "paused").await;
    setting.execute("UPDATE due SET attempts = 1, due_at = now() + interval '1 hour' WHERE lease IS NULL").await;
    let due = setting.owe("bot", "due").await;

    let leased = setting.lease().await;

    assert_eq!(leased.iter().map(|leased| leased.event_id).collect::<Vec<_>>(), [due]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_under_an_old_lease_is_recorded_and_moves_nothing() {
    let (setting, late, current) = leased_twice().await;

    setting.record(&[ended(&late, RETRY)]).await;
    setting.record(&[ended(&Leased { lease: late.lease - 1000, ..late }, Next::Abandoned)]).await;

    assert_eq!(setting.delivery().await, ("pending".to_owned(), 2));
    let held = format!("SELECT count(*) FROM due WHERE lease = {} AND attempts = 0 AND due_at > now()", current.lease);
    assert_eq!(setting.number(&held).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_counts_however_late_it_comes() {
    let (setting, late, current) = leased_twice().await;

    setting.record(&[ended(&current, Next::Abandoned)]).await;
    assert_eq!(setting.delivery().await, ("abandoned".to_owned(), 1));
    setting.record(&[ended(&late, Next::Delivered)]).await;

    assert_eq!(setting.delivery().await, ("delivered".to_owned(), 2));
    assert_eq!(setting.number("SELECT count(*) FROM due").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_success_spares_the_customer_the_next_attempt() {
    let (setting, late, current) = leased_twice().await;

    setting.record(&[ended(&late, Next::Delivered)]).await;
    setting.record(&[ended(&current, RETRY)]).await;

    assert_eq!(setting.delivery().await, ("delivered".to_owned(), 2));
    assert_eq!(setting.number("SELECT count(*) FROM due").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn recording_twice_is_recording_once() {
    let (setting, _, current) = leased_twice().await;

    setting.record(&[ended(&current, RETRY)]).await;
    setting.record(&[ended(&current, RETRY)]).await;

    assert_eq!(setting.delivery().await, ("pending".to_owned(), 1));
    assert_eq!(setting.attempts().await.len(), 1);
    assert_eq!(setting.number("SELECT count(*) FROM due WHERE attempts = 1 AND lease IS NULL").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_is_recorded_again_does_not_take_away_what_a_person_asked_for_since() {
    let (setting, _, current) = leased_twice().await;
    setting.record(&[ended(&current, Next::Delivered)]).await;
    setting.execute("UPDATE deliveries SET state = 'pending', finished_at = NULL").await;
    setting.execute("INSERT INTO due (event_id, endpoint_id) SELECT event_id, endpoint_id FROM deliveries").await;

    setting.record(&[ended(&current, Next::Delivered)]).await;

    assert_eq!(setting.delivery().await, ("pending".to_owned(), 1));
    assert_eq!(setting.lease().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_attempts_of_one_delivery_in_one_batch_both_are_kept_and_a_success_wins() {
    for (first, second) in [(Next::Delivered, RETRY), (RETRY, Next::Delivered), (Next::Delivered, Next::Abandoned)] {
        let (setting, late, current) = leased_twice().await;

        setting.record(&[ended(&late, first), ended(&current, second)]).await;

        assert_eq!(setting.delivery().await, ("delivered".to_owned(), 2), "{first:?}, {second:?}");
        assert_eq!(setting.number("SELECT count(*) FROM due").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_given_back_is_due_at_once_and_only_its_holder_can_give_it_back() {
    let (setting, late, current) = leased_twice().await;
    let connection = setting.database.connection().await.unwrap();

    database::due::release(&connection, &[late], Duration::ZERO).await.unwrap();
    let after_a_stranger = setting.lease().await.len();
    database::due::release(&connection, &[current], Duration::ZERO).await.unwrap();
    let after_its_holder = setting.lease().await.len();

    assert_eq!((after_a_stranger, after_its_holder), (0, 1));
}

/// To an empty table all plans are equally good, and the table is empty whenever all is delivered.
#[tokio::test(flavor = "multi_thread")]
async fn recording_does_not_read_all_that_is_due_though_postgres_believes_that_nothing_is() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    setting.owe_many("bot", 5000).await;
    for emptied in ["DELETE FROM due", "VACUUM due", "UPDATE pg_class SET reltuples = 0 WHERE relname LIKE 'due%'"] {
        setting.execute(emptied).await;
    }
    setting.owe_many("bot", 5000).await;
    let leased: Vec<_> = setting.lease().await.into_iter().take(200).collect();
    let connection = begin(&setting.database).await;

    let successes: Vec<_> = leased[..100].iter().map(|leased| ended(leased, Next::Delivered)).collect();
    database::attempts::record(&connection, &successes).await.unwrap();
    let failures: Vec<_> = leased[100..].iter().map(|leased| ended(leased, RETRY)).collect();
    database::attempts::record(&connection, &failures).await.unwrap();

    let read = rows_read(&connection, "due").await;
    assert!(read < 2500, "{read} rows of due were read to record 200 attempts");
    let plan = plan_of(&connection, "DELETE FROM due WHERE").await;
    let is_looked_up =
        plan.contains("due_pkey") && plan.contains("hashed SubPlan") && !plan.contains("due_by_endpoint");
    assert!(is_looked_up, "{plan}");
}

/// How Postgres goes about a statement that this session has prepared.
async fn plan_of(connection: &AsyncPgConnection, words: &str) -> String {
    use diesel_async::RunQueryDsl;

    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        line: String,
    }
    #[derive(QueryableByName)]
    struct Prepared {
        #[diesel(sql_type = Text)]
        explain: String,
    }
    let prepared = "SELECT format('EXPLAIN EXECUTE %I(%s)', name, \
                        (SELECT string_agg('NULL', ',') FROM unnest(parameter_types))) AS explain \
                    FROM pg_prepared_statements WHERE statement LIKE '%' || $1 || '%'";
    let prepared = diesel::sql_query(prepared).bind::<Text, _>(words);
    let Prepared { explain } = prepared.get_result(&mut &*connection).await.unwrap();
    let rows: Vec<Row> = diesel::sql_query(explain).load(&mut &*connection).await.unwrap();
    rows.into_iter().map(|row| row.line + "\n").collect()
}
