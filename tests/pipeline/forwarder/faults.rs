//! Rows that can never be enqueued as they are.

use forwarder::Step;
use serde_json::json;

use super::app::{App, write_as};

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
