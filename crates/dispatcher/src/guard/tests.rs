//! Ways into our own network, and what the guard says to each.

mod dns;
mod names;
mod silent;

use super::*;

async fn refusal(url: &str) -> Option<Refusal> {
    Guard::default().check_url(url).await.err().map(|refused| refused.0)
}

#[tokio::test]
async fn no_way_of_writing_a_private_address_gets_past_the_guard() {
    let disguises = [
        // As the C library reads it: fewer parts, octal, hexadecimal, one number.
        "https://127.0.0.1/",
        "https://127.1/",
        "https://127.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://0X7F.0.0.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://0/",
        "https://00/",
        "https://0x/",
        "https://3232235521/",
        "https://0xa9fea9fe/",
        "https://169.254.43518/",
        // With a dot behind it, full-width, with the dots of other scripts, percent-encoded, circled.
        "https://127.0.0.1./",
        "https://127.1./",
        "https://１２７.0.0.1/",
        "https://127。0。0。1/",
        "https://127．0．0．1/",
        "https://127｡0｡0｡1/",
        "https://%31%32%37.0.0.1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://1\u{ad}27.0.0.1/",
        // IPv6, and IPv4 in IPv6.
        "https://[::1]/",
        "https://[::]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[::ffff:0:127.0.0.1]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[64:ff9b:1::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[2001:0:7f00:1::]/",
        "https://[::1]:443/",
        "https://[fd00:ec2::254]/",
        "https://[fd20:ce::254]/",
        "https://[fe80::1]/",
        "https://[fec0::1]/",
        "https://[ff02::1]/",
        // What clouds tell anybody who asks from within.
        "https://169.254.169.254/latest/meta-data",
        "https://169.254.170.2/",
        "https://169.254.42.42/",
        "https://[::ffff:169.254.169.254]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://100.100.100.200/",
        "https://168.63.129.16/",
        "https://192.0.0.192/",
        // Networks of one's own.
        "https://10.0.0.1:8443/",
        "https://192.168.1.1/",
        "https://172.31.0.1/",
        "https://0.0.0.0:8080/",
        "https://255.255.255.255/",
        "https://224.0.0.1/",
        // Behind what looks like another host.
        "https:127.0.0.1",
        "https:/127.0.0.1/",
        "https://127.0.0.1#@example.com/",
        "https://127.0.0.1?@example.com/",
        " https://127.0.0.1/ ",
        "https://①②⑦。⓪｡⓪．①。:8443/",
    ];

    for url in disguises.into_iter().flat_map(|url| [url.to_owned(), url.replacen("https:", "http:", 1)]) {
        let refusal = refusal(&url).await;

        assert!(matches!(refusal, Some(Refusal::Address { .. })), "{url}: {refusal:?}");
    }
}

#[tokio::test]
async fn names_of_this_machine_are_refused_whether_they_resolve_or_not() {
    let names = [
        "localhost/",
        "localhost./",
        "LOCALHOST:8443/",
        "localhost。/",
        "ｌｏｃａｌｈｏｓｔ/",
        "loc\u{ad}alhost/",
        "%6cocalhost/",
    ];

    for name in names {
        for scheme in ["https", "http"] {
            let url = format!("{scheme}://{name}");
            assert_eq!(parse(&url).unwrap().host().unwrap().trim_end_matches('.'), "localhost", "{url}");
            assert!(matches!(refusal(&url).await, Some(Refusal::Address { .. } | Refusal::Unresolved(_))), "{url}");
        }
    }
}

#[tokio::test]
async fn what_is_no_plain_https_url_is_refused_by_its_own_reason() {
    assert!(matches!(refusal("http://93.184.216.34/").await, Some(Refusal::Plain(_))));
    assert!(matches!(refusal("ftp://93.184.216.34/").await, Some(Refusal::Scheme(_))));
    assert!(matches!(refusal("file:///etc/passwd").await, Some(Refusal::Scheme(_))));
    assert!(matches!(refusal("https://user@93.184.216.34/").await, Some(Refusal::UserInfo)));
    assert!(matches!(refusal("https://:secret@93.184.216.34/").await, Some(Refusal::UserInfo)));
    assert!(matches!(refusal("https://93.184.216.34:22/").await, Some(Refusal::Port(22))));
    for port in [0, 1, 25, 80, 442, 444, 1023] {
        let refusal = refusal(&format!("https://93.184.216.34:{port}/")).await;
        assert!(matches!(refusal, Some(Refusal::Port(refused)) if refused == port), "{port}: {refusal:?}");
    }
    assert!(matches!(refusal("https://no-such-host.invalid/").await, Some(Refusal::Unresolved(_))));
    for unreadable in [
        "",
        "example.com",
        "https://",
        "https://exa mple.com/",
        "https://999.999.999.999/",
        "https://[::1/",
        "https://[fe80::1%25lo]/",
        "https://127.0.0.0x100/",
        "https://1.2.3.4.5/",
        "https://%00/",
    ] {
        assert!(matches!(refusal(unreadable).await, Some(Refusal::Url(_))), "{unreadable}");
    }
}

#[tokio::test]
async fn public_addresses_are_let_through() {
    for url in ["https://93.184.216.34/", "https://93.184.216.34:8443/a?b=c", "https://[2606:2800:220:1::1]:9000/"] {
        assert!(refusal(url).await.is_none(), "{url}");
    }
}

#[tokio::test]
async fn a_url_that_a_browser_reads_otherwise_than_it_looks_is_refused_wherever_it_leads() {
    let hosts = ["127.0.0.1", "93.184.216.34"];
    let disguised =
        |host| [format!("https://{host}\\@shop.example/"), format!("https:\\\\{host}\\"), format!("https://{host}\t/")];
    let with_users = |host| {
        let ways =
            ["https://@", "https://:@", "https:@", "https:/@", "https:////@", "HTTPS://@", " https://@", "https://@@"];
        ways.map(|way| format!("{way}{host}/"))
    };

    for host in hosts {
        for url in disguised(host) {
            assert!(matches!(refusal(&url).await, Some(Refusal::Disguised)), "{url}");
        }
        for url in with_users(host) {
            assert!(matches!(refusal(&url).await, Some(Refusal::UserInfo)), "{url}");
        }
    }
    for url in ["https://93.184.216.34/@you?to=a@b#@", "https://93.184.216.34?@", "https://93.184.216.34#@"] {
        assert!(refusal(url).await.is_none(), "{url}");
    }
}

#[tokio::test]
async fn what_the_operator_allows_may_be_plain_and_on_any_port() {
    let guard = Guard::new("127.0.0.0/8".parse().unwrap());

    assert!(guard.check_url("http://127.0.0.1:80/").await.is_ok());
    assert!(guard.check_url("https://127.1:25/").await.is_ok());
    assert!(guard.check_url("http://10.0.0.1/").await.is_err());
    assert!(guard.check_url("http://user@127.0.0.1/").await.is_err());
}

#[tokio::test]
async fn what_an_account_is_granted_may_be_plain_and_on_any_port_beside_what_the_operator_allows_to_all() {
    let guard = Guard::new("127.0.0.0/8".parse().unwrap());
    let granting = guard.granting("10.20.0.0/16,fd12::/32".parse().unwrap());

    for url in ["http://10.20.0.1:80/", "https://10.20.255.254:25/", "http://[fd12::1]:22/", "http://10.1310721:81/"] {
        assert!(granting.check_url(url).await.is_ok(), "{url}");
        assert!(guard.check_url(url).await.is_err(), "{url} is nobody else's");
    }
    assert!(granting.check_url("http://127.0.0.1:80/").await.is_ok(), "that is all's");
    for url in ["http://10.21.0.1/", "http://93.184.216.34/", "https://93.184.216.34:25/", "http://user@10.20.0.1/"] {
        assert!(granting.check_url(url).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn no_grant_opens_this_machine_or_what_a_cloud_tells_however_it_is_written() {
    let guard = Guard::default().granting("0.0.0.0/0,::/0".parse().unwrap());

    for url in [
        "http://127.1/",
        "http://2130706433/",
        "http://0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://169.254.169.254/",
        "http://0xa9fea9fe/",
        "http://169.254.170.2/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
        "http://[fe80::a9fe:a9fe]/",
        "http://224.0.0.1/",
    ] {
        let refused = guard.check_url(url).await.unwrap_err().0;
        assert!(matches!(refused, Refusal::Address { .. }), "{url}: {refused:?}");
    }
    assert!(guard.check_url("http://192.168.0.1/").await.is_ok());
}

#[tokio::test]
async fn the_tenant_reads_the_same_words_whatever_the_reason() {
    let guard = Guard::default();

    let private = guard.check_url("https://10.0.0.1/").await.unwrap_err();
    let unknown = guard.check_url("https://no-such-host.invalid/").await.unwrap_err();

    assert_eq!(private.to_string(), unknown.to_string());
    assert_ne!(private.detail().to_string(), unknown.detail().to_string());
    assert!(std::error::Error::source(&private).is_none());
}

#[tokio::test]
async fn the_connector_itself_refuses_an_address_that_no_check_has_seen_before() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();

    let connect = async |guard: Guard| guard.connect(&uri, Asker::default(), &mut Split::default()).await;
    let refused = connect(Guard::default()).await;
    let allowed = connect(Guard::new("127.0.0.1".parse().unwrap())).await;

    assert!(matches!(refused, Err(Refusal::Address { .. })));
    assert!(allowed.is_ok());
}
