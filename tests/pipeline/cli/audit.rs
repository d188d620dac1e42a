//! An audit that finds nothing in a store that is right, and names what is wrong in one that is not.

use serde_json::Value;
use tests::{Pipeline, a_status, a_text, raw_event, whatsapp};
use vocabulary::{JobEntry, Replay};

use super::CommandLine;

/// How a store is broken.
enum Broken {
    /// By this in Postgres.
    Postgres(&'static str),
    /// By this command to Redis; `@` is the test's prefix.
    Redis(&'static str),
}
use Broken::{Postgres, Redis};

/// What must be true, by its name in the report, and one way to break it.
const BREACHES: [(&str, Broken); 32] = [
    ("the ledger has its unique constraint", Postgres("ALTER TABLE events DROP CONSTRAINT events_key_hash_key")),
    (
        "one event for each source and key",
        Postgres(
            "ALTER TABLE events DROP CONSTRAINT events_key_hash_key; INSERT INTO events (id, key_hash, source_id, key, \
             kind, incarnation, number, received_at) SELECT gen_random_uuid(), key_hash, source_id, key, kind, \
             incarnation, number, received_at FROM events",
        ),
    ),
    ("an event's key_hash is the hash of its source and key", Postgres("UPDATE events SET key = key || 'x'")),
    ("items = committed + duplicates + quarantined", Postgres("UPDATE receipts SET items = 0 WHERE committed > 0")),
    ("what a receipt says is committed stands in the ledger", Postgres("DELETE FROM events WHERE key = 'wamid.2'")),
    (
        "what a receipt says is committed stands in the ledger",
        Postgres("UPDATE receipts SET committed = 0 WHERE number = 1"),
    ),
    ("what a receipt says is quarantined is open or discarded", Postgres("DELETE FROM quarantine")),
    ("what is quarantined is kept whole", Postgres("DELETE FROM quarantined_raw_events")),
    ("the events of a source are numbered without gaps", Postgres("UPDATE events SET sequence = 9 WHERE sequence = 2")),
    (
        "the events of a source are numbered without gaps",
        Postgres("UPDATE events SET sequence = NULL WHERE sequence = 2"),
    ),
    ("the events of a source are numbered without gaps", Postgres("UPDATE source_sequences SET last = last + 1")),
    ("what an event owes is what was written for it", Postgres("DELETE FROM deliveries WHERE state = 'pending'")),
    ("one delivery of each lane is due", Postgres("UPDATE due SET lane = 'wa', sequence = 1, due_at = NULL")),
    ("a delivery is due exactly while it is pending", Postgres("DELETE FROM due")),
    (
        "a delivery is due exactly while it is pending",
        Postgres(
            "INSERT INTO due (event_id, endpoint_id) SELECT event_id, endpoint_id FROM deliveries WHERE state = 'delivered'",
        ),
    ),
    ("what is owed can be told", Postgres("DELETE FROM bodies")),
    ("what is owed can be told", Postgres("UPDATE deliveries SET format = 'thin' WHERE state = 'pending'")),
    (
        "no lease has ended unnoticed for five minutes",
        Postgres("UPDATE due SET lease = 1, due_at = now() - interval '6 minutes'"),
    ),
    (
        "a webhook id is the hash of source, key and endpoint",
        Postgres("UPDATE deliveries SET webhook_id = 'msg_other'"),
    ),
    ("every attempt carried the delivery's webhook id", Postgres("UPDATE attempts SET webhook_id = 'msg_other'")),
    (
        "every attempt carried the event's body, byte for byte",
        Postgres("UPDATE attempts SET body_hash = sha256('other') WHERE lease = 1"),
    ),
    (
        "every attempt carried the event's body, byte for byte",
        Postgres("UPDATE deliveries SET format = 'thin' WHERE state = 'delivered'"),
    ),
    ("what counts as delivered was answered with success", Postgres("UPDATE attempts SET outcome = 'timeout'")),
    (
        "what was answered with success is not called abandoned",
        Postgres("UPDATE deliveries SET state = 'abandoned' WHERE state = 'delivered'"),
    ),
    ("every number that the queue gave is settled or pending", Postgres("DELETE FROM receipts WHERE number = 2")),
    (
        "every number that the queue gave is settled or pending",
        Postgres("UPDATE receipts SET ended_at = NULL WHERE number = 2"),
    ),
    (
        "the queue remembers every number that it gave",
        Postgres("INSERT INTO receipts VALUES ('lost', 1, 'wa', 0, 0, 0, now())"),
    ),
    ("no job is where nobody would work on it", Redis("SADD @:inbound:dead lost")),
    ("no job is where nobody would work on it", Redis("HSET @:inbound:data lost bytes")),
    // Of a run whose lease does not end.
    (
        "no claim is held by an owner that is gone",
        Redis("MSET @:run-claim:wa:wamid.9 lost-1:0123456789abcdef @:run:0123456789abcdef held"),
    ),
    (
        "no claim is held by an owner that is gone",
        Redis("MSET @:run-claim-of-hash:00ff lost-1:0123456789abcdef @:run:0123456789abcdef held"),
    ),
    ("no worker that is silent for five minutes holds jobs", Redis("SADD @:inbound:inflight:ghost lost")),
];

/// Everything in it that an audit looks at: events that are owed, told, and told after a failure; a duplicate; a raw event
/// without items; one in quarantine; and one that nobody has worked on yet.
pub(super) async fn a_store_that_is_right() -> Pipeline {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.receive(a_text("wamid.2", "hello")).await;
    pipeline.receive(a_status("wamid.3", "sent")).await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.receive(whatsapp(&[])).await;
    pipeline.receive("{not json").await;
    pipeline.enqueue(a_text("wamid.4", "waits")).await;
    let deliver = "WITH told AS (UPDATE deliveries d SET state = 'delivered', attempts = 2, finished_at = now() \
         FROM events e WHERE e.id = d.event_id AND e.key = 'wamid.1' RETURNING d.event_id, d.endpoint_id, d.webhook_id), \
         done AS (DELETE FROM due USING told WHERE due.event_id = told.event_id) \
         INSERT INTO attempts SELECT told.event_id, endpoint_id, lease, webhook_id, sha256(body), outcome, null, null, \
         null, now(), 1000 FROM told JOIN bodies USING (event_id), (VALUES (1, 'timeout'), (2, 'delivered')) AS a (lease, outcome)";
    pipeline.execute(deliver).await;
    pipeline
}

pub(super) async fn audit(pipeline: &Pipeline) -> (Value, Option<String>) {
    let said = CommandLine::of(pipeline).run("audit --json").await;
    let report = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{:?}", said.ended));
    (report, said.ended.err().map(|failure| failure.to_string()))
}

pub(super) fn broken(report: &Value) -> Vec<&str> {
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["breaches"] != 0);
    checks.map(|check| check["check"].as_str().unwrap()).collect()
}

async fn break_it(pipeline: &Pipeline, broken: &Broken) {
    match broken {
        Postgres(statement) => pipeline.execute(statement).await,
        Redis(command) => redis_does(pipeline, command).await,
    }
}

/// Words separated by spaces; `@` is the test's prefix.
pub(super) async fn redis_does(pipeline: &Pipeline, command: &str) {
    let command = command.replace('@', &pipeline.test_redis.prefix);
    let client = redis::Client::open(pipeline.test_redis.url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    command.arg(words.collect::<Vec<_>>()).exec_async(&mut connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_right_is_found_right_and_its_sums_add_up() {
    let pipeline = a_store_that_is_right().await;

    let (report, failure) = audit(&pipeline).await;

    assert_eq!((broken(&report), failure), (vec![], None));
    let sums = &report["sums"];
    let count = |name: &str| sums[name].as_i64().unwrap_or_else(|| panic!("{name} in {sums}"));
    assert_eq!((count("numbers_given"), count("raw_events"), count("raw_events_pending")), (7, 6, 1));
    assert_eq!((count("items"), count("committed"), count("duplicates"), count("quarantined")), (5, 3, 1, 1));
    assert_eq!((count("events"), count("deliveries"), count("delivered"), count("pending")), (3, 3, 1, 2));
    assert_eq!((count("attempts"), count("successes")), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_breach_is_named_with_the_ids_of_what_broke() {
    for (check, how) in &BREACHES {
        let pipeline = a_store_that_is_right().await;
        break_it(&pipeline, how).await;

        let (report, failure) = audit(&pipeline).await;

        assert!(broken(&report).contains(check), "{check} is not among {:?}", broken(&report));
        assert!(failure.unwrap_or_default().contains("found a breach"));
        let checks = report["checks"].as_array().unwrap();
        let found = checks.iter().find(|found| found["check"] == *check).unwrap();
        assert!(!found["offenders"].as_array().unwrap().is_empty(), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_of_the_audit_has_a_breach_that_it_finds() {
    let pipeline = Pipeline::new().await;

    let (report, _) = audit(&pipeline).await;

    for check in report["checks"].as_array().unwrap() {
        assert!(BREACHES.iter().any(|(name, _)| check["check"] == *name), "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_lost_its_memory_is_named_not_hidden() {
    let pipeline = a_store_that_is_right().await;
    let incarnation: String = pipeline.rows("SELECT incarnation FROM receipts LIMIT 1", &[]).await[0].get(0);
    break_it(&pipeline, &Redis("DEL @:inbound:incarnation @:inbound:incarnations @:inbound:data")).await;

    let (report, _) = audit(&pipeline).await;

    let unknown = format!("numbers above 6 of incarnation {incarnation}: unknown");
    assert!(report["checks"].to_string().contains(&unknown), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_and_claims_that_nobody_works_on_are_named() {
    let pipeline = a_store_that_is_right().await;
    break_it(&pipeline, &Redis("SADD @:inbound:dead given-up")).await;
    break_it(&pipeline, &Redis("HSET @:inbound:data out-of-reach bytes")).await;
    break_it(&pipeline, &Redis("SET @:run-claim:wa:wamid.9 lost-1:0123456789abcdef")).await;
    break_it(&pipeline, &Redis("SET @:run:0123456789abcdef held PX 60000")).await;

    let (report, _) = audit(&pipeline).await;

    let report = report["checks"].to_string();
    for named in ["\"given-up\"", "\"out-of-reach\"", "wa:wamid.9 by lost-1:0123456789abcdef for 5"] {
        assert!(report.contains(named), "{named} is not in {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_nobodys_business_while_its_raw_event_is_in_the_queue_or_when_it_ends_soon_or_is_done() {
    let pipeline = a_store_that_is_right().await;
    let pending = pipeline.inbound.pending().await.unwrap().remove(0);
    let replay = Replay { stamp: "of-a-replay-4".parse().unwrap(), item: Some(0) };
    let replay = JobEntry { raw_event: raw_event("wa", "{}"), replay: Some(replay) };
    pipeline.inbound.replay(replay).await.unwrap();
    let owners = [format!("{}-{}", pending.incarnation, pending.first), "of-a-replay-4".to_owned()];
    for (key, owner) in ["wamid.4", "wamid.5"].iter().zip(&owners) {
        redis_does(&pipeline, &format!("SET @:run-claim:wa:{key} {owner}:0123456789abcdef")).await;
    }
    redis_does(&pipeline, "SET @:run:0123456789abcdef held PX 60000").await;
    let soon_over =
        "MSET @:run-claim:wa:wamid.6 lost-1:0000000000000006 @:run-claim:wa:wamid.7 lost-1:0000000000000007";
    redis_does(&pipeline, soon_over).await;
    redis_does(&pipeline, "SET @:run:0000000000000006 held PX 4000").await;
    redis_does(&pipeline, "SET @:run:0000000000000007 done PX 60000").await;

    let (report, failure) = audit(&pipeline).await;

    assert_eq!((broken(&report), failure), (vec![], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_being_worked_on_is_found_right() {
    let pipeline = Pipeline::new().await;
    let work = async {
        for n in 0.. {
            pipeline.receive(a_text(&format!("wamid.{n}"), "hello")).await;
        }
    };
    let look = async {
        for _ in 0..5 {
            let (report, failure) = audit(&pipeline).await;
            assert_eq!((broken(&report), failure), (vec![], None), "{report}");
        }
    };

    tokio::select! { () = work => unreachable!("it has no end"), () = look => {} }

    assert!(pipeline.number("SELECT count(*) FROM receipts").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nothing_is_said_of_promise_2() {
    let pipeline = Pipeline::new().await;
    let away = tests::TestRedis { url: "redis://127.0.0.1:1".into(), prefix: "p".into() };

    let failure = CommandLine::new(&pipeline.test_database.url, &away).fails("audit").await;

    assert!(failure.contains("nothing can be said of promise 2"), "{failure}");
}
