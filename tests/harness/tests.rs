//! What the other tests rely on: private servers start, survive a crash, and end with their process.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

use std::{
    env,
    io::{BufRead, BufReader, Read},
    mem,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use latchhook::dev::{PrivateServers, exec, exit_code};
use latchhook::servers::{DataDir, Durability, PostgresServer, RedisServer, RedisSettings, ScratchDir, ServerError};
use tests::private_redis;

async fn rows_of(table: &str, url: &str) -> usize {
    let mut connection = AsyncPgConnection::establish(url).await.unwrap();
    diesel::sql_query(format!("SELECT FROM {table}")).execute(&mut connection).await.unwrap()
}

async fn ask<T: redis::FromRedisValue>(url: &str, command: &[&str]) -> T {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn what_redis_acknowledged_is_there_when_it_starts_again_after_a_kill() {
    let mut redis = private_redis();
    let () = ask(&redis.url(), &["SET", "key", "kept"]).await;
    let url = redis.url();

    redis.kill();
    redis.restart().unwrap();

    assert_eq!(redis.url(), url);
    assert_eq!(ask::<String>(&url, &["GET", "key"]).await, "kept");
}

#[tokio::test]
async fn what_postgres_committed_is_there_when_it_starts_again_after_a_kill() {
    let scratch = ScratchDir::new().unwrap();
    let mut postgres = PostgresServer::start(&scratch.path().join("postgres"), Durability::Fast).unwrap();
    let url = postgres.url("postgres");
    let mut connection = AsyncPgConnection::establish(&url).await.unwrap();
    connection.batch_execute("CREATE TABLE kept AS SELECT 1 AS number").await.unwrap();

    postgres.kill();
    postgres.restart().unwrap();

    assert_eq!(postgres.url("postgres"), url);
    assert_eq!(rows_of("kept", &url).await, 1);
}

#[tokio::test]
async fn a_postgres_that_was_stopped_in_order_starts_again_with_its_data() {
    let scratch = ScratchDir::new().unwrap();
    let dir = scratch.path().join("a long name, with spaces & signs #1 % ".repeat(5));
    let postgres = PostgresServer::start(&dir, Durability::Durable).unwrap();
    let mut connection = AsyncPgConnection::establish(&postgres.url("postgres")).await.unwrap();
    connection.batch_execute("CREATE TABLE kept AS SELECT 1 AS number").await.unwrap();

    postgres.stop();
    let postgres = PostgresServer::start(&dir, Durability::Durable).unwrap();

    assert_eq!(rows_of("kept", &postgres.url("postgres")).await, 1);
    assert!(UnixStream::connect(postgres.socket()).is_ok());
}

#[tokio::test]
async fn each_test_has_a_migrated_database_of_its_own() {
    let (one, other) = (tests::database().await, tests::database().await);

    let mut connection = AsyncPgConnection::establish(&one.url).await.unwrap();
    connection.batch_execute("INSERT INTO accounts (id, name) VALUES ('a', 'A')").await.unwrap();

    assert_eq!(rows_of("accounts", &one.url).await, 1);
    assert_eq!(rows_of("accounts", &other.url).await, 0);
}

#[tokio::test]
async fn a_database_is_gone_when_its_test_is_though_connections_are_left_open() {
    let database = tests::database().await;
    let url = database.url.clone();
    let _left_open = AsyncPgConnection::establish(&url).await.unwrap();

    drop(database);

    assert!(AsyncPgConnection::establish(&url).await.is_err());
}

#[tokio::test]
async fn two_tests_on_the_same_redis_have_different_prefixes() {
    let (one, other) = (tests::redis().await, tests::redis().await);

    let pong: String = ask(&one.url, &["PING"]).await;

    assert_eq!(pong, "PONG");
    assert_eq!(one.url, other.url);
    assert_ne!(one.prefix, other.prefix);
}

#[tokio::test]
async fn a_directory_whose_name_is_too_long_for_a_socket_is_as_good_as_any() {
    let scratch = ScratchDir::new().unwrap();
    let dir = scratch.path().join("a long name, with spaces & signs #1 ".repeat(5));

    let redis = RedisServer::start(&dir, &RedisSettings::durable()).unwrap();

    let pong: String = ask(&redis.url(), &["PING"]).await;
    assert_eq!(pong, "PONG");
    assert!(UnixStream::connect(redis.socket()).is_ok());
    assert!(dir.join("appendonlydir").is_dir());
}

#[test]
fn a_data_dir_is_used_by_one_at_a_time() {
    let scratch = ScratchDir::new().unwrap();
    let held = DataDir::take(scratch.path()).unwrap();

    assert!(matches!(DataDir::take(scratch.path()), Err(ServerError::InUse(_))));
    drop(held);
    assert!(DataDir::take(scratch.path()).is_ok());
}

#[test]
fn servers_end_with_a_process_that_is_killed() {
    let scratch = ScratchDir::new().unwrap();
    let mut other = Stranger::start(&[(DIRECTORY, scratch.path())]);
    other.says();
    let takes_connections = |socket: &str| UnixStream::connect(scratch.path().join(socket)).is_ok();
    assert!(SOCKETS.into_iter().all(takes_connections));

    other.dies();

    eventually(|| !SOCKETS.into_iter().any(takes_connections));
}

#[test]
fn a_scratch_directory_vanishes_with_a_process_that_is_killed() {
    let mut other = Stranger::start(&[]);
    let dir = other.says();
    assert!(Path::new(&dir).is_dir());

    other.dies();

    eventually(|| !Path::new(&dir).exists());
}

#[test]
fn servers_that_nobody_stopped_are_stopped_by_the_next_start() {
    let scratch = ScratchDir::new().unwrap();
    let (redis, postgres) = (scratch.path().join("redis"), scratch.path().join("postgres"));
    let start_redis = || RedisServer::start(&redis, &RedisSettings::durable()).unwrap();
    let start_postgres = || PostgresServer::start(&postgres, Durability::Fast).unwrap();
    mem::forget((start_redis(), start_postgres()));
    let mut connection = UnixStream::connect(redis.join("redis.sock")).unwrap();

    // Two servers of Postgres on the same data do not start; two of Redis do, and ruin it.
    let _others = (start_redis(), start_postgres());

    connection.set_nonblocking(true).unwrap();
    assert_eq!(connection.read(&mut [0]).unwrap(), 0, "the first Redis has closed its end");
}

#[test]
fn servers_start_where_a_process_was_killed_a_moment_ago() {
    let scratch = ScratchDir::new().unwrap();
    let mut other = Stranger::start(&[(DIRECTORY, scratch.path())]);
    let dir = other.says();
    assert!(matches!(PrivateServers::start(scratch.path()), Err(ServerError::InUse(_))));

    other.dies();
    let servers = PrivateServers::start(scratch.path());

    assert_eq!(Path::new(&dir), scratch.path());
    assert!(servers.is_ok(), "{servers:?}");
}

#[tokio::test]
async fn a_command_runs_with_both_servers_and_its_exit_status_is_ours() {
    let servers = PrivateServers::scratch().unwrap();
    let script = r#"test -n "$DATABASE_URL" && test -n "$REDIS_URL" && exit 7"#;

    let status = exec(&servers, &["sh", "-c", script].map(Into::into)).await.unwrap();

    assert_eq!(exit_code(status), 7);
}

const SOCKETS: [&str; 2] = ["redis/redis.sock", "postgres/.s.PGSQL.5432"];
/// Where a stranger keeps its servers' data; in memory, if this is not set.
const DIRECTORY: &str = "STRANGERS_DIRECTORY";

/// Another process with private servers: this very program, running only [`the_life_of_a_stranger`].
struct Stranger {
    process: Child,
}

impl Stranger {
    fn start(variables: &[(&str, &Path)]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.envs(variables.iter().copied());
        command.args(["--exact", "the_life_of_a_stranger", "--ignored", "--nocapture"]);
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self { process }
    }

    fn dies(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn says(&mut self) -> String {
        let mut lines = BufReader::new(self.process.stdout.take().unwrap()).lines();
        lines.find_map(|line| line.unwrap().split_once("its directory: ").map(|(_, dir)| dir.to_owned())).unwrap()
    }
}

#[test]
#[ignore = "no test: what `Stranger` runs, until it is killed"]
fn the_life_of_a_stranger() {
    let servers = match env::var_os(DIRECTORY) {
        Some(dir) => PrivateServers::start(Path::new(&dir)),
        None => PrivateServers::scratch(),
    };
    let servers = servers.unwrap();
    println!("its directory: {}", servers.directory().display());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Waits for what another process does, which nobody tells us of.
fn eventually(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "it never came true");
        thread::yield_now();
    }
}
