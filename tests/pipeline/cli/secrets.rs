//! Secrets of endpoints: made or brought, shown once, rotated, and never two rotations lost to each other.

use chrono::{DateTime, TimeDelta, Utc};
use dispatcher::signing::SigningSecret;
use futures::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{CommandLine, stores};

const ADD: &str = "endpoint add --account acme --url http://127.0.0.1:9000/hook --events * --id bot";

async fn with_endpoint() -> (tests::TestDatabase, tests::TestRedis, CommandLine, String) {
    let (database, redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let secret = latchhook.json(ADD).await["secret"].as_str().unwrap().to_owned();
    (database, redis, latchhook, secret)
}

async fn secrets(latchhook: &CommandLine) -> Vec<Value> {
    latchhook.json("endpoint show bot").await["secrets"].as_array().unwrap().clone()
}

/// Whether a secret ends in a day, a minute more or less.
fn ends_in_a_day(secret: &Value) -> bool {
    let ends: DateTime<Utc> = secret["ends_at"].as_str().unwrap().parse().unwrap();
    (ends - Utc::now() - TimeDelta::hours(24)).abs() < TimeDelta::minutes(1)
}

fn public_key(secret: &str) -> Option<String> {
    SigningSecret::parse(&secret.to_owned().into()).unwrap().public_key().map(|key| key.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rotation_prints_its_secret_once_and_lets_the_others_sign_for_a_day() {
    let (_database, _redis, latchhook, first) = with_endpoint().await;

    let second = latchhook.json("endpoint rotate bot").await;
    let third = latchhook.json("endpoint rotate bot --ed25519").await;

    let printed = [&second, &third].map(|rotated| rotated["secret"].as_str().unwrap().to_owned());
    assert!(printed[0].starts_with("whsec_") && printed[1].starts_with("whsk_") && printed[0] != first);
    assert_eq!((&second["public_key"], &second["secrets"]), (&json!(null), &json!(2)));
    assert_eq!((&third["public_key"], &third["secrets"]), (&json!(public_key(&printed[1])), &json!(3)));
    let shown = secrets(&latchhook).await;
    assert_eq!(shown.iter().map(|it| it["scheme"].clone()).collect::<Vec<_>>(), ["v1", "v1", "v1a"]);
    assert!(ends_in_a_day(&shown[0]) && ends_in_a_day(&shown[1]));
    assert_eq!((&shown[2]["ends_at"], &shown[2]["public_key"]), (&json!(null), &third["public_key"]));
    let text = latchhook.run("endpoint show bot").await.out;
    assert!(text.contains(&format!("v1a {}", third["public_key"].as_str().unwrap())), "{text}");
    for secret in [&first, &printed[0], &printed[1]] {
        assert!(!text.contains(secret) && !json!(shown).to_string().contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_shortens_an_overlap_but_never_makes_one_longer_and_drops_what_has_ended() {
    let (_database, _redis, latchhook, _) = with_endpoint().await;
    let overlaps = async |times: &str| {
        latchhook.json(&format!("endpoint rotate bot --overlap {times}")).await;
        let ends = |secret: &Value| secret["ends_at"].as_str().map(|at| at.parse::<DateTime<Utc>>().unwrap());
        let left = |at: DateTime<Utc>| (at - Utc::now() + TimeDelta::minutes(1)).num_hours();
        secrets(&latchhook).await.iter().map(|secret| ends(secret).map(left)).collect::<Vec<_>>()
    };

    assert_eq!(overlaps("2h").await, [Some(2), None]);
    assert_eq!(overlaps("9h").await, [Some(2), Some(9), None]);
    assert_eq!(overlaps("1h").await, [Some(1), Some(1), Some(1), None]);
    assert_eq!(overlaps("0s").await, [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_rotations_at_the_same_time_none_is_lost() {
    let (_database, _redis, latchhook, _) = with_endpoint().await;

    let rotated = join_all((0..8).map(|_| latchhook.json("endpoint rotate bot"))).await;

    let mut counts: Vec<_> = rotated.iter().map(|it| it["secrets"].as_u64().unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(secrets(&latchhook).await.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_ten_secrets_sign_and_the_refusal_leaves_them_as_they_are() {
    let (_database, _redis, latchhook, _) = with_endpoint().await;
    for _ in 0..9 {
        latchhook.json("endpoint rotate bot").await;
    }
    let before = secrets(&latchhook).await;

    let failure = latchhook.fails("endpoint rotate bot").await;

    assert!(failure.contains("endpoint bot keeps the secrets that it has: it has 10 secrets"), "{failure}");
    assert!(failure.contains("(--overlap 0s)"), "{failure}");
    assert_eq!((before.len(), secrets(&latchhook).await), (10, before));
    assert_eq!(latchhook.json("endpoint rotate bot --overlap 0s").await["secrets"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_may_bring_a_secret_and_it_is_not_printed_back() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let (symmetric, asymmetric) = (SigningSecret::generate(), SigningSecret::generate_ed25519());
    let (symmetric, asymmetric) = (symmetric.expose_secret(), asymmetric.expose_secret());
    let dir = latchhook::servers::ScratchDir::new().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, format!("{asymmetric}\n")).unwrap();

    let added = latchhook.json(&format!("{ADD} --secret {symmetric}")).await;
    let rotated = latchhook.json(&format!("endpoint rotate bot --secret-file {}", file.display())).await;
    let again = latchhook.json(&format!("endpoint rotate bot --secret-file {}", file.display())).await;

    for printed in [&added, &rotated, &again] {
        assert_eq!(printed["secret"], json!(null));
    }
    assert_eq!(rotated["public_key"], json!(public_key(asymmetric)));
    assert_eq!((&rotated["secrets"], &again["secrets"]), (&json!(2), &json!(2)), "the same secret is there once");
    let shown = secrets(&latchhook).await;
    assert!(shown[0]["scheme"] == "v1" && ends_in_a_day(&shown[0]));
    assert_eq!((&shown[1]["scheme"], &shown[1]["ends_at"]), (&json!("v1a"), &json!(null)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_may_begin_with_ed25519_and_adding_it_again_changes_no_secret() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;

    let added = latchhook.json(&format!("{ADD} --ed25519")).await;
    let again = latchhook.json(&format!("{ADD} --ed25519")).await;

    assert_eq!(added["public_key"], json!(public_key(added["secret"].as_str().unwrap())));
    assert_eq!((&again["secret"], &again["public_key"]), (&json!(null), &json!(null)));
    let shown = secrets(&latchhook).await;
    assert_eq!((shown.len(), &shown[0]["public_key"]), (1, &added["public_key"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_secret_is_refused_in_a_line_that_says_what_one_is() {
    let (_database, _redis, latchhook, _) = with_endpoint().await;
    let before = secrets(&latchhook).await;

    let refusals = [
        ("rotate nobody", "there is no endpoint nobody"),
        ("rotate bot --secret ''", "--secret holds no secret: it is empty"),
        ("rotate bot --secret swordfish", "a signing secret begins with whsec_ (v1) or whsk_ (v1a, ed25519)"),
        ("rotate bot --secret whsec_c2hvcnQ=", "24 to 64 bytes in base64"),
        ("rotate bot --secret whpk_c2hvcnQ=", "whpk_ is the public side, which signs nothing"),
        ("rotate bot --secret-file /nowhere", "no secret can be read from /nowhere"),
        ("rotate bot --secret a --ed25519", "cannot be used with"),
        ("rotate bot --secret a --secret-file b", "cannot be used with"),
        ("rotate bot --overlap 2years", "an overlap is a year at most"),
    ];

    for (line, what) in refusals {
        let failure = latchhook.fails(&format!("endpoint {line}")).await;
        assert!(failure.contains(what), "{failure}");
    }
    assert_eq!(secrets(&latchhook).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_the_master_key_sees_how_many_secrets_there_are_and_when_they_end() {
    let (_database, _redis, latchhook, _) = with_endpoint().await;
    latchhook.json("endpoint rotate bot").await;
    let without_key = latchhook.settings.iter().filter(|flag| !flag.starts_with("--master-key=")).cloned();
    let without_key = CommandLine { settings: without_key.collect() };

    let shown = secrets(&without_key).await;

    assert_eq!((shown.len(), &shown[0]["scheme"]), (2, &json!(null)));
    assert!(ends_in_a_day(&shown[0]));
}
