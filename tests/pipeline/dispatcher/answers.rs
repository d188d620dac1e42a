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
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use crate::{
    customer::{Customer, raw, saying},
    setting::{Setting, dispatch_all},
    ways::{BY_HTTP, BY_HTTPS, Does, Way, receiver},
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
async fn an_answer_of_ten_megabytes_is_not_read_to_its_end() {
    const LEN: usize = 10 * 1024 * 1024;
    let written = Arc::new(AtomicUsize::new(0));
    let counted = written.clone();
    let (address, _server) = raw(move |mut stream| {
        let counted = counted.clone();
        async move {
            // How long it is going to be is not said.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while counted.load(Ordering::SeqCst) < LEN && stream.write_all(&[b'.'; 4096]).await.is_ok() {
                counted.fetch_add(4096, Ordering::SeqCst);
            }
        }
    })
    .await;

    assert_eq!(outcome_at(&format!("http://{address}/")).await, outcome("too_large", Some(200)));
    assert!(written.load(Ordering::SeqCst) < LEN);
}

/// What comes back from a customer who says this.
async fn outcome_of(words: Vec<u8>) -> (String, Option<i16>) {
    let words: Arc<[u8]> = words.into();
    let (address, _server) = raw(move |mut stream| {
        let words = words.clone();
        async move {
            let _ = stream.write_all(&words).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    let setting = Setting::with_endpoint(&format!("http://{address}/")).await;
    setting.owe("bot", "1").await;
    dispatch_all(&mut setting.dispatcher()).await;
    setting.attempts().await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_answers_are_taken_and_what_is_a_little_larger_is_too_large() {
    let body =
        |len: usize| [format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n").into(), vec![b'.'; len]].concat();
    let head = |count: usize, len: usize| {
        let header = format!("x: {}\r\n", ".".repeat(len));
        format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", header.repeat(count)).into_bytes()
    };
    let (taken, too_large) = (outcome("delivered", Some(200)), |status| outcome("too_large", status));

    let ways = [
        ("64 KiB of body", body(65_536), taken.clone()),
        ("a byte more", body(65_537), too_large(Some(200))),
        ("100 headers", head(99, 1), taken.clone()),
        ("one more", head(100, 1), too_large(None)),
        ("a header of 30 KiB", head(1, 30 << 10), taken),
        ("one of 70 KiB", head(1, 70 << 10), too_large(None)),
    ];

    for (what, words, expected) in ways {
        assert_eq!(outcome_of(words).await, expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_as_too_long_is_not_waited_for_but_for_a_moment_the_first_bytes_of_a_refusal() {
    let answer = |status: &str, begins: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: 99999999999\r\n\r\n{begins}").into_bytes()
    };
    let started = Instant::now();

    let success = outcome_of(answer("200 OK", "")).await;
    let refusal = outcome_of(answer("500 No", "because")).await;
    let silent = outcome_of(answer("503 No", "")).await;

    let status = |status| outcome("status", Some(status));
    assert_eq!([success, refusal, silent], [outcome("too_large", Some(200)), status(500), status(503)]);
    assert!(started.elapsed() < Settings::default().deadline, "none was waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let private = Customer::content().await;
    let customer = Customer::answering_with(307, "location", &private.url).await;

    assert_eq!(outcome_at(&customer.url).await, outcome("redirect", Some(307)));
    assert!(private.received().is_empty());
}

/// All at once: nobody who misbehaves makes it worse for another.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_fail_has_a_cause_of_its_own() {
    let setting = Setting::new().await;
    let mut receivers = Vec::new();
    let mut expected = Vec::new();
    for (scheme, Way(name, does, label, status)) in ways() {
        let (address, server) = receiver(*does).await;
        receivers.push(server);
        expected.push((format!("{scheme} {name}"), format!("{scheme}://{address}/"), outcome(label, *status)));
    }
    for (url, label) in nowhere().await {
        expected.push((url.clone(), url, outcome(label, None)));
    }
    for (number, (_, url, _)) in expected.iter().enumerate() {
        setting.add_endpoint(&format!("way-{number:03}"), url).await;
        setting.owe(&format!("way-{number:03}"), "1").await;
    }
    let deadline = Duration::from_secs(2);
    let mut dispatcher = setting.dispatcher_with(Settings { deadline, ..Settings::default() });
    let started = Instant::now();

    let leased = dispatcher.dispatch_due().await.unwrap().leased;
    dispatcher.settled().await;

    assert_eq!(leased, expected.len());
    assert!(started.elapsed() < deadline * 3, "all of it took {:?}", started.elapsed());
    let rows = setting.rows("SELECT outcome, http_status, detail FROM attempts ORDER BY endpoint_id").await;
    let misjudged = expected.iter().zip(&rows).filter_map(|((name, _, expected), row)| {
        let (outcome, detail): (_, Option<String>) = ((row.get(0), row.get(1)), row.get(2));
        (outcome != *expected).then(|| format!("{name}: {outcome:?} instead of {expected:?}: {detail:?}"))
    });
    let misjudged: Vec<_> = misjudged.collect();
    assert!(misjudged.is_empty() && rows.len() == expected.len(), "{misjudged:#?}");
}

fn ways() -> impl Iterator<Item = (&'static str, &'static Way)> {
    BY_HTTP.iter().map(|way| ("http", way)).chain(BY_HTTPS.iter().map(|way| ("https", way)))
}

/// URLs that lead to no server, each with its cause.
async fn nowhere() -> Vec<(String, &'static str)> {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/", free.local_addr().unwrap());
    vec![
        (nobody, "refused"),
        // The broadcast address of the loopback network: no connection leads there, on any machine.
        ("http://127.255.255.255:9/".to_owned(), "unreachable"),
        ("https://no-such-host.invalid/".to_owned(), "dns"),
        ("https://169.254.169.254/latest/meta-data".to_owned(), "guard"),
        ("https://10.0.0.1:22/".to_owned(), "guard"),
        ("https://user:password@shop.example/".to_owned(), "guard"),
        ("ftp://shop.example/".to_owned(), "guard"),
        ("no url".to_owned(), "guard"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_an_answer_is_no_answer_to_the_next_request() {
    let rubbish: [&'static [u8]; 3] = [
        b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 38\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nhello, hello",
    ];

    for words in rubbish {
        let connections = Arc::new(AtomicUsize::new(0));
        let (address, _server) = raw(move |mut stream| {
            let is_first = connections.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                let words = if is_first { words } else { b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n" };
                let _ = stream.write_all(words).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        })
        .await;
        let setting = Setting::with_endpoint(&format!("http://{address}/")).await;
        let mut dispatcher = setting.dispatcher();

        for key in ["1", "2"] {
            setting.owe("bot", key).await;
            dispatch_all(&mut dispatcher).await;
        }

        let second = setting.attempts().await.remove(1);
        assert_eq!(second, outcome("status", Some(410)), "{}", String::from_utf8_lossy(words));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_is_not_unpacked() {
    // Behind each of these bytes a bomb has thousands.
    let bomb = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 10\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\xff";
    let (address, _server) = saying(bomb).await;
    let setting = Setting::with_endpoint(&format!("http://{address}/")).await;
    setting.owe("bot", "1").await;

    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(setting.attempts().await, [outcome("delivered", Some(200))]);
    let kept: Vec<u8> = setting.rows("SELECT response_head FROM attempts").await[0].get(0);
    assert_eq!(kept, b"\x1f\x8b\x08\0\0\0\0\0\0\xff");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_success_is_kept_with_what_helps_to_understand_it() {
    let customer = Customer::answering_with(302, "location", "https://shop.example/moved").await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;

    dispatch_all(&mut setting.dispatcher()).await;

    let detail: String = setting.rows("SELECT detail FROM attempts").await[0].get(0);
    assert_eq!(detail, "location: https://shop.example/moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_time_of_an_attempt_went_is_kept_with_it() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url.replace("127.0.0.1", "localhost")).await;
    let client = Client::new(Guard::new("127.0.0.0/8,::1".parse().unwrap()));
    let mut dispatcher = Dispatcher::new(setting.database.clone(), setting.master.clone(), Settings::default(), client);

    for key in ["1", "2"] {
        setting.owe("bot", key).await;
        dispatch_all(&mut dispatcher).await;
    }

    let new = "SELECT count(*) FROM attempts WHERE dns_us > 0 AND connect_us > 0 AND tls_us IS NULL AND first_byte_us > 0 \
               AND dns_us + connect_us + first_byte_us <= duration_us";
    let kept = "SELECT count(*) FROM attempts WHERE dns_us IS NULL AND connect_us IS NULL AND tls_us IS NULL \
                AND first_byte_us > 0";
    assert_eq!((setting.number(new).await, setting.number(kept).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_cut_off_says_where() {
    let (address, _server) = receiver(Does::Hangs(b"")).await;
    let setting = Setting::with_endpoint(&format!("https://{address}/")).await;
    setting.owe("bot", "1").await;

    dispatch_all(&mut setting.dispatcher_with(Settings { deadline: DEADLINE, ..Settings::default() })).await;

    let in_tls = "SELECT count(*) FROM attempts WHERE outcome = 'timeout' AND tls_us > 400000 AND connect_us IS NOT NULL \
                  AND first_byte_us IS NULL";
    assert_eq!(setting.number(in_tls).await, 1);
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
