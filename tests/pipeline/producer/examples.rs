//! The examples of the library, run as they stand: what they say was enqueued is in Redis.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use latchhook::servers::ScratchDir;
use queue::{Inbound, Redis};
use tests::{PrivateRedis, Process, private_redis};
use vocabulary::Stamp;

fn example(name: &str, redis: &PrivateRedis) -> Command {
    let deps = env::current_exe().unwrap();
    let example: PathBuf = deps.parent().unwrap().with_file_name("examples").join(name);
    assert!(example.is_file(), "{} is missing: type `cargo build --workspace --all-targets`", example.display());
    let mut command = Command::new(example);
    command.env("REDIS_URL", redis.url()).env("LATCHHOOK_PREFIX", "p").env("LISTEN", "127.0.0.1:0");
    command
}

/// The numbers that the queue gave, and holds.
async fn numbers(redis: &PrivateRedis) -> Vec<u64> {
    let inbound = Inbound::new(&Redis::new(&redis.url(), "p").unwrap());
    let pending = inbound.pending().await.unwrap();
    pending.iter().flat_map(|job| job.first..job.first + u64::from(job.count)).collect()
}

fn stamps(said: &str) -> Vec<u64> {
    said.lines().map(|line| line.parse::<Stamp>().unwrap().number).collect()
}

/// What an app with a server of its own answers to three orders, one after the other.
async fn answers_of_three_orders(redis: &PrivateRedis, app: &str) -> Vec<u64> {
    let process = Process::spawn(example(app, redis), "listening on").await;
    let address = process.address_behind("listening on http://");
    let mut said = Vec::new();
    for _ in 0..3 {
        let mut connection = TcpStream::connect(address).unwrap();
        let request = "POST /orders HTTP/1.1\r\nhost: app\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{\"id\": 1}";
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
        said.extend(stamps(answer.split_once("\r\n\r\n").unwrap().1));
    }
    process.stop().await;
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn an_axum_app_answers_with_the_name_of_what_it_enqueued_and_stops_in_order() {
    let redis = private_redis();

    let said = answers_of_three_orders(&redis, "axum_app").await;

    assert_eq!((said, numbers(&redis).await), (vec![1, 2, 3], vec![1, 2, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actix_app_answers_with_the_name_of_what_it_enqueued_and_stops_in_order() {
    let redis = private_redis();

    let said = answers_of_three_orders(&redis, "actix_app").await;

    assert_eq!((said, numbers(&redis).await), (vec![1, 2, 3], vec![1, 2, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_task_prints_the_names_of_all_that_it_enqueued() {
    let redis = private_redis();
    let mut command = example("plain_task", &redis);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());

    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all("{\"id\": 1}\n".repeat(100).as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();

    assert!(ended.status.success());
    let said = stamps(std::str::from_utf8(&ended.stdout).unwrap());
    assert_eq!((&said, &numbers(&redis).await), (&(1..=100).collect(), &said));
}

/// What stands on the page in its one block of this language.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// An app with what the page shows and nothing else. What is built for it stays, so that it is built once.
#[test]
fn what_the_page_on_embedding_shows_is_built_with_the_one_dependency_that_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let page = fs::read_to_string(root.join("docs/embedding.md")).unwrap();
    let here = format!("path = {:?}", root.join("crates/producer"));
    let dependency = block(&page, "toml").replace("git = \"…\"", &here);
    let package = "[package]\nname = \"app\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n";
    let app = ScratchDir::new().unwrap();
    fs::create_dir(app.path().join("src")).unwrap();
    fs::write(app.path().join("Cargo.toml"), format!("{package}{dependency}")).unwrap();
    fs::write(app.path().join("src/lib.rs"), block(&page, "rust")).unwrap();
    fs::copy(root.join("Cargo.lock"), app.path().join("Cargo.lock")).unwrap();

    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let target = env::current_exe().unwrap().ancestors().nth(3).unwrap().join("embedding");
    let built =
        cargo.args(["check", "--offline", "--target-dir"]).arg(target).current_dir(app.path()).output().unwrap();

    assert_eq!(dependency.lines().count(), 1, "{dependency}");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// What an app takes on that embeds the library without the door. More is a decision.
#[test]
fn the_library_alone_brings_few_crates_with_it() {
    let arguments = "tree -p latchhook-producer --no-default-features --edges normal --prefix none --locked --offline";
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");

    let tree = cargo.args(arguments.split(' ')).current_dir(root).output().unwrap();

    let tree = String::from_utf8(tree.stdout).unwrap();
    let crates: std::collections::BTreeSet<_> = tree.lines().filter_map(|line| line.split(" (").next()).collect();
    assert!((20..=MOST_CRATES).contains(&crates.len()), "{}: {crates:#?}", crates.len());
    let foreign = ["diesel", "tokio-postgres", "axum", "hyper", "rustls", "openssl"];
    assert!(!crates.iter().any(|name| foreign.contains(&name.split(' ').next().unwrap())), "{crates:#?}");
}

/// As many as there are, and room for an upgrade that splits one.
const MOST_CRATES: usize = 140;
