//! What an account is granted: private networks that its endpoints may be in. The operator's to type.

use std::net::SocketAddr;

use serde_json::json;
use tests::own_address;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::task::AbortOnDropHandle;

use super::stores;

const PRIVATE: &str = "--url http://10.20.30.40:80/hook --events *";

/// A customer who takes everything, one request a connection, at an address of this machine that is not loopback.
async fn customer() -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind((own_address(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}}") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    };
    (address, AbortOnDropHandle::new(tokio::spawn(serving)))
}

async fn log(database: &tests::TestDatabase) -> Vec<(String, String, String)> {
    let (sql, connection) = tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = sql.query("SELECT action, target, detail FROM audit_log ORDER BY id", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_shown_as_they_hold_and_stay_until_they_are_given_anew_or_taken_back() {
    let (database, _redis, latchhook) = stores().await;

    let added = latchhook.json("account add --id acme --allow-private 10.20.30.40/16,fd12::/32").await;
    let renamed = latchhook.json("account add --id acme --name Acme").await;
    let again = latchhook.json("account add --id acme").await;
    let listed = latchhook.json("account list").await;
    let changed = latchhook.json("account set acme --allow-private 192.168.1.7").await;
    let taken_back = latchhook.json("account set acme --no-allow-private").await;

    assert_eq!(added["allowed_private"], json!(["10.20.0.0/16", "fd12::/32"]));
    assert_eq!((&renamed["name"], &renamed["allowed_private"]), (&json!("Acme"), &added["allowed_private"]));
    assert_eq!(again, renamed);
    assert_eq!(listed[0]["allowed_private"], added["allowed_private"]);
    assert_eq!(changed["allowed_private"], json!(["192.168.1.7/32"]));
    assert_eq!(taken_back["allowed_private"], json!([]));
    assert_eq!(latchhook.json("account show acme").await, taken_back);
    let deed = |action: &str, ranges: &str| (action.to_owned(), "acme".to_owned(), format!("allow private: {ranges}"));
    let deeds = [
        deed("account add", "10.20.0.0/16,fd12::/32"),
        deed("account set", "192.168.1.7/32"),
        deed("account set", "none"),
    ];
    assert_eq!(log(&database).await, deeds);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_given_to_no_account_is_refused_in_a_line_that_says_why_and_leaves_nothing() {
    let (database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;

    let refusals = [
        ("account set acme --allow-private 127.0.0.0/8", "127.0.0.0/8 can be given to no account: it is loopback"),
        (
            "account set acme --allow-private 10.0.0.0/8,169.254.169.254",
            "169.254.169.254/32 can be given to no account",
        ),
        ("account set acme --allow-private 100.100.100.200", "it is a cloud's metadata"),
        ("account set acme --allow-private 10.0.0.0/33", "\"10.0.0.0/33\" is no range of addresses"),
        ("account set acme --allow-private shop.example", "\"shop.example\" is no range of addresses"),
        ("account set acme --allow-private ''", "there is no range in it"),
        ("account set acme --allow-private 10.0.0.0/8 --no-allow-private", "cannot be used with"),
        ("account set acme", "--allow-private"),
        ("account set nobody --allow-private 10.0.0.0/8", "there is no account nobody: latchhook account list names"),
        ("account show nobody", "there is no account nobody: latchhook account list names"),
        ("account add --id new --allow-private ::1", "::1/128 can be given to no account: it is loopback"),
    ];

    for (line, what) in refusals {
        let failure = latchhook.fails(line).await;
        assert!(failure.starts_with("latchhook: ") && failure.contains(what), "{failure}");
    }
    let accounts = latchhook.json("account list").await;
    assert_eq!((accounts.as_array().unwrap().len(), &accounts[0]["allowed_private"]), (1, &json!([])));
    assert_eq!(log(&database).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_saved_where_its_own_account_may_be_and_nowhere_else() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme --allow-private 10.20.0.0/16,0.0.0.0/0").await;
    latchhook.json("account add --id other --allow-private 10.21.0.0/16").await;

    latchhook.json(&format!("endpoint add --account acme --id ours {PRIVATE}")).await;
    let theirs = latchhook.fails(&format!("endpoint add --account other --id theirs {PRIVATE}")).await;
    let metadata = "endpoint add --account acme --id meta --url http://169.254.169.254/latest --events *";
    let metadata = latchhook.fails(metadata).await;

    for (refused, address) in [(theirs, "10.20.30.40"), (metadata, "169.254.169.254")] {
        let why = format!("{address} is not public");
        assert!(refused.contains(&why) && refused.contains("its account's ranges"), "{refused}");
    }
    assert_eq!(latchhook.json("endpoint list").await.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_goes_where_the_endpoints_account_may_be_as_long_as_it_may() {
    let (_database, _redis, latchhook) = stores().await;
    let (address, _customer) = customer().await;
    latchhook.json(&format!("account add --id acme --allow-private {}", own_address())).await;
    latchhook.json(&format!("endpoint add --account acme --id bot --url http://{address}/ --events *")).await;

    let granted = latchhook.json("endpoint ping bot").await;
    latchhook.json("account set acme --no-allow-private").await;
    let taken_back = latchhook.run("endpoint ping bot --json").await;

    assert_eq!(granted["outcome"], "delivered");
    let refused = taken_back.ended.unwrap_err().to_string();
    assert!(refused.starts_with("latchhook: nothing was sent to bot: guard: "), "{refused}");
}

/// The operator's own variable is for all accounts, and may name what no account can be given.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_allows_to_all_holds_beside_an_accounts_own_ranges() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme --allow-private 10.20.0.0/16").await;

    for url in ["http://127.0.0.1:9000/hook", "http://10.20.30.40/hook", "https://93.184.216.34/hook"] {
        latchhook.json(&format!("endpoint add --account acme --id bot --url {url} --events *")).await;
        assert_eq!(latchhook.json("endpoint show bot").await["url"], url);
    }
}
