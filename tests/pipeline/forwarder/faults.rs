//! Rows that can never be enqueued as they are, and rows that the app's database does not let go.

use database::Database;
use forwarder::{ForwardError, Forwarder, Step};
use serde_json::json;

use super::app::{App, now, write_as};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_can_never_be_enqueued_is_put_aside_and_blocks_nothing_but_its_own_key() {
    let app = App::new().await;
    write_as(&app.sql, "nobody", Some("a"), "of an unknown source", &json!({})).await;
    write_as(&app.sql, "wa", Some("b"), "with a list of headers", &json!([])).await;
    let large =
        "INSERT INTO latchhook_outbox (source_id, body) VALUES ('wa', convert_to(repeat('x', 34000000), 'UTF8'))";
    app.sql.batch_execute(large).await.unwrap();
    app.write(Some("b"), "behind it").await;
    app.write(Some("a"), "of another source").await;
    app.write(None, "of no key").await;

    let step = app.forward().await.unwrap();

    assert_eq!(step, Step::Forwarded { rows: 2, failed: 3 });
    assert_eq!(app.queued_bodies().await, ["of another source", "of no key"]);
    let reasons = app.reasons().await;
    assert_eq!(reasons.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(reasons[0].1.starts_with("there is no enabled source \"nobody\""), "{reasons:?}");
    assert!(reasons[1].1.starts_with("headers must be one JSON object"), "{reasons:?}");
    assert!(reasons[2].1.starts_with("the body has 34000000 bytes"), "{reasons:?}");
    assert_eq!(app.forward().await.unwrap(), Step::Idle, "what is behind a failed row waits with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_larger_than_its_source_takes_waits_for_a_larger_limit_and_for_nobody_else() {
    let app = App::new().await;
    app.has_source("small", "whatsapp", Some(2048), &json!({})).await;
    let (fits, above) = ("x".repeat(2048), "x".repeat(2049));
    write_as(&app.sql, "small", Some("a"), &above, &json!({})).await;
    write_as(&app.sql, "small", Some("a"), "behind it", &json!({})).await;
    write_as(&app.sql, "small", Some("b"), &fits, &json!({})).await;
    write_as(&app.sql, "wa", Some("a"), &above, &json!({})).await;

    let first = app.forward().await.unwrap();
    let (reasons, queued) = (app.reasons().await, app.queued_bodies().await);
    app.has_source("small", "whatsapp", Some(4096), &json!({})).await;
    app.sql.batch_execute("UPDATE latchhook_outbox SET error = NULL, failed_at = NULL").await.unwrap();
    let second = app.forward().await.unwrap();

    let steps = [Step::Forwarded { rows: 2, failed: 1 }, Step::Forwarded { rows: 2, failed: 0 }];
    let why = "the body has 2049 bytes, of 2048 that this source takes: give it a larger --max-body and retry, or delete the row";
    assert_eq!(([first, second], reasons), (steps, vec![(1, why.to_owned())]));
    assert_eq!(queued, [fits.as_str(), &above]);
    assert_eq!(app.queued_bodies().await, [&fits, &above, &above, "behind it"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_take_more_than_any_provider_sends_of_the_outbox_too() {
    let app = App::new().await;
    app.has_source("large", "whatsapp", Some(*producer::BODY_LIMITS.end()), &json!({})).await;
    let large = "INSERT INTO latchhook_outbox (source_id, body) SELECT 'large', convert_to(repeat('x', bytes), 'UTF8') \
                 FROM unnest(ARRAY[(32 << 20) + 1, 26 << 20]) bytes";
    app.sql.batch_execute(large).await.unwrap();

    let step = app.forward().await.unwrap();

    assert_eq!(step, Step::Forwarded { rows: 1, failed: 1 });
    assert_eq!(app.queued().await[0].body.len(), 26 << 20);
    assert!(app.reasons().await[0].1.starts_with("the body has 33554433 bytes, of 33554432 that"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_aside_goes_before_what_waited_for_it_once_it_is_tried_again() {
    let app = App::new().await;
    for body in ["first", "second"] {
        write_as(&app.sql, "late", Some("a"), body, &json!({})).await;
    }
    app.forward().await.unwrap();

    app.pipeline.add_source("acme", "late").await;
    app.publish_sources().await;
    assert_eq!(app.forward().await.unwrap(), Step::Idle, "only a person's word has it tried again");
    app.sql.batch_execute("UPDATE latchhook_outbox SET error = NULL, failed_at = NULL").await.unwrap();
    app.forward().await.unwrap();

    assert_eq!(app.queued_bodies().await, ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_source_is_as_good_as_none_to_the_outbox() {
    let app = App::new().await;
    app.pipeline.execute("UPDATE sources SET enabled = false, revision = revision + 1000").await;
    app.publish_sources().await;
    app.write(None, "of a disabled source").await;

    let step = app.forward().await.unwrap();

    assert_eq!((step, app.queued_bodies().await), (Step::Forwarded { rows: 0, failed: 1 }, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_which_no_text_can_be_made_are_put_aside_and_block_nothing() {
    let app = App::new().await;
    let of = |characters: u32| {
        format!(
            "INSERT INTO latchhook_outbox (source_id, body, headers) \
             VALUES ('wa', '', jsonb_build_object('a', repeat(chr(1), {characters})))"
        )
    };
    let refused = app.sql.batch_execute(&of(300_000)).await.unwrap_err();
    // As tables are that an earlier version has made.
    let unchecked = "ALTER TABLE latchhook_outbox DROP CONSTRAINT latchhook_outbox_headers_have_at_most_256_kib";
    app.sql.batch_execute(unchecked).await.unwrap();
    for characters in [180_000_000, 20_000_000, 65_536] {
        app.sql.batch_execute(&of(characters)).await.unwrap();
    }
    app.write(None, "behind it").await;

    let step = app.forward().await.unwrap();

    assert!(refused.as_db_error().unwrap().message().contains("headers_have_at_most_256_kib"), "{refused:?}");
    assert_eq!(
        (step, app.queued_bodies().await),
        (Step::Forwarded { rows: 1, failed: 3 }, vec!["behind it".to_owned()])
    );
    let why = "headers must be one JSON object of texts, of at most 65536 characters";
    assert_eq!(app.reasons().await, [2, 3, 4].map(|id| (id, why.to_owned())));
}

/// A trigger has Postgres do nothing, and say nothing of that.
async fn keep_rows_from(app: &App, statement: &str) {
    let keep = format!(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER keep BEFORE {statement} ON latchhook_outbox FOR EACH ROW EXECUTE FUNCTION keep()"
    );
    app.sql.batch_execute(&keep).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_keeps_in_the_outbox_is_not_enqueued_until_it_lets_go() {
    let app = App::new().await;
    keep_rows_from(&app, "DELETE").await;
    app.write(None, "kept").await;

    let kept = app.forward().await.unwrap_err();
    let queued = app.queued_bodies().await;
    app.sql.batch_execute("DROP TRIGGER keep ON latchhook_outbox").await.unwrap();
    let step = app.forward().await.unwrap();

    assert!(matches!(kept, ForwardError::Withheld { done: "deleted", first: 1, rows: 1, changed: 0 }), "{kept:?}");
    assert_eq!((queued, step), (vec![], Step::Forwarded { rows: 1, failed: 0 }));
    assert_eq!(app.queued_bodies().await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_keeps_from_being_put_aside_is_said_and_stays_with_all_that_was_read_with_it() {
    let app = App::new().await;
    keep_rows_from(&app, "UPDATE").await;
    app.write(None, "good").await;
    write_as(&app.sql, "nobody", None, "of no source", &json!({})).await;

    let kept = app.forward().await.unwrap_err();

    assert!(matches!(kept, ForwardError::Withheld { done: "updated", first: 2, rows: 1, changed: 0 }), "{kept:?}");
    assert_eq!((app.queued_bodies().await, app.outbox().await.len()), (vec![], 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_keeps_in_the_outbox_is_not_enqueued_until_it_lets_go() {
    let app = App::new().await;
    let policies = "ALTER TABLE latchhook_outbox ENABLE ROW LEVEL SECURITY; \
                    CREATE POLICY see ON latchhook_outbox FOR SELECT USING (true); \
                    CREATE POLICY lock ON latchhook_outbox FOR UPDATE USING (true)";
    app.sql.batch_execute(policies).await.unwrap();
    let outbox = app.as_another_role("SELECT, UPDATE, DELETE").await;
    let forwarder = Forwarder::new(Database::for_outbox(&outbox, 2).unwrap(), &app.pipeline.redis);
    app.write(None, "kept").await;

    let kept = forwarder.forward(now()).await.unwrap_err();
    let queued = app.queued_bodies().await;
    app.sql.batch_execute("CREATE POLICY forward ON latchhook_outbox FOR DELETE USING (true)").await.unwrap();
    let step = forwarder.forward(now()).await.unwrap();

    assert!(matches!(kept, ForwardError::Withheld { rows: 1, changed: 0, .. }), "{kept:?}");
    assert_eq!((queued, step), (vec![], Step::Forwarded { rows: 1, failed: 0 }));
}
