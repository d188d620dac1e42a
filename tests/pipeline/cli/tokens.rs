//! The tokens of a source: with which an app enqueues over HTTP.

use futures::future::join_all;
use serde_json::json;

use super::{
    CommandLine,
    setup::{ADD_SOURCE, published},
    stores,
};

async fn with_source() -> (tests::TestDatabase, tests::TestRedis, CommandLine) {
    let (database, redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    latchhook.json(ADD_SOURCE).await;
    (database, redis, latchhook)
}

/// The token that was printed.
fn token(printed: &serde_json::Value) -> String {
    printed["token"].as_str().unwrap().to_owned()
}

/// Which of these tokens the producers take now.
async fn taken(latchhook: &CommandLine, redis: &tests::TestRedis, tokens: &[&str]) -> Vec<bool> {
    let source = published(latchhook, redis).await.remove(0);
    tokens.iter().map(|token| source.tokens.iter().any(|hash| hash.is_of(token.as_bytes()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_printed_once_and_taken_by_the_producers_when_its_command_returns() {
    let (_database, redis, latchhook) = with_source().await;

    let first = latchhook.json("source token wa").await;
    let again = latchhook.fails("source token wa").await;

    assert_eq!((&first["tokens"], &first["path"]), (&json!(1), &json!("/v1/sources/wa/raw-events")));
    assert_eq!(taken(&latchhook, &redis, &[&token(&first), "lhtok_"]).await, [true, false]);
    assert!(again.contains("source wa has a token already: --rotate makes another beside it"), "{again}");
    let listed = latchhook.json("source list").await;
    assert_eq!(listed[0]["tokens"], 1);
    assert!(!listed.to_string().contains(&token(&first)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_keeps_the_newest_token_beside_the_new_one_and_ends_the_others() {
    let (_database, redis, latchhook) = with_source().await;
    let mut printed = vec![token(&latchhook.json("source token wa").await)];

    for _ in 0..2 {
        printed.push(token(&latchhook.json("source token wa --rotate").await));
    }

    let tokens: Vec<&str> = printed.iter().map(String::as_str).collect();
    assert_eq!(taken(&latchhook, &redis, &tokens).await, [false, true, true]);
    latchhook.json(&ADD_SOURCE.replace("first", "second")).await;
    assert_eq!(taken(&latchhook, &redis, &tokens).await, [false, true, true], "setting up again leaves them");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_revoked_end_at_once_and_another_first_may_follow() {
    let (_database, redis, latchhook) = with_source().await;
    let first = token(&latchhook.json("source token wa").await);

    let revoked = latchhook.json("source token wa --revoke").await;
    let after = taken(&latchhook, &redis, &[&first]).await;
    let second = token(&latchhook.json("source token wa").await);

    assert_eq!((&revoked["token"], &revoked["tokens"], after), (&json!(null), &json!(0), vec![false]));
    assert_eq!(taken(&latchhook, &redis, &[&first, &second]).await, [false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_first_tokens_at_the_same_time_one_is_made() {
    let (_database, redis, latchhook) = with_source().await;

    let made = join_all((0..8).map(|_| latchhook.run("source token wa"))).await;

    let printed = made.iter().filter(|ran| ran.out.contains("lhtok_")).count();
    assert_eq!((printed, published(&latchhook, &redis).await[0].tokens.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_refused_in_a_line_that_says_what_to_do() {
    let (_database, _redis, latchhook) = with_source().await;

    let nobody = latchhook.fails("source token nobody --rotate").await;
    let both = latchhook.fails("source token wa --rotate --revoke").await;

    assert!(nobody.contains("there is no source nobody: latchhook source list names them"), "{nobody}");
    assert!(both.contains("cannot be used with"), "{both}");
}
