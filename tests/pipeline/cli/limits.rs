//! How large a body may be: a source's own word, or its provider's.

use producer::BODY_LIMITS;
use providers::Provider;
use serde_json::json;

use super::{
    setup::{ADD_SOURCE, published},
    stores,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_source_takes_what_it_was_told_and_else_what_its_provider_sends_at_most() {
    let (_database, redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let of_provider = Provider::WhatsApp.body_limit();

    latchhook.json(ADD_SOURCE).await;
    let untold = latchhook.json("source show wa").await;
    latchhook.json(&format!("{ADD_SOURCE} --max-body 512KiB")).await;
    latchhook.json("source rotate wa --app-secret second").await;
    let told = latchhook.json("source show wa").await;
    let known = published(&latchhook, &redis).await[0].body_limit;
    latchhook.json(ADD_SOURCE).await;
    let untold_again = latchhook.json("source list").await;

    assert_eq!((&untold["body_limit"], &untold["max_body"]), (&json!(of_provider), &json!(null)));
    assert_eq!((&told["body_limit"], &told["max_body"], known), (&json!(524_288), &json!(524_288), Some(524_288)));
    assert_eq!(untold_again[0], untold);
    assert_eq!(published(&latchhook, &redis).await[0].body_limit, None);
    assert_eq!(latchhook.json("providers whatsapp").await["body_limit"], json!(of_provider));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_and_the_most_that_a_source_may_take_are_taken_and_what_is_beyond_is_refused_with_both() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;

    for most in [BODY_LIMITS.start(), BODY_LIMITS.end()] {
        latchhook.json(&format!("{ADD_SOURCE} --max-body {most}")).await;
        assert_eq!(latchhook.json("source show wa").await["max_body"], json!(most));
    }
    for beyond in [BODY_LIMITS.start() - 1, BODY_LIMITS.end() + 1] {
        let failure = latchhook.fails(&format!("{ADD_SOURCE} --max-body {beyond}")).await;
        assert!(failure.contains("1024 bytes (1KiB) to 33554432 (32MiB)"), "{failure}");
    }

    let failure = latchhook.fails(&format!("{ADD_SOURCE} --max-body 3MB")).await;
    assert!(failure.contains("it is no size: write 512KiB, 3MiB"), "{failure}");
    assert!(latchhook.fails("source show nobody").await.contains("there is no source nobody"));
}

/// Whoever writes to the table by hand is told by Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_no_limit_that_the_command_would_refuse() {
    let (database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    latchhook.json(ADD_SOURCE).await;
    let (sql, connection) = tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let set = async |most: u32| sql.batch_execute(&format!("UPDATE sources SET body_limit = {most}")).await;

    assert!(set(*BODY_LIMITS.start()).await.is_ok() && set(*BODY_LIMITS.end()).await.is_ok());
    assert!(set(BODY_LIMITS.start() - 1).await.is_err() && set(BODY_LIMITS.end() + 1).await.is_err());
}
