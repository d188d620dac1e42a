//! What a customer has, and is sent again on a person's word: whatever comes of that, it is delivered.

use std::time::Duration;

use database::{
    attempts::Next,
    deliveries::{self, Abandoned, Wanted},
};
use tokio_postgres::Row;
use vocabulary::Terms;

use crate::{
    customer::Customer,
    leases::ended,
    setting::{Setting, dispatch_all},
};

/// A customer who takes one delivery, and answers all others as given.
async fn delivered_once(answers: &[u16]) -> (Customer, Setting) {
    let customer = Customer::answering(&[&[200], answers].concat()).await;
    let setting = Setting::new().await;
    let terms = Terms { give_up_on: Some("422".parse().unwrap()), ..Terms::of("*".parse().unwrap()) };
    setting.add_endpoint_with("bot", &customer.url, &terms).await;
    setting.owe("bot", "1").await;
    dispatch_all(&mut setting.dispatcher()).await;
    setting.execute("UPDATE deliveries SET finished_at = finished_at - interval '1 hour'").await;
    (customer, setting)
}

/// Has all that is in this state sent again, as a person does.
async fn send_again(setting: &Setting, state: &str) {
    let connection = setting.database.connection().await.unwrap();
    let rows = deliveries::find(&connection, &Wanted::default()).await.unwrap();
    assert_eq!(deliveries::make_due(&connection, &rows, &[state]).await.unwrap().made_due.due, 1);
}

/// Gives up all that is pending, as a person does.
async fn give_up(setting: &Setting) -> Vec<Abandoned> {
    let connection = setting.database.connection().await.unwrap();
    let wanted = Wanted { states: vec!["pending".to_owned()], ..Wanted::default() };
    let rows = deliveries::find(&connection, &wanted).await.unwrap();
    deliveries::abandon(&connection, &rows, "not again").await.unwrap()
}

/// Nothing is owed, and the audit finds nothing wrong with the deliveries.
async fn assert_audit_holds(setting: &Setting) {
    assert_eq!(setting.number("SELECT count(*) FROM due").await, 0);
    let breaches = setting.breaches().await;
    let of_deliveries = ["due exactly", "counts as delivered", "not called abandoned"];
    assert!(!breaches.iter().any(|check| of_deliveries.iter().any(|words| check.contains(words))), "{breaches:?}");
}

/// All that says how the deliveries ended, in words.
async fn ends(setting: &Setting) -> Vec<String> {
    let query =
        "SELECT concat_ws(' ', state, finished_at, abandoned_reason, abandoned_at) FROM deliveries ORDER BY event_id";
    setting.rows(query).await.iter().map(|row: &Row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_stops_from_being_sent_again_is_delivered_as_of_when_it_was() {
    let (_customer, setting) = delivered_once(&[]).await;
    let before = ends(&setting).await;
    send_again(&setting, "delivered").await;
    send_again(&setting, "pending").await;
    setting.lease().await;
    setting.leases_end().await;
    setting.owe("bot", "2").await;

    let given_up = give_up(&setting).await;

    let mut kinds: Vec<_> = given_up.iter().map(|it| (it.is_delivered, it.is_unrecorded)).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [(false, false), (true, false)]);
    let after = ends(&setting).await;
    assert_eq!(after[0], before[0]);
    assert!(after[1].starts_with("abandoned") && after[1].contains("not again"), "{}", after[1]);
    assert_audit_holds(&setting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_when_it_is_sent_again_is_delivered_as_of_when_it_was_and_no_retry_takes_it_along() {
    let (customer, setting) = delivered_once(&[500]).await;
    let before = ends(&setting).await;
    setting.execute("UPDATE endpoints SET schedule_s = '{1}'").await;
    send_again(&setting, "delivered").await;

    dispatch_all(&mut setting.dispatcher()).await;
    assert_eq!(setting.delivery().await, ("pending".to_owned(), 2));
    setting.pauses_are_over().await;
    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!((ends(&setting).await, customer.received().len()), (before, 3));
    let wanted = Wanted { states: vec!["abandoned".to_owned(), "pending".to_owned()], ..Wanted::default() };
    let connection = setting.database.connection().await.unwrap();
    assert_eq!(deliveries::find(&connection, &wanted).await.unwrap().len(), 0);
    assert_audit_holds(&setting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_by_what_its_endpoint_gives_up_on_when_it_is_sent_again_is_delivered_without_a_reason() {
    let (customer, setting) = delivered_once(&[422]).await;
    let before = ends(&setting).await;
    send_again(&setting, "delivered").await;

    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!((ends(&setting).await, customer.received().len()), (before, 2));
    assert_audit_holds(&setting).await;
}

/// A retry that is resumed tells by that time what has been delivered again meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_again_is_delivered_as_of_then_though_a_failure_comes_late() {
    let (_customer, setting) = delivered_once(&[]).await;
    let before = ends(&setting).await;
    send_again(&setting, "delivered").await;
    let late = setting.lease().await.remove(0);
    setting.leases_end().await;
    let current = setting.lease().await.remove(0);

    setting.record(&[ended(&current, Next::Delivered), ended(&late, Next::Abandoned)]).await;
    setting.record(&[ended(&late, Next::Retry { after: Duration::ZERO })]).await;

    assert_eq!(setting.delivery().await, ("delivered".to_owned(), 3));
    assert_ne!(ends(&setting).await, before);
    assert_eq!(setting.number("SELECT count(*) FROM due").await, 0);
}

/// As it was left by who did not remember: one delivery that is sent again, one that was called abandoned, and two that
/// nobody has, one of each.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_forgotten_before_there_was_a_place_for_it_is_found_in_the_attempts() {
    let (_customer, setting) = delivered_once(&[]).await;
    for key in ["2", "3", "4"] {
        setting.owe("bot", key).await;
    }
    let nth = |number: u8| format!("event_id = (SELECT id FROM events WHERE key = 'bot-{number}')");
    setting.execute(include_str!("../../../migrations/2026-11-29-000003_remember_who_has_it/down.sql")).await;
    let others = "INSERT INTO attempts (event_id, endpoint_id, lease, webhook_id, body_hash, outcome, started_at, duration_us) \
                  SELECT d.event_id, endpoint_id, 1000 + e.sequence, d.webhook_id, ''";
    setting
        .execute(&format!(
            "{others}, 'delivered', '2026-01-01 00:00:00Z', 2000000 FROM deliveries d JOIN events e ON id = event_id WHERE {}; \
             {others}, 'timeout', now(), 1 FROM deliveries d JOIN events e ON id = event_id WHERE {} OR {}; \
             UPDATE deliveries SET state = 'pending', finished_at = NULL WHERE {}; \
             INSERT INTO due (event_id, endpoint_id) SELECT event_id, endpoint_id FROM deliveries WHERE {}; \
             UPDATE deliveries SET state = 'abandoned', finished_at = now(), abandoned_reason = 'not again' WHERE {} OR {}; \
             DELETE FROM due WHERE {} OR {}",
            nth(2), nth(3), nth(4), nth(1), nth(1), nth(2), nth(3), nth(2), nth(3),
        ))
        .await;

    setting.execute(include_str!("../../../migrations/2026-11-29-000003_remember_who_has_it/up.sql")).await;
    let mended = ends(&setting).await;
    give_up(&setting).await;

    let states = |ends: &[String]| ends.iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(states(&mended), ["pending", "delivered", "abandoned", "pending"]);
    assert_eq!(states(&ends(&setting).await), ["delivered", "delivered", "abandoned", "abandoned"]);
    let when =
        "SELECT count(*) FROM deliveries WHERE finished_at = '2026-01-01 00:00:02Z' AND abandoned_reason IS NULL";
    assert_eq!(setting.number(when).await, 1);
}
