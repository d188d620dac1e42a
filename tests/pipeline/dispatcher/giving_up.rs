//! Answers that an endpoint gives up on: the last attempt, whatever its schedule still has.

use database::deliveries::{self, Cause, Wanted};
use diesel_async::SimpleAsyncConnection;
use vocabulary::Terms;

use crate::{
    customer::Customer,
    setting::{Setting, begin, dispatch_all},
};

/// An endpoint, `bot`, that gives up on these.
async fn giving_up_on(statuses: &str, customer: &Customer) -> Setting {
    let setting = Setting::new().await;
    let terms = Terms { give_up_on: Some(statuses.parse().unwrap()), ..Terms::of("*".parse().unwrap()) };
    setting.add_endpoint_with("bot", &customer.url, &terms).await;
    setting
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_an_endpoint_gives_up_on_is_the_last_and_any_other_is_tried_again() {
    let customer = Customer::answering(&[404, 500, 422]).await;
    let setting = giving_up_on("400,422", &customer).await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher();

    for attempts in [1, 2] {
        dispatch_all(&mut dispatcher).await;
        assert_eq!(setting.delivery().await, ("pending".to_owned(), attempts));
        setting.pauses_are_over().await;
    }
    dispatch_all(&mut dispatcher).await;

    assert_eq!(setting.delivery().await, ("abandoned".to_owned(), 3));
    let status = |status| ("status".to_owned(), Some(status));
    assert_eq!(setting.attempts().await, [status(404), status(500), status(422)]);
    assert_eq!(setting.number("SELECT count(*) FROM due").await, 0);
    assert_eq!(customer.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_at_once_is_counted_by_its_cause_and_reason_and_sent_again_on_a_persons_word() {
    let customer = Customer::answering(&[422, 200]).await;
    let setting = giving_up_on("4xx", &customer).await;
    setting.owe("bot", "1").await;
    dispatch_all(&mut setting.dispatcher()).await;
    let connection = setting.database.connection().await.unwrap();
    let wanted = Wanted { states: vec!["abandoned".to_owned()], ..Wanted::default() };

    let causes = deliveries::causes(&connection, &wanted, |_| ()).await.unwrap();
    let rows = deliveries::list(&connection, &wanted, 10, |_| ()).await.unwrap();
    let again = deliveries::make_due(&connection, &rows, &["abandoned"]).await.unwrap();
    dispatch_all(&mut setting.dispatcher()).await;

    let cause = |cause: &Cause| (cause.outcome.clone(), cause.http_status, cause.abandoned_reason.clone(), cause.count);
    let causes: Vec<_> = causes.iter().map(cause).collect();
    assert_eq!(causes, [(Some("status".to_owned()), Some(422), Some("give-up-on 422".to_owned()), 1)]);
    assert_eq!((again.made_due.due, setting.delivery().await), (1, ("delivered".to_owned(), 2)));
    let [first, second] = &customer.received()[..] else { panic!("it was sent twice") };
    assert_eq!((first.id(), &first.body), (second.id(), &second.body));
    assert_eq!(setting.number("SELECT count(abandoned_reason) FROM deliveries").await, 0, "it was due again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_gives_up_on_counts_from_the_next_attempt_on() {
    let customer = Customer::answering(&[422]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    dispatch_all(&mut setting.dispatcher()).await;
    assert_eq!(setting.delivery().await, ("pending".to_owned(), 1));

    setting.execute("UPDATE endpoints SET give_up_on = '{422}'").await;
    setting.pauses_are_over().await;
    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(setting.delivery().await, ("abandoned".to_owned(), 2));
}

/// A customer whose new release answers 404 to everything loses what a circuit lets through, and not all that it is owed.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_gives_up_on_everything_is_rested_as_any_that_fails() {
    let customer = Customer::answering(&[404]).await;
    let setting = giving_up_on("404", &customer).await;
    setting.owe_many("bot", 10).await;
    dispatch_all(&mut setting.dispatcher()).await;

    setting.owe("bot", "waits").await;
    let sent = dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!((sent, customer.received().len()), (0, 10));
    assert_eq!(setting.number("SELECT count(*) FROM gates WHERE is_open AND failures = 10").await, 1);
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'pending'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_no_status_that_asks_for_another_attempt_whoever_writes_it() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;

    for statuses in ["'{}'", "'{NULL}'", "'{404,408}'", "'{410}'", "'{425}'", "'{429}'", "'{399}'", "'{500}'"] {
        let mut connection = begin(&setting.database).await;
        let written = connection.batch_execute(&format!("UPDATE endpoints SET give_up_on = {statuses}")).await;
        assert!(written.unwrap_err().to_string().contains("endpoints_give_up_on_check"), "{statuses}");
    }
    setting.execute("UPDATE endpoints SET give_up_on = '{400,499}'").await;
}
