//! What others put into Redis themselves: with the script it is recorded as what came through our door; past the script it
//! is kept, whatever it is, and stops nothing.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use chrono::DateTime;
use redis::aio::MultiplexedConnection;
use tests::{Pipeline, Process, a_text, raw_event, until};
use vocabulary::{Incarnation, Job, JobEntry, RawEvent, Replay, Stamp};

use super::audit::{audit, broken};

async fn connection(pipeline: &Pipeline) -> MultiplexedConnection {
    let client = redis::Client::open(pipeline.test_redis.url.as_str()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// A worker process that has published its sources.
async fn worker(pipeline: &Pipeline) -> Process {
    let process = Process::start(pipeline, "worker", None, &["--worker-lease=1s"]).await;
    let mut connection = connection(pipeline).await;
    let key = format!("{}:sources", pipeline.test_redis.prefix);
    let published = async || redis::cmd("EXISTS").arg(&key).query_async(&mut connection).await.unwrap();
    until("the sources are published", published).await;
    process
}

async fn is_empty(pipeline: &Pipeline) -> bool {
    pipeline.inbound.depth().await.unwrap().all() == 0
}

/// Runs a program of docs/direct-to-redis.md with these lines on its standard input.
fn client(program: &[&str], pipeline: &Pipeline, source: &str, lines: &str) -> Output {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(program[0]);
    command.arg(tests.join(program[1])).arg(source).arg(tests.join("../deploy/redis/enqueue.v1.lua"));
    command.env("REDIS_URL", &pipeline.test_redis.url).env("LATCHHOOK_PREFIX", &pipeline.test_redis.prefix);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{} is missing: {error}", program[0]));
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

async fn what_it_enqueues_is_recorded_once_under_the_names_that_it_was_given(program: &[&str]) {
    let pipeline = Pipeline::new().await;
    let process = worker(&pipeline).await;
    let lines = ["wamid.1", "wamid.2", "wamid.1"].map(|key| a_text(key, "Grüße \u{1F44B}")).join("\n");

    let first = client(program, &pipeline, "wa", &lines);
    let again = client(program, &pipeline, "wa", &lines);
    until("the queue is empty", async || is_empty(&pipeline).await).await;
    process.stop().await;

    assert_eq!((text(&first.stderr), text(&again.stderr)), ("", ""));
    let names = [text(&first.stdout), text(&again.stdout)].concat();
    let ends: Vec<&str> = names.lines().map(|name| name.rsplit_once('-').unwrap().1).collect();
    assert_eq!(ends, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(pipeline.keys().await, ["wamid.1", "wamid.2"]);
    for name in names.lines() {
        assert!(matches!(pipeline.receipt(&name.parse().unwrap()).await, Some((1, _, 0, true))), "{name}");
    }
    let (report, failure) = audit(&pipeline).await;
    assert_eq!((broken(&report), failure), (vec![], None));
}

async fn what_the_script_refuses_the_client_says(program: &[&str]) {
    let pipeline = Pipeline::new().await;
    let process = worker(&pipeline).await;

    let refused = client(program, &pipeline, "no:source", "{}");
    process.stop().await;

    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), ""));
    let why = "not enqueued: REFUSED raw event 1: the source id is not 1 to 64 of the characters A-Z a-z 0-9 _ -\n";
    assert_eq!(text(&refused.stderr), why);
    assert!(is_empty(&pipeline).await);
}

/// Whether a program can be run here. What cannot is said, where whoever reads the test's output sees it: then nothing was
/// shown.
fn is_at_hand(program: &[&str]) -> bool {
    let found = Command::new(program[0]).arg("--version").output().is_ok_and(|said| said.status.success());
    if !found {
        eprintln!("NOT TESTED: {} is missing, so nothing is known of {}", program[0], program[1]);
    }
    found
}

macro_rules! of {
    ($module:ident, $program:expr) => {
        mod $module {
            #[tokio::test(flavor = "multi_thread")]
            async fn what_it_enqueues_is_recorded_once_under_the_names_that_it_was_given() {
                if super::is_at_hand(&$program) {
                    super::what_it_enqueues_is_recorded_once_under_the_names_that_it_was_given(&$program).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn what_the_script_refuses_the_client_says() {
                if super::is_at_hand(&$program) {
                    super::what_the_script_refuses_the_client_says(&$program).await;
                }
            }
        }
    };
}

of!(python, ["python3", "clients/python/enqueue.py"]);
of!(node, ["node", "clients/node/enqueue.mjs"]);
of!(ruby, ["ruby", "clients/ruby/enqueue.rb"]);

/// Puts bytes in as a job of that name, past every script.
async fn put(pipeline: &Pipeline, id: &[u8], bytes: &[u8]) {
    let (mut connection, queue) = (connection(pipeline).await, format!("{}:inbound", pipeline.test_redis.prefix));
    let mut both = redis::pipe();
    both.cmd("HSET").arg(format!("{queue}:data")).arg(id).arg(bytes).ignore();
    both.cmd("RPUSH").arg(format!("{queue}:active")).arg(id).ignore();
    let () = both.query_async(&mut connection).await.unwrap();
}

fn a_job(change: impl FnOnce(&mut RawEvent)) -> Vec<u8> {
    let mut raw_event = raw_event("wa", a_text("wamid.bad", "never recorded"));
    change(&mut raw_event);
    Job::of([raw_event]).encode()
}

fn a_replay(incarnation: &str, number: u64) -> Vec<u8> {
    let stamp = Stamp { incarnation: Incarnation::new(incarnation), number };
    let raw_event = raw_event("wa", a_text("wamid.bad", "never recorded"));
    Job { entries: vec![JobEntry { raw_event, replay: Some(Replay { stamp, item: None }) }] }.encode()
}

/// What can be put into Redis that is no job of ours, by what is wrong with it: name and bytes.
fn bad_entries() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let garbage = b"\x93\xff garbage".to_vec();
    let year = |year: i64| DateTime::from_timestamp(year * 31_556_952, 0).unwrap();
    vec![
        ("garbage", b"a".to_vec(), garbage.clone()),
        ("no bytes at all", b"b".to_vec(), Vec::new()),
        ("JSON", b"00042".to_vec(), b"{\"job\":\"RunTask\"}".to_vec()),
        ("a version to come", b"c".to_vec(), vec![0x92, 9, 0xc0]),
        ("an array that says it has four billion raw events", b"d".to_vec(), b"\x92\x01\xdd\xff\xff\xff\xff".to_vec()),
        ("10,000 arrays in each other", b"e".to_vec(), vec![0x91; 10_000]),
        ("16 MiB of it", b"f".to_vec(), vec![0; 16 << 20]),
        ("a name with a NUL", b"g\0".to_vec(), garbage.clone()),
        ("a name that is no text", b"\xff\xfe".to_vec(), garbage.clone()),
        ("another that reads the same", b"\xfd\xfc".to_vec(), garbage.clone()),
        (
            "a name of a megabyte",
            (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
            garbage.clone(),
        ),
        ("no name", b"".to_vec(), garbage.clone()),
        ("a name as ours, of four billion raw events", b"00ff00ff00ff00ff-1-4294967295".to_vec(), garbage.clone()),
        ("a name as ours, of the last number", b"00ff00ff00ff00ff-18446744073709551615-1".to_vec(), garbage),
        ("an unknown source", b"h".to_vec(), a_job(|raw| raw.source_id = "nobody".parse().unwrap())),
        ("a header with a NUL", b"i".to_vec(), a_job(|raw| raw.headers.push(("x".into(), "\0".into())))),
        ("a body that is no text", b"j".to_vec(), a_job(|raw| raw.body = b"\xff\0"[..].into())),
        ("a time before the calendar", b"k".to_vec(), a_job(|raw| raw.received_at = year(-20_000))),
        ("a time after it", b"l".to_vec(), a_job(|raw| raw.received_at = year(200_000))),
        ("a replay of a name with a NUL", b"m".to_vec(), a_replay("\0", 1)),
        ("a replay of a number that is none", b"n".to_vec(), a_replay("lost", u64::MAX)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_in_past_the_script_is_kept_and_stops_nothing() {
    let pipeline = Pipeline::new().await;
    let bad = bad_entries();
    let mut good = Vec::new();
    for (place, (_, id, bytes)) in bad.iter().enumerate() {
        put(&pipeline, id, bytes).await;
        good.push(format!("wamid.{place:02}"));
        let job = Job::of([raw_event("wa", a_text(&good[place], "hello"))]);
        pipeline.inbound.enqueue(&[job]).await.unwrap();
    }

    let mut process = worker(&pipeline).await;
    until("the queue is empty", async || {
        assert!(process.ended().is_none(), "the worker died");
        is_empty(&pipeline).await
    })
    .await;
    process.stop().await;

    assert_eq!(pipeline.keys().await, good);
    let kept = pipeline.quarantined().await;
    assert_eq!(kept.len(), bad.len(), "{kept:#?}");
    let (report, failure) = audit(&pipeline).await;
    assert_eq!((broken(&report), failure), (vec![], None));
    assert_eq!(report["sums"]["quarantined"].as_u64(), Some(bad.len() as u64), "{report}");
}
