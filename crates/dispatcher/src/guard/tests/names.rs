//! Names, asked of a DNS server that changes its mind.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::task::AbortOnDropHandle;

use super::{dns::Dns, *};
use crate::{
    client::{
        self, Client,
        tests::{Authority, identity},
    },
    outcome::Outcome,
};

const PUBLIC: &str = "93.184.216.34";

fn guard(dns: &Dns, allowed: &str) -> Guard {
    Guard { resolver: dns.resolver(), ..Guard::new(allowed.parse().unwrap()) }
}

/// Whether a guard that allows nothing private lets `https://shop.example/` be saved.
async fn refusal(dns: &Dns) -> Option<Refusal> {
    guard(dns, "").check_url("https://shop.example/").await.err().map(|refused| refused.0)
}

async fn send(client: &Client, url: &str) -> Outcome {
    client::tests::send(client, url).await.outcome
}

#[tokio::test]
async fn a_name_is_as_good_as_the_worst_of_its_addresses() {
    let dns = Dns::start().await;
    let bad: [&[&str]; 18] = [
        &["10.0.0.1"],
        &["127.0.0.1"],
        &["169.254.169.254"],
        &[PUBLIC, "192.168.0.1"],
        &["192.168.0.1", PUBLIC],
        &[PUBLIC, "::1"],
        &[PUBLIC, "2606:2800:220:1::1", "fd00:ec2::254"],
        &["::ffff:10.0.0.1"],
        &["64:ff9b::a9fe:a9fe"],
        &["0.0.0.0"],
        &["::"],
        &["169.254.170.2"],
        &["100.100.100.200"],
        &["168.63.129.16"],
        &["224.0.0.1"],
        &["2002:7f00:1::"],
        &["64:ff9b:1::a00:1"],
        &[PUBLIC, "2001:0:7f00:1::"],
    ];

    for addresses in bad {
        dns.say("shop.example", addresses);
        let refusal = refusal(&dns).await;
        assert!(matches!(refusal, Some(Refusal::Address { .. })), "{addresses:?}: {refusal:?}");
    }

    dns.say("shop.example", &[PUBLIC, "2606:2800:220:1::1"]);
    assert!(refusal(&dns).await.is_none());
}

/// Anybody can have such names: who serves them answers with the address that the name spells.
#[tokio::test]
async fn a_public_name_that_spells_a_private_address_is_judged_by_the_address() {
    let dns = Dns::start().await;
    for (name, address) in [
        ("127.0.0.1.nip.example", "127.0.0.1"),
        ("a9fea9fe.nip.example", "169.254.169.254"),
        ("7f000001.rbndr.example", "127.0.0.1"),
    ] {
        dns.say(name, &[address]);
        for url in [format!("https://{name}/"), format!("http://{name}/"), format!("https://{name}./")] {
            let refused = guard(&dns, "").check_url(&url).await.unwrap_err().0;
            assert!(matches!(refused, Refusal::Address { .. }), "{url}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_name_of_which_one_address_is_granted_is_as_good_as_its_others() {
    let dns = Dns::start().await;
    let granting = guard(&dns, "").granting("10.0.0.0/8,169.254.0.0/15".parse().unwrap());
    let ways: [(&[&str], bool); 5] = [
        (&["10.0.0.1"], true),
        (&["10.0.0.1", PUBLIC], true),
        (&["10.0.0.1", "192.168.0.1"], false),
        (&["10.0.0.1", "169.254.169.254"], false),
        (&["10.0.0.1", "::1"], false),
    ];

    for (addresses, is_let_through) in ways {
        dns.say("shop.example", addresses);
        let checked = granting.check_url("https://shop.example/").await;
        assert_eq!(checked.is_ok(), is_let_through, "{addresses:?}");
    }
    dns.say("shop.example", &["10.0.0.1", PUBLIC]);
    assert!(granting.check_url("http://shop.example/").await.is_err(), "the public one is not reached by plain http");
}

#[tokio::test]
async fn an_alias_is_judged_by_where_it_ends() {
    let dns = Dns::start().await;
    dns.say("cdn.example", &[PUBLIC]);
    dns.say("redis.internal", &["10.1.2.3"]);
    dns.alias("hop.example", "redis.internal.");

    for (target, is_refused) in [("cdn.example.", false), ("redis.internal.", true), ("hop.example.", true)] {
        dns.alias("shop.example", target);
        let refusal = refusal(&dns).await;
        assert_eq!(matches!(refusal, Some(Refusal::Address { .. })), is_refused, "{target}: {refusal:?}");
    }

    dns.alias("shop.example", "nowhere.example.");
    assert!(matches!(refusal(&dns).await, Some(Refusal::Unresolved(_))));
}

#[tokio::test]
async fn a_name_that_was_public_when_saved_and_is_private_when_sent_to_is_refused_there() {
    let (dns, private) = (Dns::start().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("https://shop.example:{}/", private.local_addr().unwrap().port());
    let guard = guard(&dns, "");
    let client = Client::new(guard.clone());
    dns.say("shop.example", &[PUBLIC]);
    guard.check_url(&url).await.unwrap();

    dns.say("shop.example", &["127.0.0.1"]);

    assert_eq!(send(&client, &url).await, Outcome::Failed(Cause::Guard));
    dns.say("shop.example", &[PUBLIC, "127.0.0.1"]);
    assert_eq!(send(&client, &url).await, Outcome::Failed(Cause::Guard));
    assert!(tokio::time::timeout(Duration::ZERO, private.accept()).await.is_err());
}

/// Some endpoints have a client of their own. Behind each stands the same guard.
#[tokio::test]
async fn a_name_that_has_become_private_is_refused_to_an_endpoint_that_shows_a_certificate_or_is_granted_ranges_too() {
    let (dns, private) = (Dns::start().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("https://shop.example:{}/", private.local_addr().unwrap().port());
    let of_all = Client::new(guard(&dns, ""));
    let granted = of_all.granting("10.0.0.0/8".parse().unwrap());
    let shows = |client: &Client| client.showing(identity(Authority::new().client_certificate()));
    dns.say("shop.example", &["127.0.0.1"]);

    for (which, client) in [("shows", shows(&of_all)), ("granted", granted.clone()), ("both", shows(&granted))] {
        assert_eq!(send(&client, &url).await, Outcome::Failed(Cause::Guard), "{which}");
    }

    assert_eq!(dns.asked(), 3, "and nobody else was asked for the name");
    assert!(tokio::time::timeout(Duration::ZERO, private.accept()).await.is_err());
}

#[tokio::test]
async fn the_address_that_is_dialled_is_the_one_that_was_checked() {
    let (dns, allowed) = (Dns::start().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let uri: Uri = format!("http://shop.example:{}/", allowed.local_addr().unwrap().port()).parse().unwrap();
    dns.say("shop.example", &["127.0.0.1"]);

    let stream = guard(&dns, "127.0.0.1").connect(&uri, Asker::default(), &mut Split::default()).await.unwrap();

    assert_eq!(stream.peer_addr().unwrap(), allowed.local_addr().unwrap());
    assert_eq!(dns.asked(), 1, "whoever asks again may hear another answer");
}

#[tokio::test]
async fn a_connection_that_is_never_idle_is_made_anew_and_checked_anew_once_it_is_a_minute_old() {
    let (dns, server) = (Dns::start().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("http://shop.example:{}/", server.local_addr().unwrap().port());
    let client = Client::new(guard(&dns, "127.0.0.1"));
    let _answering = AbortOnDropHandle::new(tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.unwrap();
        while stream.read(&mut [0; 4096]).await.unwrap() > 0 {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    }));
    dns.say("shop.example", &["127.0.0.1"]);
    assert_eq!(send(&client, &url).await, Outcome::Delivered);
    dns.say("shop.example", &["127.0.0.2"]);

    client.0.age(Duration::from_secs(59));
    let before = send(&client, &url).await;
    client.0.age(Duration::from_secs(1));
    let after = send(&client, &url).await;

    assert_eq!((before, after), (Outcome::Delivered, Outcome::Failed(Cause::Guard)));
}

#[tokio::test]
async fn a_kept_connection_stays_where_it_was_checked_and_the_next_one_is_checked_anew() {
    let (dns, server) = (Dns::start().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("http://shop.example:{}/", server.local_addr().unwrap().port());
    let client = Client::new(guard(&dns, "127.0.0.1"));
    let answering_twice = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.unwrap();
        for _ in 0..2 {
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    dns.say("shop.example", &["127.0.0.1"]);
    assert_eq!(send(&client, &url).await, Outcome::Delivered);

    dns.say("shop.example", &["127.0.0.2"]);

    assert_eq!(send(&client, &url).await, Outcome::Delivered);
    answering_twice.await.unwrap();
    assert_eq!(send(&client, &url).await, Outcome::Failed(Cause::Guard));
}
