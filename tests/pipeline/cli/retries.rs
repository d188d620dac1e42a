//! Retries of many: at a rate, resumed after a death, called off, and no delivery made due twice.

use futures::future::{join, join_all};
use serde_json::{Value, json};
use tests::{Pipeline, a_text};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{CommandLine, came_to, causes::four_abandoned};

/// A retry that somebody has asked for, and nobody works at.
const ASKED_FOR: &str =
    "INSERT INTO retries (filter, actor, wanted) VALUES ('{\"states\": [\"abandoned\"]}', 'somebody', 0)";

/// A retry of all that is abandoned.
const RETRY: [&str; 3] = ["deliveries", "retry", "--state=abandoned"];

/// As many deliveries as that, abandoned.
async fn abandoned(pipeline: &Pipeline, count: usize) {
    let insert = "INSERT INTO deliveries (event_id, endpoint_id, webhook_id, state, finished_at) \
                  SELECT gen_random_uuid(), 'bot', 'msg_' || n, 'abandoned', now() FROM generate_series(1, ";
    pipeline.execute(&format!("{insert}{count}) n")).await;
}

/// How often each delivery was made due, as it was written down: by how often, how many.
async fn times_made_due(pipeline: &Pipeline) -> Vec<(i64, i64)> {
    let rows = pipeline
        .rows(
            "SELECT times, count(*) FROM (SELECT webhook_id, count(*) AS times FROM audit_log, \
             unnest(string_to_array(target, ' ')) AS webhook_id WHERE action = 'deliveries retry' GROUP BY 1) t GROUP BY 1",
            &[],
        )
        .await;
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn count(retry: &Value) -> [i64; 3] {
    ["wanted", "taken", "due"].map(|counter| retry[counter].as_i64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_many_is_written_down_with_what_it_was_asked_for_and_what_it_did() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    four_abandoned(&pipeline).await;

    let ended = latchhook.json("deliveries retry --endpoint bot --cause refused --rate 1000/s").await;
    let shown = latchhook.json(&format!("deliveries retries show {}", ended["retry"])).await;
    let listed = latchhook.json("deliveries retries list").await;

    assert_eq!(ended, came_to("done", 2, 2));
    let filter = json!({"endpoint_id": "bot", "states": ["abandoned"], "outcome": "refused", "reason": "none"});
    assert_eq!((&shown["filter"], &shown["per_second"], &shown["state"]), (&filter, &json!(1000.0), &json!("done")));
    assert_eq!((count(&shown), &listed[0]), ([2, 2, 2], &shown));
    let deeds = pipeline.rows("SELECT action, detail FROM audit_log", &[]).await;
    assert_eq!((deeds.len(), deeds[0].get(0), deeds[0].get(1)), (1, "deliveries retry", "retry 1"));
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE due_at <= now() AND endpoint_id = 'bot'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_prints_how_many_by_endpoint_and_cause_and_how_long_and_writes_nothing() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    four_abandoned(&pipeline).await;

    let plan = latchhook.json("deliveries retry --state abandoned --rate 0.01/s --dry-run").await;
    let at_once = latchhook.json("deliveries retry --cause refused --dry-run").await;

    assert_eq!((&plan["wanted"], &plan["takes_s"]), (&json!(4), &json!(400)));
    assert_eq!((&plan["causes"], &plan["left_out"]), (&latchhook.json("deliveries summary").await, &json!([])));
    assert_eq!((&at_once["wanted"], &at_once["takes_s"]), (&json!(2), &Value::Null));
    let written =
        "SELECT (SELECT count(*) FROM retries) + (SELECT count(*) FROM due) + (SELECT count(*) FROM audit_log)";
    assert_eq!(pipeline.number(written).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_is_killed_in_the_midst_of_a_chunk_is_resumed_and_makes_each_delivery_due_once() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    abandoned(&pipeline, 5).await;
    let third = "SELECT event_id FROM deliveries ORDER BY event_id OFFSET 2 LIMIT 1";
    pipeline.execute(&format!("BEGIN; SELECT FROM deliveries WHERE event_id = ({third}) FOR UPDATE")).await;

    latchhook.killed_while_it_waits(&pipeline, &[&RETRY[..], &["--rate=2/s"]].concat()).await;
    let killed = latchhook.json("deliveries retries show 1").await;
    let due = pipeline.number("SELECT count(*) FROM due").await;
    pipeline.execute("UPDATE retries SET per_second = NULL").await;
    let resumed = latchhook.json("deliveries retries resume 1").await;

    assert_eq!((&killed["state"], count(&killed), due), (&json!("running"), [5, 2, 2], 2));
    assert_eq!(resumed, came_to("done", 5, 5));
    assert_eq!(times_made_due(&pipeline).await, [(1, 5)]);
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_has_said_how_to_go_on() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    abandoned(&pipeline, 2).await;

    let mut retry = latchhook.start(&[&RETRY[..], &["--rate=0.001"]].concat());
    let mut lines = BufReader::new(retry.stderr.take().unwrap()).lines();
    let mut said = async || lines.next_line().await.unwrap().unwrap();
    let (first, second) = (said().await, said().await);
    retry.kill().await.unwrap();

    assert!(first.contains("retry 1 of 2 deliveries") && first.contains("retries resume 1"), "{first}");
    assert_eq!(second, "50 %: 1 of 2 taken, 1 made due");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_is_cancelled_takes_no_further_chunk_and_what_it_made_due_stays_due() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    abandoned(&pipeline, 3).await;
    let cancel = async {
        while pipeline.number("SELECT count(*) FROM retries WHERE taken = 1").await == 0 {}
        latchhook.json("deliveries retries cancel 1").await
    };

    let (ended, cancelled) = join(latchhook.json("deliveries retry --state abandoned --rate 0.001"), cancel).await;

    assert_eq!(ended, came_to("cancelled", 3, 1));
    assert_eq!(cancelled, ended);
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 1);
    assert_eq!(pipeline.number("SELECT count(*) FROM audit_log WHERE action = 'deliveries retries cancel'").await, 1);
    assert!(latchhook.fails("deliveries retries resume 1").await.contains("retry 1 is cancelled: ask for a new one"));
    assert!(latchhook.fails("deliveries retries cancel 1").await.contains("retry 1 is cancelled already"));
    assert!(latchhook.fails("deliveries retries show 2").await.contains("there is no retry 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_resume_a_retry_at_the_same_time_share_its_chunks() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    abandoned(&pipeline, 3_500).await;
    pipeline.execute(ASKED_FOR).await;
    pipeline.execute("UPDATE retries SET next_at = now() + interval '1000 seconds'").await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = 'COMMIT'";
    let start = async {
        while pipeline.number(waiting).await < 2 {}
        pipeline.execute("UPDATE retries SET next_at = now()").await;
    };

    let resume = join_all((0..2).map(|_| latchhook.json("deliveries retries resume 1")));
    let (ended, ()) = join(resume, start).await;

    for ended in ended {
        assert_eq!(ended, came_to("done", 0, 3_500));
    }
    assert_eq!(times_made_due(&pipeline).await, [(1, 3_500)]);
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 3_500);
    assert_eq!(pipeline.number("SELECT count(*) FROM audit_log").await, 4, "chunks of a thousand");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_a_second_come_a_second_apart_by_the_clock_of_postgres() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    abandoned(&pipeline, 5).await;
    let paces = "SELECT count(*) FROM (SELECT at - lag(at) OVER (ORDER BY id) AS apart FROM audit_log) a \
                 WHERE apart >= interval '1 second'";

    let ended = latchhook.json("deliveries retry --state abandoned --rate 2/s").await;

    assert_eq!(ended["due"], 5);
    assert_eq!(pipeline.number("SELECT count(*) FROM audit_log").await, 3);
    assert_eq!(pipeline.number(paces).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_resumes_a_retry_before_its_next_chunk_is_due_does_not_make_it_faster() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    abandoned(&pipeline, 3).await;
    pipeline.execute(ASKED_FOR).await;
    pipeline.execute("BEGIN; SELECT FROM retries FOR UPDATE").await;
    let another_took_a_chunk_and_then_it_is_cancelled = async {
        pipeline.somebody_waits_for_us().await;
        pipeline.execute("UPDATE retries SET next_at = now() + interval '1000 seconds'; COMMIT").await;
        latchhook.json("deliveries retries cancel 1").await
    };

    let resume = latchhook.json("deliveries retries resume 1");
    let (ended, _) = join(resume, another_took_a_chunk_and_then_it_is_cancelled).await;

    assert_eq!(ended["due"], 0);
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_after_a_retry_was_asked_for_is_not_part_of_it() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    abandoned(&pipeline, 2).await;
    pipeline.execute(ASKED_FOR).await;
    let first = "(SELECT event_id FROM deliveries ORDER BY event_id LIMIT 1)";
    pipeline.execute(&format!("UPDATE deliveries SET finished_at = now() WHERE event_id = {first}")).await;
    abandoned(&pipeline, 3).await;

    let ended = latchhook.json("deliveries retries resume 1").await;

    assert_eq!(ended["due"], 1);
    assert_eq!(pipeline.number("SELECT count(*) FROM deliveries WHERE state = 'abandoned'").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_sent_is_dealt_with_and_not_made_due() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    for key in ["wamid.1", "wamid.2"] {
        pipeline.receive(a_text(key, "hello")).await;
    }
    let first = "(SELECT event_id FROM due ORDER BY event_id LIMIT 1)";
    pipeline.execute("UPDATE due SET due_at = now() + interval '1 hour', attempts = 3").await;
    pipeline.execute(&format!("UPDATE due SET lease = 7 WHERE event_id = {first}")).await;

    let ended = latchhook.json("deliveries retry --state pending").await;

    assert_eq!(ended, came_to("done", 2, 1));
    assert_eq!(count(&latchhook.json("deliveries retries show 1").await), [2, 2, 1]);
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE due_at <= now() AND attempts = 0").await, 1);
}

/// Of three one is being sent, and one is delivered while the retry waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_down_is_what_was_made_due_and_not_what_was_left_alone() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    for key in ["wamid.1", "wamid.2", "wamid.3"] {
        pipeline.receive(a_text(key, "hello")).await;
    }
    let of = |key| format!("event_id = (SELECT id FROM events WHERE key = '{key}')");
    let (sent, delivered) = (of("wamid.1"), of("wamid.2"));
    pipeline
        .execute(&format!(
            "UPDATE due SET due_at = now() + interval '1 hour'; UPDATE due SET lease = 7 WHERE {sent}; \
             BEGIN; DELETE FROM due WHERE {delivered}; \
             UPDATE deliveries SET state = 'delivered', finished_at = now() WHERE {delivered}"
        ))
        .await;
    let meanwhile = async {
        pipeline.somebody_waits_for_us().await;
        pipeline.execute("COMMIT").await;
    };

    let (ended, ()) = join(latchhook.json("deliveries retry --state pending"), meanwhile).await;
    latchhook.json("deliveries retry --state pending").await;

    assert_eq!(ended, came_to("done", 3, 1));
    let written_down = "SELECT count(*) FILTER (WHERE target <> (SELECT webhook_id FROM deliveries JOIN events ON id = event_id \
                        WHERE key = 'wamid.3')) * 10 + count(*) FROM audit_log";
    assert_eq!(pipeline.number(written_down).await, 2, "the last of them, each time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_a_later_program_wrote_is_left_to_it() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    abandoned(&pipeline, 1).await;
    pipeline.execute(ASKED_FOR).await;
    pipeline.execute("UPDATE retries SET filter = filter || '{\"moon\": \"full\"}'").await;

    let failure = latchhook.fails("deliveries retries resume 1").await;

    assert!(failure.contains("a later latchhook wrote this retry") && failure.contains("moon"), "{failure}");
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_is_none_is_refused() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);

    for rate in ["0", "-1", "0/s", "NaN", "inf", "5/m", "fast", "1000000"] {
        let failure = latchhook.fails(&format!("deliveries retry --state abandoned --rate={rate}")).await;
        assert!(failure.contains("--rate <N/S>"), "{failure}");
    }
    assert!(latchhook.fails("deliveries retry msg_1 --rate 5").await.contains("--rate <N/S>"));

    assert_eq!(latchhook.json("deliveries retries list").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_nobody_works_at_is_shown_as_stopped_until_somebody_goes_on_with_it() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    abandoned(&pipeline, 2).await;
    pipeline.execute(ASKED_FOR).await;
    let just_asked_for = latchhook.json("deliveries retries show 1").await;
    pipeline.execute("UPDATE retries SET next_at = now() - interval '6 minutes'").await;

    let (listed, shown) =
        (latchhook.json("deliveries retries list").await, latchhook.json("deliveries retries show 1").await);
    let ended = latchhook.json("deliveries retries resume 1").await;

    assert_eq!([&just_asked_for["state"], &listed[0]["state"], &shown["state"]], ["running", "stopped", "stopped"]);
    assert_eq!(ended, came_to("done", 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_has_stopped_can_be_cancelled() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.execute(ASKED_FOR).await;
    pipeline.execute("UPDATE retries SET next_at = now() - interval '6 minutes'").await;

    let cancelled = latchhook.json("deliveries retries cancel 1").await;

    assert_eq!(cancelled, came_to("cancelled", 0, 0));
    assert_eq!(latchhook.json("deliveries retries show 1").await["state"], "cancelled");
}
