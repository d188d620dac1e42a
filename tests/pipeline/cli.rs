//! What the command line promises: the same result twice, data on stdout, one line when it fails, and nothing half done.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic")]

#[path = "cli/abandoning.rs"]
mod abandoning;
#[path = "cli/accept.rs"]
mod accept;
#[path = "cli/access.rs"]
mod access;
#[path = "cli/again.rs"]
mod again;
#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/causes.rs"]
mod causes;
#[path = "cli/changing.rs"]
mod changing;
#[path = "cli/direct.rs"]
mod direct;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/enabling.rs"]
mod enabling;
#[path = "cli/enqueue.rs"]
mod enqueue;
#[path = "cli/grants.rs"]
mod grants;
#[path = "cli/limits.rs"]
mod limits;
#[path = "cli/looking.rs"]
mod looking;
#[path = "cli/master_key.rs"]
mod master_key;
#[path = "cli/migrations.rs"]
mod migrations;
#[path = "cli/moving.rs"]
mod moving;
#[path = "cli/on_purpose.rs"]
mod on_purpose;
#[path = "cli/pages.rs"]
mod pages;
#[path = "cli/ping.rs"]
mod ping;
#[path = "cli/providers.rs"]
mod providers;
#[path = "cli/repair.rs"]
mod repair;
#[path = "cli/retries.rs"]
mod retries;
#[path = "cli/schedule.rs"]
mod schedule;
#[path = "cli/secrets.rs"]
mod secrets;
#[path = "cli/selecting.rs"]
mod selecting;
#[path = "cli/sentences.rs"]
mod sentences;
#[path = "cli/setup.rs"]
mod setup;
#[path = "cli/sources.rs"]
mod sources;
#[path = "cli/standing.rs"]
mod standing;
#[cfg(target_os = "linux")]
#[path = "cli/threads.rs"]
mod threads;
#[path = "cli/tokens.rs"]
mod tokens;
#[path = "cli/waiting.rs"]
mod waiting;

use std::process::Stdio;

use latchhook::cli::Failure;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tests::{Pipeline, TestDatabase, TestRedis};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
};
use vocabulary::MasterKey;

/// The binary's own code, given its arguments, and flags that name the test's stores.
struct CommandLine {
    settings: Vec<String>,
}

/// What a command printed, and how it ended.
struct Said {
    out: String,
    ended: Result<(), Failure>,
}

impl CommandLine {
    fn new(database_url: &str, redis: &TestRedis) -> Self {
        Self::knowing(MasterKey::generate().expose_secret(), database_url, redis)
    }

    /// That of somebody who knows these master keys, with commas between them.
    fn knowing(master_keys: &str, database_url: &str, redis: &TestRedis) -> Self {
        let settings = [
            ("database-url", database_url),
            ("redis-url", &redis.url),
            ("prefix", &redis.prefix),
            ("master-key", master_keys),
            ("allow-private-endpoints", "127.0.0.0/8"),
        ];
        Self { settings: settings.map(|(name, value)| format!("--{name}={value}")).to_vec() }
    }

    fn of(pipeline: &Pipeline) -> Self {
        Self::knowing(pipeline.master_key.expose_secret(), &pipeline.test_database.url, &pipeline.test_redis)
    }

    /// Runs a line.
    async fn run(&self, line: &str) -> Said {
        let words = ["latchhook".to_owned()].into_iter().chain(words(line)).chain(self.settings.clone());
        let mut out = Vec::new();
        let ended = latchhook::cli::run(words, &mut out).await;
        Said { out: String::from_utf8(out).unwrap(), ended: ended.map(drop) }
    }

    /// What it prints for scripts.
    async fn json(&self, line: &str) -> Value {
        let said = self.run(&format!("{line} --json")).await;
        said.ended.unwrap();
        serde_json::from_str(&said.out).unwrap()
    }

    /// What the binary prints for scripts, in a process of its own, and what it notes beside that for people.
    async fn told(&self, line: &str) -> (Value, String) {
        let mut command = Command::new(tests::binary());
        let output = command.args(words(line)).arg("--json").args(&self.settings).output().await.unwrap();
        let noted = String::from_utf8(output.stderr).unwrap();
        (serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {noted}")), noted)
    }

    /// The binary, in a process of its own.
    fn start(&self, words: &[&str]) -> Child {
        let mut command = Command::new(tests::binary());
        command.args(words).args(&self.settings).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// Starts the binary, and kills it once it waits for the transaction that `pipeline` has open; that is rolled back then.
    async fn killed_while_it_waits(&self, pipeline: &Pipeline, words: &[&str]) {
        let mut running = self.start(words);
        tokio::select! {
            () = pipeline.somebody_waits_for_us() => running.kill().await.unwrap(),
            ended = running.wait() => {
                let mut said = String::new();
                running.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
                panic!("it waits for nobody, {ended:?}: {said}");
            }
        }
        pipeline.execute("ROLLBACK").await;
    }

    /// What it says when it fails: one line, and nothing on stdout.
    async fn fails(&self, line: &str) -> String {
        let said = self.run(line).await;
        let failure = said.ended.unwrap_err().to_string();
        assert_eq!((said.out.as_str(), failure.lines().count()), ("", 1), "{failure}");
        failure
    }
}

/// The words of a line, and what stands between quotes as one.
fn words(line: &str) -> impl Iterator<Item = String> {
    line.split('\'').enumerate().flat_map(|(n, part)| match n % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    })
}

/// What the first retry of many prints at its end, where nothing waits for anything.
fn came_to(state: &str, wanted: i64, due: i64) -> Value {
    let mut ended = made_due(wanted, due);
    (ended["retry"], ended["state"]) = (json!(1), json!(state));
    ended
}

/// What is printed where some were made due, and nothing waits for anything.
fn made_due(wanted: i64, due: i64) -> Value {
    json!({"wanted": wanted, "due": due, "waiting_in_lane": 0, "held": 0, "resting": 0, "gates": []})
}

async fn stores() -> (TestDatabase, TestRedis, CommandLine) {
    let (database, redis) = (tests::database().await, tests::redis().await);
    let latchhook = CommandLine::new(&database.url, &redis);
    (database, redis, latchhook)
}
