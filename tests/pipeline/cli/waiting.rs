//! What a retry cannot make due says what it waits for: its lane, its endpoint, or the attempt that is under way.

use serde_json::{Value, json};
use tests::{Pipeline, a_text};
use tokio::process::Command;
use vocabulary::{OrderedBy, Terms};

use super::CommandLine;

/// As many events, owed to `bot` and, one after the other, to `ordered`, whose first has failed.
async fn behind_a_failure(pipeline: &Pipeline, events: usize) {
    let terms = Terms { ordered_by: Some(OrderedBy::Source), ..Terms::of("*".parse().unwrap()) };
    pipeline.add_endpoint_on("acme", "ordered", &terms).await;
    for event in 0..events {
        pipeline.receive(a_text(&format!("wamid.{event}"), "hello")).await;
    }
    let failed =
        "UPDATE due SET attempts = 3, due_at = now() + interval '1 hour' WHERE lane IS NOT NULL AND due_at IS NOT NULL";
    pipeline.execute(failed).await;
}

fn waits(ended: &Value) -> [i64; 4] {
    ["wanted", "due", "waiting_in_lane", "held"].map(|count| ended[count].as_i64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_lane_only_the_first_is_said_to_be_due() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    behind_a_failure(&pipeline, 4).await;

    let ended = latchhook.json("deliveries retry --endpoint ordered --state pending").await;
    let shown = latchhook.json("deliveries retries show 1").await;
    let replayed = latchhook.json("events replay wamid.3 --endpoint ordered").await;

    assert_eq!((waits(&ended), waits(&shown)), ([4, 1, 3, 0], [4, 1, 3, 0]));
    assert_eq!(waits(&replayed), [1, 0, 1, 0]);
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE lane IS NOT NULL AND due_at <= now()").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_not_said_to_be_due() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    behind_a_failure(&pipeline, 3).await;
    let one = latchhook.json("deliveries list --endpoint bot").await[0]["webhook_id"].clone();
    latchhook.json("endpoint disable bot").await;
    latchhook.json("endpoint disable ordered").await;

    let ended = latchhook.json("deliveries retry --state pending").await;
    let named = latchhook.json(&format!("deliveries retry {}", one.as_str().unwrap())).await;

    assert_eq!(waits(&ended), [6, 0, 0, 6], "in a lane or not");
    assert_eq!(waits(&named), [1, 0, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_retries_is_told_in_words_what_waits_and_for_what() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    behind_a_failure(&pipeline, 4).await;
    latchhook.json("endpoint disable bot").await;
    let being_sent = "UPDATE due SET lease = 7 WHERE lane IS NOT NULL AND due_at IS NOT NULL";
    pipeline.execute(being_sent).await;

    let retry = Command::new(tests::binary())
        .args(["deliveries", "retry", "--state=pending"])
        .args(&latchhook.settings)
        .output();
    let said = String::from_utf8(retry.await.unwrap().stderr).unwrap();

    for words in [
        "3 of 8 wait in their lanes: each is due once what is before it has ended",
        "4 of 8 are held: their endpoint is disabled; latchhook endpoint enable makes them due",
        "1 of 8 were left alone: they are being sent at this moment, or have just ended",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_its_lane_names_the_one_whose_turn_it_is() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    behind_a_failure(&pipeline, 3).await;

    let listed = latchhook.json("deliveries list --endpoint ordered --state pending").await;
    let for_people = latchhook.run("deliveries list --endpoint ordered").await.out;
    let story = latchhook.run("events show wamid.2").await.out;
    let unordered = latchhook.json("deliveries list --endpoint bot").await;

    let first = &listed[2]["webhook_id"];
    let behind = [0, 1, 2].map(|place| &listed[place]["behind"]);
    assert_eq!((behind, &listed[0]["due_at"]), ([first, first, &Value::Null], &Value::Null));
    let first = first.as_str().unwrap();
    assert!(for_people.contains("BEHIND") && for_people.matches(first).count() == 3, "{for_people}");
    assert!(story.contains(&format!("; waits in its lane behind {first}")), "{story}");
    assert!(unordered.as_array().unwrap().iter().all(|row| row["behind"].is_null()));
}

/// Closes the gate of an endpoint for two hours by an open circuit, and for so many by a pause that it asked for.
async fn close(pipeline: &Pipeline, endpoint: &str, asked_for_hours: u8) {
    let gate = format!(
        "INSERT INTO gates (endpoint_id, is_open, failures, rests_until, asked_until) VALUES ('{endpoint}', true, 10, \
         date_trunc('second', now()) + interval '2 hours', date_trunc('second', now()) + interval '{asked_for_hours} hours')"
    );
    pipeline.execute(&gate).await;
}

/// When the gate of an endpoint opens, as it is told.
async fn opens_at(pipeline: &Pipeline, endpoint: &str) -> String {
    let at = "SELECT to_char(greatest(rests_until, asked_until), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM gates WHERE endpoint_id = $1";
    pipeline.rows(at, &[&endpoint]).await[0].get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rests_at_a_gate_is_not_said_to_be_due_but_until_when_it_rests_and_why() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    behind_a_failure(&pipeline, 4).await;
    close(&pipeline, "bot", 0).await;
    close(&pipeline, "ordered", 3).await;
    let (circuit, pause) = (opens_at(&pipeline, "bot").await, opens_at(&pipeline, "ordered").await);

    let (ended, noted) = latchhook.told("deliveries retry --state pending").await;
    let shown = latchhook.json("deliveries retries show 1").await;
    let for_people = latchhook.run("deliveries retries show 1").await.out;

    let gates = json!([
        {"gate": "circuit_open", "deliveries": 4, "opens_at": circuit},
        {"gate": "retry_after", "deliveries": 1, "opens_at": pause},
    ]);
    assert_eq!((waits(&ended), &ended["resting"], &ended["gates"]), ([8, 0, 3, 0], &json!(5), &gates));
    assert_eq!((waits(&shown), &shown["resting"], &shown["gates"]), ([8, 0, 3, 0], &json!(5), &gates));
    let words = [format!("until {circuit} (circuit open)"), format!("until {pause} (Retry-After)")];
    assert!(noted.contains(&format!("4 of 8 rest {}", words[0])), "{noted}");
    assert!(noted.contains(&format!("1 of 8 rest {}", words[1])), "{noted}");
    assert!(words.iter().all(|words| for_people.contains(words)), "{for_people}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rests_is_counted_over_all_chunks_of_a_retry_and_what_is_held_or_may_pass_is_no_part_of_it() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    behind_a_failure(&pipeline, 2).await;
    pipeline.add_endpoint("acme", "open", "*").await;
    pipeline.receive(a_text("wamid.open", "hello")).await;
    close(&pipeline, "bot", 0).await;
    close(&pipeline, "ordered", 0).await;
    close(&pipeline, "open", 0).await;
    pipeline.execute("UPDATE gates SET rests_until = now() WHERE endpoint_id = 'open'").await;
    latchhook.json("endpoint disable ordered").await;

    let ended = latchhook.json("deliveries retry --state pending --rate 1000").await;
    let slow = latchhook.json("deliveries retry --endpoint bot --state pending --rate 1").await;
    let replayed = latchhook.json("events replay wamid.open").await;

    assert_eq!((waits(&ended), &ended["resting"]), ([7, 1, 0, 3], &json!(3)));
    let gates = json!([{"gate": "circuit_open", "deliveries": 3, "opens_at": opens_at(&pipeline, "bot").await}]);
    assert_eq!((waits(&slow), &slow["resting"], &slow["gates"]), ([3, 0, 0, 0], &json!(3), &gates), "a chunk for each");
    assert_eq!((waits(&replayed), &replayed["resting"]), ([3, 1, 0, 1], &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_delivery_says_until_when_it_rests_and_why_and_one_that_is_not_due_yet_does_not_rest() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    behind_a_failure(&pipeline, 3).await;
    close(&pipeline, "bot", 0).await;
    let opens_at = opens_at(&pipeline, "bot").await;
    let of = |key| format!("endpoint_id = 'bot' AND event_id = (SELECT id FROM events WHERE key = 'wamid.{key}')");
    let later = format!("UPDATE due SET due_at = now() + interval '3 hours' WHERE {}", of(1));
    let being_sent = format!("UPDATE due SET due_at = now() + interval '1 minute', lease = 7 WHERE {}", of(2));
    pipeline.execute(&format!("{later}; {being_sent}")).await;

    let listed = latchhook.json("deliveries list --endpoint bot").await;
    let ordered = latchhook.json("deliveries list --endpoint ordered").await;
    let for_people = latchhook.run("deliveries list --endpoint bot").await.out;
    let story = latchhook.run("events show wamid.0").await.out;

    let rests = |rows: &Value| [0, 1, 2].map(|row| [&rows[row]["rests_until"], &rows[row]["gate"]].map(Value::clone));
    let [none, rest] = [[Value::Null, Value::Null], [json!(opens_at), json!("circuit_open")]];
    assert_eq!(rests(&listed), [none.clone(), none.clone(), rest], "the newest first");
    assert_eq!(rests(&ordered), [none.clone(), none.clone(), none]);
    assert!(for_people.contains("RESTS UNTIL") && for_people.contains(&opens_at), "{for_people}");
    assert!(story.contains("the gate at which it rests for bot opens (circuit open)"), "{story}");
}
