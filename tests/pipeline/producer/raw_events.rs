//! Raw events of existing apps: a token in place of a signature, one body or many lines, and an answer for each.

use std::time::Duration;

use chrono::Utc;
use futures::future::select;
use producer::{IntakeSettings, ProducerSettings, Refusal};
use providers::Provider;
use tests::private_redis;
use vocabulary::{Source, TokenHash};

use super::{
    door::{Door, Plan, TOKEN, door, enqueue, eventually, open_to_apps, raw_events_of, source},
    http::{Connection, Response, exchange, head, post},
    outage::Frozen,
};

const LINES: (&str, &str) = ("content-type", "application/x-ndjson; charset=utf-8");

async fn bodies(door: &Door) -> Vec<String> {
    let stored = door.stored().await;
    stored.iter().map(|raw_event| String::from_utf8_lossy(&raw_event.body).into_owned()).collect()
}

/// The numbers that the accepted lines were given; the errors' status and line for the others.
fn results(response: &Response) -> Vec<Result<u64, (u64, u64)>> {
    let result = |result: &serde_json::Value| match result["id"].as_str() {
        Some(id) => Ok(id.rsplit_once('-').unwrap().1.parse().unwrap()),
        None => Err((result["error"]["line"].as_u64().unwrap(), result["error"]["status"].as_u64().unwrap())),
    };
    response.json()["results"].as_array().unwrap().iter().map(result).collect()
}

fn is_told_to_come_back(response: &Response, status: u16) -> bool {
    response.error().0 == status && (1..=5).contains(&response.retry_after().unwrap())
}

#[tokio::test]
async fn a_body_is_taken_byte_for_byte_and_answered_with_the_name_that_the_worker_will_know_it_by() {
    let door = door().await;
    let body = b"{\"a\":  1.50}\n\xff\0";

    let headers = [("content-type", "application/json"), ("X-Hub-Signature-256", "sha256=00"), ("x-other", "1")];
    let response = door.enqueue(&headers, body).await;

    let stored = door.stored().await;
    assert_eq!((response.status, results(&response)), (202, vec![Ok(1)]));
    let pending = door.inbound.pending().await.unwrap();
    let id = response.json()["results"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(id, format!("{}-{}", pending[0].incarnation, pending[0].first));
    assert_eq!((stored.len(), stored[0].source_id.as_str(), stored[0].body.as_ref()), (1, "wa", &body[..]));
    assert_eq!(stored[0].headers, [("x-hub-signature-256".to_owned(), "sha256=00".to_owned())]);
}

#[tokio::test]
async fn who_does_not_show_a_token_of_the_source_is_refused() {
    let door = door().await;
    let other = Source { tokens: vec![TokenHash::of(&"lhtok_of_another".to_owned().into())], ..source("other") };
    door.publish(2, &[open_to_apps("wa"), other, source("closed")], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    let right = format!("Bearer {TOKEN}");
    let shown = [("wa", vec![]), ("wa", vec!["Bearer lhtok_of_another"]), ("wa", vec!["Bearer "]), ("wa", vec![TOKEN])]
        .into_iter()
        .chain([("wa", vec!["Basic lhtok_of_a_test"]), ("wa", vec![&right, &right])])
        .chain([("other", vec![right.as_str()]), ("closed", vec![&right]), ("closed", vec!["Bearer "])]);

    for (source, values) in shown {
        let headers: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        let response = exchange(door.address, &post(&raw_events_of(source), &headers, b"{}")).await;
        assert_eq!((response.error().0, response.header("www-authenticate")), (401, Some("Bearer")), "{values:?}");
    }
    assert_eq!(door.intake.counters().refused(Refusal::Token), 9);
    assert_eq!(bodies(&door).await, Vec::<String>::new());
}

#[tokio::test]
async fn while_a_token_is_replaced_both_are_taken() {
    let door = door().await;
    let hashes = ["lhtok_new", TOKEN].map(|token| TokenHash::of(&token.to_owned().into()));
    door.publish(2, &[Source { tokens: hashes.to_vec(), ..source("wa") }], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    let new = post(&raw_events_of("wa"), &[("authorization", "bearer lhtok_new")], b"new");
    let answers = (exchange(door.address, &new).await.status, door.enqueue(&[], b"old").await.status);

    assert_eq!(answers, (202, 202));
    assert_eq!(bodies(&door).await, ["new", "old"]);
}

#[tokio::test]
async fn a_disabled_source_is_not_found_whatever_is_shown() {
    let door = door().await;
    door.publish(2, &[Source { enabled: false, ..open_to_apps("wa") }], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    for id in ["wa", "nobody"] {
        let response = exchange(door.address, &enqueue(id, &[], b"{}")).await;
        assert_eq!(response.error(), (404, "no such source".into()));
    }
}

#[tokio::test]
async fn a_line_that_cannot_be_taken_is_named_in_its_place_and_stops_no_other() {
    let door = door().await;
    let long = format!("{{\"body\": \"{}\"}}", "x".repeat(Provider::WhatsApp.body_limit() + 1));
    let lines = [
        r#"{"body": {"b":  1, "a": 2.0}}"#,
        "{broken",
        r#"{"body": "as \"text\"", "headers": {"x-hub-signature-256": "sha256=00"}}"#,
        "",
        &long,
        r#"{"body_base64": "aGk="}"#,
    ];

    let response = door.enqueue(&[LINES], lines.join("\n").as_bytes()).await;

    assert_eq!(response.status, 202);
    assert_eq!(results(&response), [Ok(1), Err((2, 422)), Ok(2), Err((4, 422)), Err((5, 413)), Ok(3)]);
    assert_eq!(response.json()["results"][3]["error"]["message"], "the line is empty");
    assert_eq!(bodies(&door).await, [r#"{"b":  1, "a": 2.0}"#, "as \"text\"", "hi"]);
    assert_eq!(door.stored().await[1].headers, [("x-hub-signature-256".to_owned(), "sha256=00".to_owned())]);
    let counters = door.intake.counters();
    assert_eq!((counters.received.get(), counters.accepted.get(), counters.lines_refused.get()), (1, 3, 3));
}

#[tokio::test]
async fn where_nothing_can_be_taken_the_request_is_refused_and_each_line_says_why() {
    let door = door().await;

    let lines = door.enqueue(&[LINES], b"{}\nno JSON\n\xff\n").await;
    let nothing = door.enqueue(&[], b"").await;

    assert_eq!((lines.status, results(&lines)), (422, vec![Err((1, 422)), Err((2, 422)), Err((3, 422))]));
    assert_eq!(lines.json()["error"], "nothing in the request is acceptable");
    assert_eq!((nothing.status, results(&nothing)), (422, vec![Err((1, 422))]));
    assert_eq!(door.intake.counters().refused(Refusal::Unreadable), 2);
    assert_eq!(bodies(&door).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_too_large_is_refused_whole() {
    let door = door().await;
    let limit = Provider::WhatsApp.body_limit();
    let lines = "{\"body\":1}\n";

    let exact = door.enqueue(&[], &vec![b'x'; limit]).await;
    let (long, large) = (announce(&door, &[], limit + 1).await, announce(&door, &[LINES], (8 << 20) + 1).await);
    let most = door.enqueue(&[LINES], lines.repeat(10_000).as_bytes()).await;
    let many = door.enqueue(&[LINES], lines.repeat(10_001).as_bytes()).await;

    assert_eq!((exact.status, long.error().0, large.error().0), (202, 413, 413));
    assert_eq!((most.status, most.json()["results"].as_array().unwrap().len()), (202, 10_000));
    assert_eq!(many.error(), (413, "more than 10,000 lines: send fewer at a time".into()));
    assert_eq!(door.stored().await.len(), 10_001);
}

/// Says how much is to come, and sends none of it.
pub(super) async fn announce(door: &Door, headers: &[(&str, &str)], bytes: usize) -> Response {
    let mut connection = Connection::open(door.address).await;
    let (token, length) = (format!("Bearer {TOKEN}"), bytes.to_string());
    let headers = [headers, &[("authorization", token.as_str()), ("content-length", &length)]].concat();
    connection.send(&head(&raw_events_of("wa"), &headers)).await;
    connection.receive().await.unwrap()
}

#[tokio::test]
async fn what_redis_has_not_got_is_never_answered_with_202() {
    let mut redis = private_redis();
    let producer = ProducerSettings { deadline: Duration::from_millis(300), ..ProducerSettings::default() };
    let door = Plan { producer, ..Plan::default() }.open(&redis.url(), "latchhook").await;

    redis.kill();
    let unnoticed = door.enqueue(&[LINES], b"{\"body\": 1}\nbroken").await;
    door.intake.look(Utc::now()).await;
    let noticed = door.enqueue(&[], b"{}").await;
    redis.restart().unwrap();
    door.intake.look(Utc::now()).await;
    let back = door.enqueue(&[], b"{}").await;

    assert!(is_told_to_come_back(&unnoticed, 503) && is_told_to_come_back(&noticed, 503));
    assert_eq!((back.status, bodies(&door).await), (202, vec!["{}".to_owned()]));
}

#[tokio::test]
async fn an_app_that_has_too_much_on_its_way_is_told_to_wait_and_nobody_else_is() {
    let redis = private_redis();
    let intake = IntakeSettings { source_bytes: 100, ..IntakeSettings::default() };
    let door = Plan { intake, ..Plan::default() }.open(&redis.url(), "latchhook").await;
    door.publish(2, &[open_to_apps("wa"), open_to_apps("other")], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    let send = |source: &str| {
        let (address, request) = (door.address, enqueue(source, &[], &[b'x'; 60]));
        tokio::spawn(async move { exchange(address, &request).await })
    };

    let frozen = Frozen::freeze(&redis);
    let (refused, waits) = select(send("wa"), send("wa")).await.factor_first();
    let (other, hook) = (send("other"), tokio::spawn(exchange_signed(door.address)));
    eventually("they have arrived", async || door.intake.counters().received.get() >= 4).await;
    drop(frozen);

    assert!(is_told_to_come_back(&refused.unwrap(), 429));
    let statuses = (waits.await.unwrap().status, other.await.unwrap().status, hook.await.unwrap().status);
    assert_eq!(statuses, (202, 202, 200));
    assert_eq!(door.enqueue(&[], &[b'x'; 60]).await.status, 202);
}

async fn exchange_signed(address: std::net::SocketAddr) -> Response {
    exchange(address, &super::door::signed(b"{}")).await
}

#[tokio::test]
async fn another_method_is_told_that_raw_events_are_posted() {
    let door = door().await;

    let response = door.get(&raw_events_of("wa")).await;

    assert_eq!(response.error(), (405, "only POST is taken here".into()));
    assert_eq!(response.header("allow"), Some("POST"));
}
