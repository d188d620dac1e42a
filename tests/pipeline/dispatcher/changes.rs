//! An endpoint that is changed while it is being sent to: what is under way counts, and the next attempt knows the change.

use std::sync::Arc;

use dispatcher::signing::SigningSecret;
use secrecy::ExposeSecret;
use tokio::{io::AsyncWriteExt, sync::Notify};

use crate::{
    customer::{Customer, raw},
    setting::{Setting, dispatch_all},
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
