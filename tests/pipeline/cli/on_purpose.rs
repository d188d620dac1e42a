//! What was given up on purpose stays given up: a retry of many takes it when its reason is named, and never by the way.

use serde_json::{Value, json};
use tests::{Pipeline, a_text};
use tokio::process::Command;

use super::{CommandLine, came_to, causes::four_abandoned, made_due};

/// Four that were given up by their schedules, one by what its endpoint gives up on, and two on a person's word, of which one
/// may have been sent.
async fn seven_abandoned(pipeline: &Pipeline, latchhook: &CommandLine) {
    four_abandoned(pipeline).await;
    for key in ["wamid.5", "wamid.6", "wamid.7"] {
        pipeline.receive(a_text(key, "hello")).await;
    }
    let of = |key| format!("endpoint_id = 'bot' AND event_id = (SELECT id FROM events WHERE key = '{key}')");
    let given_up = "state = 'abandoned', finished_at = now(), abandoned_reason = 'give-up-on 422'";
    pipeline
        .execute(&format!(
            "UPDATE deliveries SET {given_up} WHERE {}; DELETE FROM due WHERE {} OR endpoint_id = 'other'; \
             UPDATE deliveries SET state = 'delivered', finished_at = now() WHERE state = 'pending' AND endpoint_id = 'other'; \
             UPDATE due SET lease = 7 WHERE {}",
            of("wamid.5"),
            of("wamid.5"),
            of("wamid.6"),
        ))
        .await;
    latchhook.json("deliveries abandon --endpoint bot --reason 'their server is gone'").await;
}

fn counts(causes: &Value) -> u64 {
    causes.as_array().unwrap().iter().map(|cause| cause["count"].as_u64().unwrap()).sum()
}

/// The reasons of what is abandoned still, with how many have each.
async fn still_abandoned(pipeline: &Pipeline) -> Vec<(Option<String>, i64)> {
    let query = "SELECT split_part(abandoned_reason, ' (', 1), count(*) FROM deliveries WHERE state = 'abandoned' \
                 GROUP BY 1 ORDER BY 1";
    pipeline.rows(query, &[]).await.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_leaves_out_what_was_given_up_on_purpose_and_says_how_much_and_how_to_take_it() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    seven_abandoned(&pipeline, &latchhook).await;

    let plan = latchhook.json("deliveries retry --since 1h --dry-run").await;
    let said = Command::new(tests::binary())
        .args(["deliveries", "retry", "--since=1h", "--dry-run"])
        .args(&latchhook.settings)
        .output();
    let said = String::from_utf8(said.await.unwrap().stderr).unwrap();
    let ended = latchhook.json("deliveries retry --since 1h").await;

    assert_eq!((&plan["wanted"], counts(&plan["causes"]), counts(&plan["left_out"])), (&json!(4), 4, 3));
    for words in [
        "would make 4 deliveries due",
        "1 are left out: given up on purpose; to take them: --reason 'give-up-on 422'",
        "2 are left out: given up on purpose; to take them: --reason 'their server is gone'",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(ended, came_to("done", 4, 4));
    let left = [(Some("give-up-on 422".to_owned()), 1), (Some("their server is gone".to_owned()), 2)];
    assert_eq!(still_abandoned(&pipeline).await, left);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_on_purpose_is_taken_by_its_reason_and_nothing_else_with_it() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    seven_abandoned(&pipeline, &latchhook).await;

    let plan = latchhook.json("deliveries retry --reason 'give-up-on 422' --reason nothing --dry-run").await;
    let by_hand = latchhook.json("deliveries retry --endpoint bot --reason 'their server is gone'").await;
    let again = latchhook.json("deliveries retry --endpoint bot --reason 'their server is gone'").await;

    assert_eq!((&plan["wanted"], &plan["causes"][0]["abandoned_reason"]), (&json!(1), &json!("give-up-on 422")));
    assert_eq!(plan["left_out"], json!([]));
    assert_eq!(by_hand, came_to("done", 2, 2), "what may have been sent too");
    assert_eq!((&again["wanted"], &again["state"]), (&json!(0), &json!("done")));
    assert_eq!(still_abandoned(&pipeline).await, [(Some("give-up-on 422".to_owned()), 1), (None, 4)]);
    assert_eq!(
        pipeline.number("SELECT count(*) FROM deliveries WHERE state = 'pending' AND abandoned_reason IS NULL").await,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_on_purpose_is_taken_by_its_id() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    seven_abandoned(&pipeline, &latchhook).await;
    let id: String =
        pipeline.rows("SELECT webhook_id FROM deliveries WHERE abandoned_reason = 'give-up-on 422'", &[]).await[0]
            .get(0);

    let said = latchhook.json(&format!("deliveries retry {id}")).await;

    assert_eq!(said, made_due(1, 1));
    assert_eq!(still_abandoned(&pipeline).await, [(Some("their server is gone".to_owned()), 2), (None, 4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_that_nothing_can_have_is_refused() {
    let nothing = CommandLine { settings: Vec::new() };
    let refused = [
        ("deliveries retry --reason ' '", "--reason is empty: write one as latchhook deliveries summary shows it"),
        (
            "deliveries retry --state pending --reason gone",
            "--reason is why something was abandoned: leave --state out",
        ),
        ("deliveries retry msg_1 --reason gone", "cannot be used with"),
    ];

    for (line, what) in refused {
        let failure = nothing.fails(line).await;
        assert!(failure.contains(what), "{failure}");
    }
}
