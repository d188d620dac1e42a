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
    assert_eq!(named, json!({"wanted": 1, "due": 0, "waiting_in_lane": 0, "held": 1}));
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
