//! What others enqueue with `deploy/redis/enqueue.v1.lua` is what our producer would have enqueued, or is refused whole.

use std::{fs, path::Path};

use bytes::Bytes;
use chrono::DateTime;
use queue::{ConsumerSettings, Inbound, Redis};
use redis::{RedisError, aio::MultiplexedConnection};
use serde_json::json;
use vocabulary::{Job, RawEvent};

use super::support::{Consumer, connection, inbound, job, polls_seldom, run};

const HEADERS: &str = r#"[["content-type","application/json"]]"#;
const TIME: &str = "1771000000123";

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// An installation that has published its sources.
async fn installation() -> (tests::TestRedis, Inbound, MultiplexedConnection) {
    let redis = tests::redis().await;
    let mut connection = connection(&redis.url).await;
    let () = run(&mut connection, &format!("HSET {}:sources revision 1", redis.prefix)).await;
    (redis.clone(), inbound(&redis), connection)
}

fn keys(prefix: &str) -> Vec<String> {
    let names = [":inbound:active", ":inbound:data", ":inbound:incarnation", ":inbound:incarnations", ":sources"];
    names.map(|name| format!("{prefix}{name}")).to_vec()
}

/// Calls the script as any language would.
async fn call(
    connection: &mut MultiplexedConnection,
    keys: &[String],
    arguments: &[&[u8]],
) -> Result<Vec<String>, RedisError> {
    let mut call = redis::cmd("EVAL");
    call.arg(file("deploy/redis/enqueue.v1.lua")).arg(keys.len()).arg(keys).arg(arguments);
    call.query_async(connection).await
}

/// Raw events whose encodings differ in every place where a length or a kind can.
fn table() -> Vec<RawEvent> {
    let raw_event = |source: &str, ms, headers: Vec<(String, String)>, body: Vec<u8>| RawEvent {
        source_id: source.parse().unwrap(),
        received_at: DateTime::from_timestamp_millis(ms).unwrap(),
        headers,
        body: Bytes::from(body),
    };
    let times = [1_000_000_000_000, 1_771_000_000_123, 4_294_967_296_000, 9_007_199_254_740];
    let by_body = [0, 1, 255, 256, 65_535, 65_536, 3 << 20].map(|length| {
        let bytes = (0..length).map(|place| u8::try_from(place % 256).unwrap()).collect();
        raw_event("wa", times[length % 4], Vec::new(), bytes)
    });
    let by_header = [0, 31, 32, 255, 256, 65_535, 65_536]
        .map(|length| raw_event("wa", times[1], vec![("x".into(), "~".repeat(length))], b"\0\xff".to_vec()));
    let by_headers = [1, 15, 16, 64].map(|count| {
        let headers = (0..count).map(|n| (format!("x-{n}"), format!("\"{n}\\\t/ !"))).collect();
        raw_event("wa", times[1], headers, b"{}".to_vec())
    });
    let by_source = [1, 31, 32, 64].map(|length| raw_event(&"a_-Z9".repeat(13)[..length], times[1], vec![], vec![]));
    [by_body.to_vec(), by_header.to_vec(), by_headers.to_vec(), by_source.to_vec()].concat()
}

fn arguments(raw_events: &[RawEvent]) -> Vec<Vec<u8>> {
    let mut arguments = vec![b"1".to_vec()];
    for RawEvent { source_id, received_at, headers, body } in raw_events {
        arguments.push(source_id.as_str().into());
        arguments.push(received_at.timestamp_millis().to_string().into());
        arguments.push(json!(headers).to_string().into());
        arguments.push(body.to_vec());
    }
    arguments
}

async fn enqueue_directly(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    raw_events: &[RawEvent],
) -> Result<Vec<String>, RedisError> {
    let arguments = arguments(raw_events);
    call(connection, &keys(prefix), &arguments.iter().map(Vec::as_slice).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn what_the_script_enqueues_is_byte_for_byte_what_the_producer_would_have() {
    let (redis, inbound, mut connection) = installation().await;
    let table = table();
    let few = (table[0].clone(), vec![table[0].clone(); 15], vec![table[1].clone(); 16], vec![table[2].clone(); 64]);
    let alone = table.iter().map(|raw_event| vec![raw_event.clone()]);
    let groups: Vec<Vec<RawEvent>> = alone.chain([vec![few.0], few.1, few.2, few.3]).collect();

    for group in &groups {
        enqueue_directly(&mut connection, &redis.prefix, group).await.unwrap();
    }

    let mut consumer = Consumer::start(&inbound, ConsumerSettings::default());
    for group in groups {
        let held = consumer.next().await;
        assert!(held.payload == Job::of(group.clone()).encode(), "{:?}", group[0]);
        assert_eq!((held.count as usize, held.first.is_some()), (group.len(), true));
    }
    consumer.stop().await;
}

#[tokio::test]
async fn the_script_and_the_producer_share_one_row_of_numbers_without_gaps() {
    let (redis, inbound, mut connection) = installation().await;
    let two = [table()[0].clone(), table()[1].clone()];

    let first = enqueue_directly(&mut connection, &redis.prefix, &two).await.unwrap();
    let ours = inbound.enqueue(&[job("ours")]).await.unwrap();
    let last = enqueue_directly(&mut connection, &redis.prefix, &two[..1]).await.unwrap();

    let incarnation = ours[0].incarnation.as_str();
    assert_eq!(first, [format!("{incarnation}-1"), format!("{incarnation}-2")]);
    assert_eq!((ours[0].number, last), (3, vec![format!("{incarnation}-4")]));
    assert_eq!(inbound.last_numbers().await.unwrap(), [(ours[0].incarnation.clone(), 4)]);
}

#[tokio::test]
async fn an_idle_worker_is_woken_by_the_script_however_seldom_it_polls() {
    let (redis, inbound, mut connection) = installation().await;
    let mut consumer = Consumer::start(&inbound, polls_seldom());

    for raw_event in &table()[..6] {
        enqueue_directly(&mut connection, &redis.prefix, std::slice::from_ref(raw_event)).await.unwrap();
        consumer.next().await;
    }

    consumer.stop().await;
}

#[tokio::test]
async fn a_call_that_is_wrong_anywhere_is_refused_with_what_is_wrong_and_writes_nothing() {
    let (redis, inbound, mut connection) = installation().await;
    let keys = keys(&redis.prefix);
    let good: [&[u8]; 5] = [b"1", b"wa", TIME.as_bytes(), HEADERS.as_bytes(), b"{}"];
    let with = |place: usize, value: &'static [u8]| {
        let mut arguments = good.to_vec();
        // A good raw event before the bad one: it must not be enqueued either.
        arguments.extend_from_slice(&good[1..]);
        arguments[place + 4 * usize::from(place > 0)] = value;
        arguments
    };
    let long = "a".repeat(65);
    let crowd: Vec<&[u8]> = good[..1].iter().chain(good[1..].iter().cycle().take(4 * 65)).copied().collect();
    let huge = vec![b'x'; 8 << 20];
    let many = json!(vec![["a", "b"]; 65]).to_string();
    let mut with_long = with(1, b"");
    with_long[5] = long.as_bytes();
    let mut with_huge = with(4, b"");
    with_huge[8] = &huge;
    let mut with_many = with(3, b"");
    with_many[7] = many.as_bytes();
    let wrong: Vec<(Vec<&[u8]>, &str)> = vec![
        (with(0, b"2"), "version 1"),
        (with(0, b""), "version 1"),
        (vec![], "version 1"),
        (good[..1].to_vec(), "four arguments"),
        (good[..4].to_vec(), "four arguments"),
        (crowd, "more than 64 raw events"),
        (with_huge, "more than 8388608 bytes"),
        (with(1, b""), "raw event 2: the source id"),
        (with(1, b"a:b"), "raw event 2: the source id"),
        (with(1, b"wa\0"), "raw event 2: the source id"),
        (with(1, b"w\xffa"), "raw event 2: the source id"),
        (with(1, b"wa\n"), "raw event 2: the source id"),
        (with_long, "raw event 2: the source id"),
        (with(2, b""), "raw event 2: the time of receipt"),
        (with(2, b"now"), "raw event 2: the time of receipt"),
        (with(2, b"1771000000"), "in seconds"),
        (with(2, b"-1771000000123"), "raw event 2: the time of receipt"),
        (with(2, b"1771000000123.5"), "raw event 2: the time of receipt"),
        (with(2, b"0x19c5d5f7a7b0"), "raw event 2: the time of receipt"),
        (with(2, b"9007199254741"), "raw event 2: the time of receipt"),
        (with(3, b""), "no JSON array"),
        (with(3, b"{\"a\":\"b\"}"), "no JSON array"),
        (with(3, b"[[\"a\",\"b\"]"), "no JSON array"),
        (with(3, b"7"), "no JSON array"),
        (with(3, b"[[\"a\"]]"), "no [name, value]"),
        (with(3, b"[[\"a\",7]]"), "no [name, value]"),
        (with(3, b"[null]"), "no [name, value]"),
        (with(3, b"[\"a\",\"b\"]"), "no [name, value]"),
        (with(3, b"[[\"Content-Type\",\"b\"]]"), "lower case"),
        (with(3, b"[[\"a b\",\"c\"]]"), "lower case"),
        (with(3, b"[[\"\",\"c\"]]"), "lower case"),
        (with(3, b"[[\"a\",\"b\\u0000\"]]"), "not printable ASCII"),
        (with(3, b"[[\"a\",\"b\xff\"]]"), "not printable ASCII"),
        (with(3, b"[[\"a\",\"b\\r\\nc: d\"]]"), "not printable ASCII"),
        (with_many, "more than 64 headers"),
    ];

    for (arguments, why) in &wrong {
        let refused = call(&mut connection, &keys, arguments).await.unwrap_err();
        assert_eq!(refused.code(), Some("REFUSED"), "{why}: {refused}");
        assert!(refused.to_string().contains(why), "{why}: {refused}");
    }

    assert_eq!((inbound.depth().await.unwrap().all(), inbound.last_numbers().await.unwrap()), (0, vec![]));
    call(&mut connection, &keys, &good).await.unwrap();
}

/// A raw event in a queue that nobody consumes would be lost, and its sender would have been told yes.
#[tokio::test]
async fn keys_that_no_latchhook_reads_are_refused() {
    let (redis, _, mut connection) = installation().await;
    let good: [&[u8]; 5] = [b"1", b"wa", TIME.as_bytes(), HEADERS.as_bytes(), b"{}"];
    let keys = keys(&redis.prefix);
    let other = format!("{}-other", redis.prefix);
    let with = |place: usize, key: &str| {
        let mut keys = keys.clone();
        key.clone_into(&mut keys[place]);
        keys
    };

    let mut refusals = Vec::new();
    for (place, key) in [(0, "inbound:active"), (1, &other), (2, "x"), (3, &keys[0]), (4, "sources")] {
        refusals.push((call(&mut connection, &with(place, key), &good).await.unwrap_err().to_string(), place + 1));
    }
    let fewer = call(&mut connection, &keys[..4], &good).await.unwrap_err().to_string();
    let elsewhere = enqueue_directly(&mut connection, &other, &table()[..1]).await.unwrap_err().to_string();

    for (refusal, place) in refusals {
        assert!(refusal.contains(&format!("key {place} must be PREFIX:")), "{refusal}");
    }
    assert!(fewer.contains("key 5 must be PREFIX:sources"), "{fewer}");
    assert!(elsewhere.contains(&format!("under the prefix {other}: is that its prefix")), "{elsewhere}");
    let written: Vec<String> = run(&mut connection, &format!("KEYS {}*", redis.prefix)).await;
    assert_eq!(written, [keys[4].clone()]);
}

/// The rule of docs/direct-to-redis.md, for this server's keys.
fn rule(prefix: &str) -> Vec<String> {
    let page = file("docs/direct-to-redis.md");
    let (_, rest) = page.split_once("ACL SETUSER ").unwrap();
    let (rule, _) = rest.split_once("```").unwrap();
    let rule = rule.replace("latchhook:", &format!("{prefix}:")).replace("\\\n", " ");
    let is_open = |word: &str| word.starts_with('\'') && !word.ends_with('\'');
    let mut words: Vec<String> = Vec::new();
    for word in rule.split_whitespace() {
        // A selector is one word for Redis, spaces and all; the shell's quotes make it one.
        match words.last_mut() {
            Some(open) if is_open(open) => *open = format!("{open} {word}"),
            _ => words.push(word.to_owned()),
        }
    }
    words.iter().map(|word| word.trim_matches('\'').to_owned()).collect()
}

#[tokio::test]
async fn the_access_rule_of_the_page_lets_a_client_enqueue_and_nothing_else() {
    let server = tests::private_redis();
    let inbound = Inbound::new(&Redis::new(&server.url(), "p").unwrap());
    let mut connection = connection(&server.url()).await;
    let () = run(&mut connection, "HSET p:sources revision 1 blob sealed").await;
    inbound.enqueue(&[job("another's")]).await.unwrap();
    let rule = rule("p");
    let (name, password) = (rule[0].clone(), rule.iter().find_map(|word| word.strip_prefix('>')).unwrap());
    let () = redis::cmd("ACL").arg("SETUSER").arg(&rule).query_async(&mut connection).await.unwrap();
    let mut client = super::support::connection(&server.url()).await;
    let () = run(&mut client, &format!("AUTH {name} {password}")).await;

    let enqueued = enqueue_directly(&mut client, "p", &table()[..2]).await.unwrap();

    assert_eq!(enqueued.len(), 2);
    for command in [
        "HGETALL p:inbound:data",
        "HGET p:sources blob",
        "LRANGE p:inbound:active 0 -1",
        "LPOP p:inbound:active",
        "DEL p:inbound:data",
        "HSET p:sources revision 2",
        "SADD p:inbound:dead x",
        "SET other x",
        "KEYS *",
        "SCAN 0",
        "FLUSHALL",
        "CONFIG GET *",
        "PUBLISH p:wake x",
        "SUBSCRIBE p:wake",
        "ACL LIST",
    ] {
        let (mut words, script) = (command.split(' '), "return redis.call(unpack(ARGV))");
        let said = redis::cmd(words.next().unwrap()).arg(words.collect::<Vec<_>>()).exec_async(&mut client).await;
        let by_script = redis::cmd("EVAL").arg(script).arg(0).arg(command.split(' ').collect::<Vec<_>>()).to_owned();
        let by_script = by_script.exec_async(&mut client).await;
        assert_eq!(said.unwrap_err().code(), Some("NOPERM"), "{command}");
        by_script.unwrap_err();
    }
    assert_eq!(inbound.depth().await.unwrap().ready, 2);
}
