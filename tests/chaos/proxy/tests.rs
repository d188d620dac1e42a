use std::{
    io::ErrorKind,
    sync::OnceLock,
    time::{Duration, Instant},
};

use ::tests::private_redis;
use database::Database;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use latchhook::servers::{Durability, PostgresServer, ScratchDir};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_postgres::{Client, NoTls};
use url::Url;

use super::*;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Postgres of this process's own, with an empty table of numbers.
fn postgres() -> PathBuf {
    static SERVER: OnceLock<(PostgresServer, ScratchDir)> = OnceLock::new();
    let (server, _) = SERVER.get_or_init(|| {
        let dir = ScratchDir::new().unwrap();
        (PostgresServer::start(&dir.path().join("postgres"), Durability::Fast).unwrap(), dir)
    });
    let url = Url::parse(&server.url("postgres")).unwrap();
    PathBuf::from(url.host_str().unwrap().replace("%2F", "/").replace("%2f", "/")).join(".s.PGSQL.5432")
}

async fn before_postgres() -> (Proxy, Client) {
    let target = tokio::task::spawn_blocking(postgres).await.unwrap();
    let proxy = Proxy::start(target).await.unwrap();
    let client = connect(&proxy).await.unwrap();
    client.batch_execute("CREATE TABLE IF NOT EXISTS numbers (number int)").await.unwrap();
    (proxy, client)
}

fn url(proxy: &Proxy) -> String {
    format!("postgresql://latchhook@{}/postgres", proxy.address())
}

/// Asks for encryption first, as clients do that are not told otherwise.
async fn connect(proxy: &Proxy) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = timeout(PATIENCE, tokio_postgres::connect(&url(proxy), NoTls)).await.unwrap()?;
    tokio::spawn(connection);
    Ok(client)
}

/// Inserts a number in a transaction; whether COMMIT was answered.
async fn insert(client: &mut Client, number: i32) -> bool {
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO numbers VALUES ($1)", &[&number]).await.unwrap();
    timeout(PATIENCE, transaction.commit()).await.unwrap().is_ok()
}

async fn is_there(proxy: &Proxy, number: i32) -> bool {
    let client = connect(proxy).await.unwrap();
    client.query("SELECT FROM numbers WHERE number = $1", &[&number]).await.unwrap().len() == 1
}

async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, holds).await.expect("the condition comes true in time");
}

#[tokio::test]
async fn what_is_said_through_the_proxy_is_said_to_the_server() {
    let (proxy, mut client) = before_postgres().await;

    assert!(insert(&mut client, 1).await);

    assert!(is_there(&proxy, 1).await);
    assert_eq!((proxy.admitted(), proxy.commits_cut()), (2, 0));
    drop(client);
    until(|| proxy.connections() == 0).await;
}

#[tokio::test]
async fn a_commit_that_is_cut_before_the_server_is_rolled_back() {
    let (proxy, mut client) = before_postgres().await;
    proxy.cut_commits(1, CommitCut::BeforeServer);

    let answered = insert(&mut client, 2).await;

    assert!(!answered && client.is_closed());
    assert_eq!(proxy.commits_cut(), 1);
    assert!(!is_there(&proxy, 2).await);
    assert!(insert(&mut connect(&proxy).await.unwrap(), 2).await, "only one was ordered");
}

#[tokio::test]
async fn a_commit_that_is_cut_after_the_server_is_committed_and_nobody_is_told() {
    let (proxy, mut client) = before_postgres().await;
    proxy.cut_commits(1, CommitCut::AfterServer);

    let answered = insert(&mut client, 3).await;

    assert!(!answered && client.is_closed());
    assert_eq!(proxy.commits_cut(), 1);
    assert!(is_there(&proxy, 3).await);
    assert!(insert(&mut connect(&proxy).await.unwrap(), 4).await, "only one was ordered");
}

#[tokio::test]
async fn what_was_rolled_back_is_not_taken_for_a_commit() {
    let (proxy, mut client) = before_postgres().await;
    proxy.cut_commits(1, CommitCut::AfterServer);

    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("SELECT 1 / 0").await.unwrap_err();
    let answered = transaction.commit().await;

    assert!(answered.is_ok(), "Postgres answers ROLLBACK to it, which the client does not look at");
    assert_eq!(proxy.commits_cut(), 0);
    assert!(!insert(&mut client, 5).await, "the next one is a COMMIT");
}

#[tokio::test]
async fn the_commits_of_a_stage_are_cut_on_either_side() {
    let (proxy, _client) = before_postgres().await;
    let database = Database::for_stages(&format!("{}?sslmode=disable", url(&proxy)), 1).unwrap();

    for (number, when) in [(6, CommitCut::BeforeServer), (7, CommitCut::AfterServer)] {
        proxy.cut_commits(1, when);
        let mut connection = database.connection().await.unwrap();
        let insert = format!("INSERT INTO numbers VALUES ({number})");
        let committed = connection
            .transaction(async |conn| conn.batch_execute(&insert).await)
            .await
            .map_err(|error| database::trouble(&error));
        assert_eq!(committed, Err(database::Trouble::Outage));
    }

    assert_eq!(proxy.commits_cut(), 2);
    assert_eq!((is_there(&proxy, 6).await, is_there(&proxy, 7).await), (false, true));
}

#[tokio::test]
async fn a_cut_resets_every_connection_and_new_ones_are_welcome() {
    let (proxy, client) = before_postgres().await;
    let mut raw = TcpStream::connect(proxy.address()).await.unwrap();
    until(|| proxy.connections() == 2).await;

    assert_eq!(proxy.cut(), 2);

    let ended = timeout(PATIENCE, raw.read(&mut [0; 1])).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(client.simple_query("SELECT 1").await.is_err());
    assert!(connect(&proxy).await.is_ok());
}

#[tokio::test]
async fn who_comes_in_refusing_weather_is_sent_away_and_who_is_there_is_reset() {
    let (proxy, client) = before_postgres().await;

    proxy.set(Weather::Refusing);

    assert!(client.simple_query("SELECT 1").await.is_err());
    assert!(connect(&proxy).await.is_err());
    assert_eq!(proxy.connections(), 0);
    proxy.set(Weather::Fair);
    assert!(connect(&proxy).await.is_ok());
}

#[tokio::test]
async fn nothing_passes_in_a_black_hole_and_everything_after_it() {
    let (proxy, mut client) = before_postgres().await;
    proxy.set(Weather::BlackHole);

    let mut waiting = tokio::spawn(async move { insert(&mut client, 8).await });
    let _newcomer = TcpStream::connect(proxy.address()).await.unwrap();
    until(|| proxy.connections() == 2).await;

    timeout(Duration::from_millis(200), &mut waiting).await.expect_err("no answer comes through");
    assert_eq!(proxy.connections(), 2);
    proxy.set(Weather::Fair);
    assert!(timeout(PATIENCE, waiting).await.unwrap().unwrap(), "it goes on as if nothing had been");
}

#[tokio::test]
async fn a_slow_network_delays_each_way_and_does_not_make_the_pipelined_wait_for_each_other() {
    let redis = tokio::task::spawn_blocking(private_redis).await.unwrap();
    let (_, socket) = redis.url().split_once("redis+unix://").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let proxy = Proxy::start(socket.into()).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(b"PING\r\n").await.unwrap();
    client.read_exact(&mut [0; 7]).await.unwrap();
    let delay = Duration::from_millis(150);

    proxy.set(Weather::Slow(delay));
    let begun = Instant::now();
    let mut answers = vec![0; 20 * 8];
    for number in 10..30 {
        client.write_all(format!("ECHO {number}\r\n").as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    timeout(PATIENCE, client.read_exact(&mut answers)).await.unwrap().unwrap();

    let expected: String = (10..30).map(|number| format!("$2\r\n{number}\r\n")).collect();
    assert_eq!(String::from_utf8(answers).unwrap(), expected);
    let took = begun.elapsed();
    assert!(took >= 2 * delay, "there and back: {took:?}");
    assert!(took < 10 * delay, "twenty that waited for each other would take forty delays: {took:?}");
}

#[tokio::test]
async fn a_dropped_proxy_ends_its_connections() {
    let (proxy, client) = before_postgres().await;

    drop(proxy);

    until(|| client.is_closed()).await;
}
