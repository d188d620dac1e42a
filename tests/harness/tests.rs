//! What the other tests rely on: private servers start, survive a crash, and end with their process.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

use std::{
    env,
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use latchhook::servers::{DataDir, RedisServer, RedisSettings, ScratchDir, ServerError};
use tests::private_redis;

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
fn servers_and_their_scratch_directory_vanish_with_a_process_that_is_killed() {
    let mut other = Stranger::start();
    let dir = other.says();
    let redis_socket = Path::new(&dir).join("redis.sock");
    assert!(UnixStream::connect(&redis_socket).is_ok());

    other.process.kill().unwrap();
    other.process.wait().unwrap();

    eventually(|| UnixStream::connect(&redis_socket).is_err());
    eventually(|| !Path::new(&dir).exists());
}

/// Another process with private servers: this very program, running only [`the_life_of_a_stranger`].
struct Stranger {
    process: Child,
}

impl Stranger {
    fn start() -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "the_life_of_a_stranger", "--ignored", "--nocapture"]);
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self { process }
    }

    fn says(&mut self) -> String {
        let mut lines = BufReader::new(self.process.stdout.take().unwrap()).lines();
        lines.find_map(|line| line.unwrap().split_once("its directory: ").map(|(_, dir)| dir.to_owned())).unwrap()
    }
}

#[test]
#[ignore = "no test: what `Stranger` runs, until it is killed"]
fn the_life_of_a_stranger() {
    let scratch = ScratchDir::new().unwrap();
    let _redis = RedisServer::start(scratch.path(), &RedisSettings::fast()).unwrap();
    println!("its directory: {}", scratch.path().display());
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
