//! Repairing: retry, replay, discard. Each under the ids that there are, once, and written down.

use futures::future::join_all;
use serde_json::json;
use tests::{Pipeline, a_text};

use super::{CommandLine, came_to, made_due};

const ABANDON: &str = "UPDATE deliveries SET state = 'abandoned', finished_at = now(); DELETE FROM due";
const DELIVER: &str = "UPDATE deliveries SET state = 'delivered', finished_at = now(); DELETE FROM due";

async fn deeds(pipeline: &Pipeline) -> Vec<(String, String)> {
    let rows = pipeline.rows("SELECT action, detail FROM audit_log ORDER BY id", &[]).await;
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_delivery_is_due_again_under_the_same_id_on_a_persons_word() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.receive(a_text("wamid.2", "hello")).await;
    let before = latchhook.json("deliveries list").await;
    pipeline.execute(ABANDON).await;

    let planned = latchhook.json("deliveries retry --state abandoned --dry-run").await;
    assert_eq!(planned["wanted"], 2);
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 0, "a dry run changes nothing");

    let one = before[0]["webhook_id"].as_str().unwrap();
    assert_eq!(latchhook.json(&format!("deliveries retry {one}")).await, made_due(1, 1));
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE due_at <= now() AND lease IS NULL").await, 1);
    let rest = latchhook.json("deliveries retry --endpoint bot --since 1h").await;
    assert_eq!(rest, came_to("done", 1, 1));

    let after = latchhook.json("deliveries list").await;
    let ids = |rows: &serde_json::Value| {
        rows.as_array().unwrap().iter().map(|it| it["webhook_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&after), ids(&before));
    assert!(after.as_array().unwrap().iter().all(|it| it["state"] == "pending"));
    assert_eq!(
        deeds(&pipeline).await,
        [("deliveries retry".into(), String::new()), ("deliveries retry".into(), "retry 1".into())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_delivery_is_tried_at_once_unless_it_is_being_sent() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.receive(a_text("wamid.1", "hello")).await;

    pipeline.execute("UPDATE due SET due_at = now() + interval '1 hour', lease = 7, attempts = 3").await;
    let retry = async || {
        let ended = latchhook.json("deliveries retry --state pending").await;
        (ended["wanted"].as_i64().unwrap(), ended["due"].as_i64().unwrap())
    };
    assert_eq!(retry().await, (1, 0));
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE lease = 7 AND attempts = 3").await, 1);

    pipeline.execute("UPDATE due SET lease = NULL").await;
    assert_eq!(retry().await, (1, 1));
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE due_at <= now() AND attempts = 0").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_delivered_is_sent_again_when_it_is_replayed() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.execute(DELIVER).await;
    let id = latchhook.json("deliveries list").await[0]["webhook_id"].clone();

    assert!(
        latchhook.fails(&format!("deliveries retry {}", id.as_str().unwrap())).await.contains("abandoned or pending")
    );
    assert!(latchhook.fails("deliveries retry --state delivered").await.contains("latchhook events replay"));
    assert_eq!(latchhook.json("events replay wamid.1 --dry-run").await[0]["webhook_id"], id);
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 0);

    assert_eq!(latchhook.json("events replay wamid.1").await["due"], 1);

    let delivery = &latchhook.json("deliveries list").await[0];
    assert_eq!((&delivery["webhook_id"], &delivery["state"]), (&id, &json!("pending")));
    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 1);
    assert!(latchhook.fails("events replay wamid.1 --endpoint nobody").await.contains("owes nothing there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_settles_what_can_be_processed_by_now_and_records_it_once() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.execute("ALTER TABLE messages ADD CONSTRAINT bug CHECK (external_id <> 'wamid.1')").await;
    let stamp = pipeline.receive(a_text("wamid.1", "hello")).await;
    let id = latchhook.json("quarantine list").await[0]["ids"][0].to_string();
    assert_eq!(latchhook.json("quarantine replay --all --dry-run").await[0]["id"].to_string(), id);
    assert_eq!(pipeline.inbound.depth().await.unwrap().ready, 0, "a dry run pushes nothing");
    pipeline.execute("ALTER TABLE messages DROP CONSTRAINT bug").await;

    for _ in 0..2 {
        assert_eq!(latchhook.json(&format!("quarantine replay {id}")).await["replayed"], 1);
    }
    let for_people = latchhook.run("quarantine list --each").await.out;
    let again = [pipeline.take().await, pipeline.take().await];
    pipeline.worker.work(again.into()).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((1, 1, 0, true)));
    let closed = &latchhook.json("quarantine list --each --closed").await[0];
    assert_eq!(closed["resolution"], "settled");
    let replayed_at = closed["replayed_at"].as_str().unwrap();
    assert!(for_people.contains("REPLAYED AT") && for_people.contains(replayed_at), "{for_people}");
    assert!(latchhook.fails(&format!("quarantine replay {id}")).await.contains("was settled by a replay"));
    assert_eq!(deeds(&pipeline).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_replay_by_eight_people_at_once_records_the_item_once() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.execute("ALTER TABLE messages ADD CONSTRAINT bug CHECK (external_id <> 'wamid.1')").await;
    let stamp = pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.execute("ALTER TABLE messages DROP CONSTRAINT bug").await;

    join_all((0..8).map(|_| latchhook.json("quarantine replay --all"))).await;
    let mut working = Vec::new();
    for _ in 0..8 {
        let (worker, held) = (pipeline.another_worker(), pipeline.take().await);
        working.push(tokio::spawn(async move { worker.work(vec![held]).await }));
    }
    join_all(working).await;
    while pipeline.inbound.depth().await.unwrap().scheduled > 0 {
        pipeline.worker.work(vec![pipeline.take().await]).await;
    }

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.number("SELECT count(*) FROM deliveries").await, 1);
    assert_eq!(pipeline.receipt(&stamp).await, Some((1, 1, 0, true)));
    assert_eq!(latchhook.json("quarantine list").await, json!([]));
}

/// What is discarded while its replay is on its way is recorded all the same, and then nobody calls it discarded.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_a_discard_comes_between_is_settled_and_the_books_still_agree() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.execute("ALTER TABLE messages ADD CONSTRAINT bug CHECK (external_id <> 'wamid.1')").await;
    let stamp = pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.execute("ALTER TABLE messages DROP CONSTRAINT bug").await;

    latchhook.json("quarantine replay --all").await;
    latchhook.json("quarantine discard --all --reason 'too old'").await;
    let replay = pipeline.take().await;
    pipeline.worker.work(vec![replay]).await;

    assert_eq!(pipeline.keys().await, ["wamid.1"]);
    assert_eq!(pipeline.receipt(&stamp).await, Some((1, 1, 0, true)));
    let row = &latchhook.json("quarantine list --each --closed").await[0];
    assert_eq!((&row["resolution"], &row["note"]), (&json!("settled"), &json!("too old")));
    latchhook.run("audit").await.ended.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_whose_raw_event_has_not_ended_is_not_replayed_yet() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.receive("{not json").await;
    pipeline.execute("UPDATE receipts SET ended_at = NULL").await;

    let failure = latchhook.fails("quarantine replay --all").await;

    assert!(failure.contains("still being worked on"), "{failure}");
    assert_eq!(pipeline.inbound.depth().await.unwrap().ready, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_keeps_the_reason_and_the_bytes() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.receive("{not json").await;
    pipeline.receive("{nor this").await;
    let groups = latchhook.json("quarantine list").await;
    let reason = groups[0]["reason"].as_str().unwrap();

    assert!(latchhook.fails("quarantine discard --all").await.contains("--reason"));
    assert!(latchhook.fails("quarantine discard --all --reason ' '").await.contains("it is empty: say why"));
    assert!(latchhook.fails("quarantine discard 1 99 --reason test").await.contains("nothing was done"));
    let planned = latchhook.json(&format!("quarantine discard --group '{reason}' --reason test --dry-run")).await;
    assert_eq!(planned.as_array().unwrap().len(), 2);
    assert_eq!(latchhook.json("quarantine list").await, groups);

    let discarded = latchhook.json(&format!("quarantine discard --group '{reason}' --reason 'a test of theirs'")).await;

    assert_eq!(discarded["discarded"], 2);
    assert_eq!(latchhook.json("quarantine list").await, json!([]));
    let kept = latchhook.json(&format!("quarantine show {}", discarded["ids"][0])).await;
    assert_eq!((&kept["note"], &kept["raw_event"]["body"]["text"]), (&json!("a test of theirs"), &json!("{not json")));
    assert!(kept["closed_by"].as_str().unwrap().starts_with("cli:"), "{kept}");
    for line in [format!("replay {}", kept["id"]), format!("discard {} --reason again", kept["id"])] {
        let failure = latchhook.fails(&format!("quarantine {line}")).await;
        assert!(failure.contains("was discarded at") && failure.contains("(a test of theirs)"), "{failure}");
    }
    let closed = latchhook.run("quarantine list --each --closed").await.out;
    assert!(["discarded", "cli:", "a test of theirs"].iter().all(|word| closed.contains(word)), "{closed}");
    assert_eq!(latchhook.json("quarantine list --closed").await[0]["discarded"], 2);
    assert_eq!(deeds(&pipeline).await, [("quarantine discard".into(), "a test of theirs".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_told_of_nothing_names_every_way_to_tell_it() {
    let nothing = CommandLine { settings: Vec::new() };
    let add = "source add --provider whatsapp --account acme --name N";

    let quarantine = nothing.fails("quarantine replay").await;
    let deliveries = nothing.fails("deliveries retry").await;
    let source = nothing.fails(add).await;
    let rotation = nothing.fails("source rotate wa").await;

    let ways = "<ID|--group <REASON>|--source <ID>|--since <WHEN>|--all>";
    assert!(quarantine.contains(ways), "{quarantine}");
    let ways = "<WEBHOOK_ID|--state <STATE>|--endpoint <ID>|--event <ID>|--since <WHEN>|--until <WHEN>|--cause <CAUSE>|\
                --status <N>|--reason <WHY>>";
    assert!(deliveries.contains(ways), "{deliveries}");
    assert!(
        source.contains("needs --app-secret S, or --app-secret-file FILE (- for stdin): the app secret: "),
        "{source}"
    );
    let ways = "<--app-secret <S>|--app-secret-file <FILE>|--verify-token <T>|--verify-token-file <FILE>>";
    assert!(rotation.contains(ways), "{rotation}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_unknown_is_an_error_and_a_known_one_may_match_nothing() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.receive("{not json").await;
    let reason = latchhook.json("quarantine list").await[0]["reason"].as_str().unwrap().to_owned();
    latchhook.json("quarantine discard --all --reason test").await;

    let unknown = [
        ("quarantine replay --group nogroup", "there is no group 'nogroup'"),
        ("quarantine discard --source nosuch --reason test", "there is no source nosuch"),
        ("deliveries retry --endpoint nosuch", "there is no endpoint nosuch"),
        ("deliveries retry --event 00000000-0000-0000-0000-000000000000", "there is no event 00000000"),
    ];
    for (line, what) in unknown {
        let failure = latchhook.fails(line).await;
        assert!(failure.contains(what), "{failure}");
    }
    assert_eq!(latchhook.json(&format!("quarantine replay --group '{reason}' --source wa")).await["replayed"], 0);
    assert_eq!(latchhook.json("deliveries retry --endpoint bot").await["wanted"], 0);
}
