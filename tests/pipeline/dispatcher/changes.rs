//! An endpoint that is changed while it is being sent to: what is under way counts for its delivery, says nothing of the
//! endpoint, and the next attempt knows the change.

use std::sync::Arc;

use database::{
    endpoints::{self, Change},
    gates,
};
use diesel_async::SimpleAsyncConnection;
use dispatcher::{Dispatcher, signing::SigningSecret};
use secrecy::ExposeSecret;
use tokio::{io::AsyncWriteExt, sync::Notify};

use crate::{
    customer::{Customer, raw},
    gates::shown,
    setting::{Setting, begin, dispatch_all},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_was_under_way_when_its_endpoint_was_disabled_counts() {
    let answer = Arc::new(Notify::new());
    let customer = Customer::waiting_for(&answer).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher();
    dispatcher.dispatch_due().await.unwrap();
    customer.has_received(1).await;

    setting.execute("UPDATE endpoints SET enabled = false").await;
    answer.notify_one();
    dispatcher.settled().await;

    assert_eq!(setting.delivery().await, ("delivered".into(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_was_under_way_when_its_endpoint_was_disabled_is_not_tried_again_until_it_is_enabled() {
    let (taken, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (taken.clone(), answer.clone());
    let (address, _server) = raw(move |mut stream| {
        let (tell, wait) = (tell.clone(), wait.clone());
        async move {
            tell.notify_one();
            wait.notified().await;
            let _ = stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let setting = Setting::with_endpoint(&format!("http://{address}/")).await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher();
    dispatcher.dispatch_due().await.unwrap();
    taken.notified().await;

    setting.execute("UPDATE endpoints SET enabled = false").await;
    answer.notify_one();
    dispatcher.settled().await;
    setting.pauses_are_over().await;

    assert_eq!(setting.delivery().await, ("pending".into(), 1));
    assert_eq!(dispatch_all(&mut dispatcher).await, 0);
    setting.execute("UPDATE endpoints SET enabled = true").await;
    answer.notify_one();
    assert_eq!(dispatch_all(&mut dispatcher).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_secret_is_added_between_two_attempts_the_holder_of_either_is_content() {
    let customer = Customer::answering(&[500, 200]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher();
    let new = SigningSecret::generate();
    let sealed = setting.master.seal("endpoint:bot", new.expose_secret().as_bytes());
    let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();

    dispatch_all(&mut dispatcher).await;
    setting.execute(&format!("UPDATE endpoints SET secrets = secrets || '\\x{hex}'::bytea")).await;
    setting.pauses_are_over().await;
    dispatch_all(&mut dispatcher).await;

    let received = customer.received();
    assert_eq!((received[0].id(), &received[0].body), (received[1].id(), &received[1].body));
    assert!(received[0].is_signed_by(&setting.secret) && !received[0].is_signed_by(&new));
    assert!(received[1].is_signed_by(&setting.secret) && received[1].is_signed_by(&new));
}

/// So many are under way, each of which waits for an answer.
async fn sending(setting: &Setting, customer: &Customer, count: usize) -> Dispatcher {
    setting.owe_many("bot", count).await;
    let mut dispatcher = setting.dispatcher();
    dispatcher.dispatch_due().await.unwrap();
    customer.has_received(count).await;
    dispatcher
}

/// Lets all answers go.
async fn answered(dispatcher: &mut Dispatcher, answer: &Notify) {
    let mut settled = std::pin::pin!(dispatcher.settled());
    loop {
        tokio::select! {
            biased;
            () = &mut settled => return,
            () = tokio::task::yield_now() => answer.notify_one(),
        }
    }
}

async fn enabled_with_no_failures(setting: &Setting) -> (i64, i64) {
    let enabled = setting.number("SELECT count(*) FROM endpoints WHERE enabled").await;
    (enabled, setting.number("SELECT count(*) FROM gates WHERE failures > 0 OR is_open").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_a_person_has_enabled_is_not_disabled_by_what_was_sent_before() {
    let answer = Arc::new(Notify::new());
    let customer = Customer::answering_when(410, &answer).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let mut dispatcher = sending(&setting, &customer, 12).await;
    answer.notify_one();
    while setting.number("SELECT count(*) FROM endpoints WHERE disabled_told IS NULL").await == 1 {
        tokio::task::yield_now().await;
    }

    let connection = setting.database.connection().await.unwrap();
    endpoints::enable(&connection, &"bot".parse().unwrap()).await.unwrap();
    answered(&mut dispatcher, &answer).await;

    assert_eq!(enabled_with_no_failures(&setting).await, (1, 0));
    assert_eq!(setting.attempts().await, vec![("status".to_owned(), Some(410)); 12]);
    answered_anew(&setting, &answer).await;
    assert_eq!(setting.number("SELECT count(*) FROM endpoints WHERE enabled").await, 0, "gone it is, when asked again");
}

/// What is due is sent again, and answered.
async fn answered_anew(setting: &Setting, answer: &Notify) {
    setting.pauses_are_over().await;
    let mut dispatcher = setting.dispatcher();
    dispatcher.dispatch_due().await.unwrap();
    answered(&mut dispatcher, answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_where_an_endpoint_was_opens_no_circuit_where_it_is() {
    let answer = Arc::new(Notify::new());
    let customer = Customer::answering_when(500, &answer).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let mut dispatcher = sending(&setting, &customer, 12).await;

    let change = Change { url: Some(format!("{}/new", customer.url)), ..Change::default() };
    let connection = setting.database.connection().await.unwrap();
    endpoints::set(&connection, &"bot".parse().unwrap(), &change).await.unwrap();
    answered(&mut dispatcher, &answer).await;

    assert_eq!(enabled_with_no_failures(&setting).await, (1, 0));
    assert_eq!(setting.attempts().await.len(), 12);
    answered_anew(&setting, &answer).await;
    assert_eq!(enabled_with_no_failures(&setting).await, (1, 1), "what fails there counts");
}

/// Whoever changes it has the last word, and holds up nobody's notes.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_endpoint_that_is_being_changed_nothing_is_noted_and_nobody_waits_for_it() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    let failed = shown(&setting, 12, false, 0).await;
    let mut changing = begin(&setting.database).await;
    endpoints::enable(&changing, &"bot".parse().unwrap()).await.unwrap();

    let noted = gates::note(&setting.database.connection().await.unwrap(), &[failed]).await.unwrap();
    changing.batch_execute("COMMIT").await.unwrap();

    assert_eq!(noted, []);
    assert_eq!(enabled_with_no_failures(&setting).await, (1, 0));
}
