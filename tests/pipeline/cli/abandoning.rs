//! Giving up what is owed, on a person's word: for a reason that stays in sight, a page at a time, and never for good.

use futures::future::join;
use serde_json::{Value, json};
use tests::{Pipeline, a_text};

use super::{CommandLine, audit::a_store_that_is_right, came_to};

const GONE: &str = "deliveries abandon --endpoint bot --reason 'their server is gone'";

async fn two_owed(pipeline: &Pipeline) {
    for key in ["wamid.1", "wamid.2"] {
        pipeline.receive(a_text(key, "hello")).await;
    }
}

/// So many deliveries, pending, with ids in their order.
async fn owed(pipeline: &Pipeline, count: usize) {
    pipeline
        .execute(&format!(
            "INSERT INTO deliveries (event_id, endpoint_id, webhook_id) \
             SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'bot', 'msg_' || n \
             FROM generate_series(1, {count}) n; \
             INSERT INTO due (event_id, endpoint_id) SELECT event_id, endpoint_id FROM deliveries"
        ))
        .await;
}

fn done(wanted: u64, abandoned: u64) -> Value {
    json!({"wanted": wanted, "abandoned": abandoned, "delivered": 0, "unrecorded": 0, "left_alone": wanted - abandoned})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_gives_up_keeps_the_reason_wherever_one_looks() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    two_owed(&pipeline).await;

    let planned = latchhook.json(&format!("{GONE} --dry-run")).await;
    assert_eq!((&planned[0]["count"], pipeline.number("SELECT count(*) FROM due").await), (&json!(2), 2));
    assert_eq!(latchhook.json(GONE).await, done(2, 2));

    let listed = latchhook.json("deliveries list --state abandoned").await;
    let for_people = latchhook.run("deliveries list").await.out;
    let summary = latchhook.json("deliveries summary").await;
    let story = latchhook.run("events show wamid.1").await.out;
    assert_eq!(listed[1]["abandoned_reason"], "their server is gone");
    assert!(for_people.contains("ABANDONED REASON") && for_people.contains("their server is gone"), "{for_people}");
    assert_eq!((&summary[0]["abandoned_reason"], &summary[0]["count"]), (&json!("their server is gone"), &json!(2)));
    assert!(story.contains("abandoned for bot, on purpose: their server is gone"), "{story}");
    let deed = &pipeline.rows("SELECT action, detail, target FROM audit_log", &[]).await[0];
    assert_eq!((deed.get(0), deed.get(1)), ("deliveries abandon", "their server is gone"));
    assert_eq!(deed.get::<_, &str>(2).split(' ').count(), 2);
    latchhook.run("audit").await.ended.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_for_different_reasons_is_counted_apart() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    two_owed(&pipeline).await;
    let listed = latchhook.json("deliveries list").await;
    let [one, other] = [0, 1].map(|row| listed[row]["webhook_id"].as_str().unwrap());

    latchhook.json(&format!("deliveries abandon {one} --reason 'a test'")).await;
    latchhook.json(&format!("deliveries abandon {other} --reason 'sent by hand'")).await;

    let summary = latchhook.json("deliveries summary").await;
    let mut reasons: Vec<_> = summary.as_array().unwrap().iter().map(|row| &row["abandoned_reason"]).collect();
    reasons.sort_by_key(|reason| reason.to_string());
    assert_eq!(reasons, [&json!("a test"), &json!("sent by hand")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_disabled_endpoint_is_owed_can_be_given_up() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    two_owed(&pipeline).await;
    latchhook.json("endpoint disable bot").await;
    pipeline.execute("UPDATE due SET lease = 7 WHERE event_id = (SELECT min(event_id::text)::uuid FROM due)").await;

    let said = latchhook.json(GONE).await;

    assert_eq!(said, json!({"wanted": 2, "abandoned": 2, "delivered": 0, "unrecorded": 1, "left_alone": 0}));
    assert_eq!(latchhook.json("endpoint show bot").await["pending"], 0);
    let doubts = "SELECT count(*) FROM deliveries WHERE abandoned_reason LIKE 'their server is gone (its last lease %'";
    assert_eq!(pipeline.number(doubts).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_being_sent_again_is_delivered_when_it_is_given_up_and_counted_apart() {
    let pipeline = a_store_that_is_right().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.execute("UPDATE deliveries SET finished_at = now() - interval '1 hour' WHERE state = 'delivered'").await;
    let delivered = latchhook.json("deliveries list --state delivered").await;
    latchhook.json("endpoint disable bot").await;
    let again = latchhook.json("deliveries retry --state delivered --endpoint bot --since 2h").await;
    let (planned, noted) = latchhook.told("deliveries abandon --endpoint bot --reason x --dry-run").await;

    let said = latchhook.json("deliveries abandon --endpoint bot --reason 'not again'").await;

    assert_eq!((&again["held"], latchhook.json("deliveries list --state delivered").await), (&json!(1), delivered));
    assert_eq!(said, json!({"wanted": 3, "abandoned": 2, "delivered": 1, "unrecorded": 0, "left_alone": 0}));
    let counts =
        |name: &str| planned.as_array().unwrap().iter().map(|cause| cause[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((counts("count"), counts("sent_again")), (3, 1), "{planned}");
    for words in ["would abandon 2 deliveries", "would leave 1 more delivered, as before: their customer has them"] {
        assert!(noted.contains(words), "{words}: {noted}");
    }
    let retried = latchhook.json("deliveries retry --endpoint bot --reason 'not again'").await;
    assert_eq!(retried["wanted"], 2);
    latchhook.run("audit").await.ended.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_what_is_only_being_sent_again_is_told_beforehand_that_it_would_stay_delivered() {
    let pipeline = a_store_that_is_right().await;
    let latchhook = CommandLine::of(&pipeline);
    let delivered = latchhook.json("deliveries list --state delivered").await;
    let id = delivered[0]["webhook_id"].as_str().unwrap();
    latchhook.json("deliveries retry --state delivered --endpoint bot --since 2h").await;

    let (planned, noted) = latchhook.told(&format!("deliveries abandon {id} --reason x --dry-run")).await;

    assert_eq!(planned[0]["was_delivered_at"], delivered[0]["finished_at"]);
    for words in ["would abandon 0 deliveries", "would leave 1 more delivered, as before"] {
        assert!(noted.contains(words), "{words}: {noted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_retried_when_its_reason_is_named_and_the_reason_goes() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    two_owed(&pipeline).await;
    latchhook.json(GONE).await;

    let ended = latchhook.json("deliveries retry --state abandoned --reason 'their server is gone'").await;

    assert_eq!(ended, came_to("done", 2, 2));
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE due_at <= now()").await, 2);
    assert_eq!(pipeline.number("SELECT count(abandoned_reason) FROM deliveries").await, 0);
    latchhook.run("audit").await.ended.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_up_without_a_reason_or_without_saying_what() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    two_owed(&pipeline).await;
    let long = "x".repeat(501);
    let refused = [
        ("deliveries abandon --endpoint bot".to_owned(), "--reason <WHY>"),
        ("deliveries abandon --endpoint bot --reason ' '".to_owned(), "it is empty: say why"),
        (format!("deliveries abandon --endpoint bot --reason {long}"), "at most 500 bytes, not 501"),
        ("deliveries abandon --reason test".to_owned(), "<WEBHOOK_ID|--state <STATE>|--endpoint <ID>"),
        ("deliveries abandon --state delivered --reason test".to_owned(), "only what is pending can be given up"),
        ("deliveries abandon --endpoint nosuch --reason test".to_owned(), "there is no endpoint nosuch"),
        ("deliveries abandon --state pending --reason test".to_owned(), "say whose deliveries are given up"),
        ("deliveries abandon --status 500 --until 1h --reason test".to_owned(), "say whose deliveries are given up"),
        ("deliveries abandon msg_1 --reason test".to_owned(), "none of these is a delivery that is pending"),
    ];

    for (line, what) in refused {
        let failure = latchhook.fails(&line).await;
        assert!(failure.contains(what), "{failure}");
    }
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 2);
}

/// A page is a thousand. It waits for the last of the first page, and meanwhile one more is committed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_after_the_word_is_not_given_up() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    owed(&pipeline, 1_001).await;
    let hold = "BEGIN; SELECT FROM due WHERE event_id = '00000000-0000-7000-8000-000000001000' FOR UPDATE";
    pipeline.execute(hold).await;
    let meanwhile = async {
        pipeline.somebody_waits_for_us().await;
        pipeline.receive(a_text("wamid.1", "hello")).await;
        pipeline.execute("COMMIT").await;
    };

    let (said, ()) = join(latchhook.json(GONE), meanwhile).await;

    assert_eq!(said, done(1_001, 1_001));
    assert_eq!(pipeline.number("SELECT count(*) FROM due JOIN events ON id = event_id WHERE key = 'wamid.1'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_has_given_up_whole_pages_and_who_repeats_the_word_goes_on() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    owed(&pipeline, 1_500).await;
    let hold = "BEGIN; SELECT FROM due WHERE event_id = '00000000-0000-7000-8000-000000001200' FOR UPDATE";
    pipeline.execute(hold).await;

    let abandon = ["deliveries", "abandon", "--endpoint=bot", "--reason=their server is gone"];
    latchhook.killed_while_it_waits(&pipeline, &abandon).await;
    let before = pipeline.number("SELECT count(*) FROM deliveries WHERE state = 'abandoned'").await;
    let repeated = latchhook.json(GONE).await;

    assert_eq!((before, repeated), (1_000, done(500, 500)));
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 0);
    let written_down =
        "SELECT count(DISTINCT webhook_id) FROM audit_log, unnest(string_to_array(target, ' ')) AS webhook_id";
    assert_eq!(pipeline.number(written_down).await, 1_500);
}
