//! Customers who misbehave: each in his own way, none for longer than the deadline, and each with the cause written down.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dispatcher::{Client, Dispatcher, Guard, Settings};
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    time::{sleep, timeout},
};

use crate::{
    customer::{Customer, raw, saying},
    setting::{Setting, dispatch_all},
};

const DEADLINE: Duration = Duration::from_millis(500);

/// What is recorded of one attempt at a URL. Never takes long.
async fn outcome_at(url: &str) -> (String, Option<i16>) {
    let setting = Setting::with_endpoint(url).await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher_with(Settings { deadline: DEADLINE, ..Settings::default() });
    let started = Instant::now();

    dispatch_all(&mut dispatcher).await;

    assert!(started.elapsed() < DEADLINE * 6, "{url} took {:?}", started.elapsed());
    assert_eq!(setting.number("SELECT count(*) FROM due WHERE attempts = 1 AND lease IS NULL").await, 1);
    setting.attempts().await.remove(0)
}

fn outcome(label: &str, status: Option<i16>) -> (String, Option<i16>) {
    (label.to_owned(), status)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_is_cut_at_the_deadline() {
    let customer = Customer::hanging().await;

    assert_eq!(outcome_at(&customer.url).await, outcome("timeout", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_drips_is_cut_at_the_deadline() {
    let (address, _server) = raw(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
        while stream.write_all(b".").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;

    assert_eq!(outcome_at(&format!("http://{address}/")).await, outcome("timeout", Some(200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_ten_megabytes_is_not_read_to_its_end() {
    const LEN: usize = 10 * 1024 * 1024;
    let written = Arc::new(AtomicUsize::new(0));
    let counted = written.clone();
    let (address, _server) = raw(move |mut stream| {
        let counted = counted.clone();
        async move {
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {LEN}\r\n\r\n").as_bytes()).await;
            while counted.load(Ordering::SeqCst) < LEN && stream.write_all(&[b'.'; 4096]).await.is_ok() {
                counted.fetch_add(4096, Ordering::SeqCst);
            }
        }
    })
    .await;

    assert_eq!(outcome_at(&format!("http://{address}/")).await, outcome("too_large", Some(200)));
    assert!(written.load(Ordering::SeqCst) < LEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_not_read_to_its_end() {
    let (address, _server) = raw(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while stream.write_all(&[b'.'; 4096]).await.is_ok() {}
    })
    .await;

    assert_eq!(outcome_at(&format!("http://{address}/")).await, outcome("too_large", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let private = Customer::content().await;
    let customer = Customer::answering_with(307, "location", &private.url).await;

    assert_eq!(outcome_at(&customer.url).await, outcome("redirect", Some(307)));
    assert!(private.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_fail_has_a_cause_of_its_own() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let (hangs_up, _a) = saying(b"").await;
    let (half, _b) = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let (no_http, _c) = saying(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    let angry = Customer::answering(&[410]).await;

    assert_eq!(outcome_at(&format!("http://{nobody}/")).await, outcome("refused", None));
    assert_eq!(outcome_at(&format!("http://{hangs_up}/")).await, outcome("reset", None));
    assert_eq!(outcome_at(&format!("http://{half}/")).await, outcome("reset", Some(200)));
    assert_eq!(outcome_at(&format!("http://{no_http}/")).await, outcome("protocol", None));
    assert_eq!(outcome_at(&format!("https://{no_http}/")).await, outcome("tls", None));
    assert_eq!(outcome_at(&angry.url).await, outcome("status", Some(410)));
    assert_eq!(outcome_at("https://no-such-host.invalid/").await, outcome("dns", None));
    assert_eq!(outcome_at("https://169.254.169.254/latest/meta-data").await, outcome("guard", None));
    assert_eq!(outcome_at("no url").await, outcome("guard", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_leave_of_the_operator_this_machine_is_not_even_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let setting = Setting::with_endpoint(&url).await;
    setting.owe("bot", "1").await;
    let client = Client::new(Guard::default());
    let mut dispatcher = Dispatcher::new(setting.database.clone(), setting.master.clone(), Settings::default(), client);

    dispatch_all(&mut dispatcher).await;

    assert_eq!(setting.attempts().await, [outcome("guard", None)]);
    assert!(timeout(Duration::ZERO, listener.accept()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_secrets_do_not_open_is_sent_nothing_unsigned() {
    for secrets in ["'{}'", r"'{\\x00}'"] {
        let customer = Customer::content().await;
        let setting = Setting::with_endpoint(&customer.url).await;
        setting.execute(&format!("UPDATE endpoints SET secrets = {secrets}")).await;
        setting.owe("bot", "1").await;

        dispatch_all(&mut setting.dispatcher()).await;

        assert_eq!(setting.attempts().await, [outcome("secret", None)]);
        assert!(customer.received().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_kilobyte_of_an_answer_is_kept() {
    let (address, _server) = raw(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 500 Oh\r\ncontent-length: 3000\r\n\r\n").await;
        let _ = stream.write_all(&[b'\0'; 3000]).await;
    })
    .await;
    let setting = Setting::with_endpoint(&format!("http://{address}/")).await;
    setting.owe("bot", "1").await;

    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(setting.number("SELECT octet_length(response_head)::bigint FROM attempts").await, 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_a_customer_closes_after_each_answer_costs_no_delivery() {
    let (address, _server) = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let setting = Setting::with_endpoint(&format!("http://{address}/")).await;
    let mut dispatcher = setting.dispatcher();

    for key in ["1", "2", "3"] {
        setting.owe("bot", key).await;
        dispatch_all(&mut dispatcher).await;
    }

    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered'").await, 3);
}
