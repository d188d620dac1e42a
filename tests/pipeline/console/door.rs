//! Who is let in, and what the others are told.

use std::process::Command;

use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::Value;
use tests::{Process, binary};

use crate::setting::{Setting, TOKEN};

async fn answer(setting: &Setting, path: &str, authorizations: &[&str]) -> (StatusCode, String) {
    let response = setting.get(path, authorizations).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let error = serde_json::from_slice(&body).ok().and_then(|body: Value| body["error"].as_str().map(str::to_owned));
    (status, error.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_show_the_token_is_told_how_and_nothing_else() {
    let setting = Setting::new().await;
    let (good, wrong) = (format!("Bearer {TOKEN}"), format!("Bearer {TOKEN}x"));

    for shown in [&[][..], &[&*wrong], &["Bearer"], &["Basic dXNlcjpzZWNyZXQ="], &[&*good, &*good]] {
        for endpoint in ["bot", "nobody"] {
            let (status, error) = answer(&setting, &format!("/v1/endpoints/{endpoint}/stream"), shown).await;

            assert_eq!(status, StatusCode::UNAUTHORIZED, "{shown:?}");
            assert!(error.contains("Authorization: Bearer"), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_not_there_has_no_stream() {
    let setting = Setting::new().await;

    for endpoint in ["nobody", "a%20b", "%ff"] {
        let shown = format!("Bearer {TOKEN}");
        let (status, error) = answer(&setting, &format!("/v1/endpoints/{endpoint}/stream"), &[&shown]).await;

        assert_eq!(status, StatusCode::NOT_FOUND, "{endpoint}");
        assert!(error.contains("no such endpoint"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_the_process_needs_no_token() {
    let setting = Setting::new().await;

    let (status, _) = answer(&setting, "/healthz", &[]).await;

    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_without_a_token_does_not_start_and_says_how_to_make_one() {
    let setting = Setting::new().await;
    let pipeline = &setting.pipeline;
    let starting = |token: &str| {
        let mut command = Command::new(binary());
        command.args(["run", "--roles=console", "--listen=127.0.0.1:0", "--console-listen=127.0.0.1:0"]);
        command.arg(format!("--database-url={}", pipeline.test_database.url));
        command.arg(format!("--redis-url={}", pipeline.test_redis.url));
        command.env("LATCHHOOK_MASTER_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
        command.env("LATCHHOOK_API_TOKEN", token);
        Process::spawn(command, "listens on")
    };

    for (token, said) in [("", "LATCHHOOK_API_TOKEN is not set"), ("short", "LATCHHOOK_API_TOKEN cannot be used")] {
        let mut refused = starting(token).await;

        assert_eq!(refused.ended().and_then(|status| status.code()), Some(1), "{}", refused.log());
        assert!(refused.log().contains(said) && refused.log().contains("/dev/urandom"), "{}", refused.log());
    }
}
