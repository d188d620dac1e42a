//! Every other answer of the door: the handshake, and each refusal that is not about the signature.

use chrono::Utc;
use producer::{IntakeSettings, Refusal};
use providers::Provider;
use tokio::time::Instant;

use super::{
    door::{Plan, SECRET, TOKEN, VERIFY_TOKEN, door, open_to_apps, raw_events_of, signature, signed, source},
    http::{Connection, exchange, get, head, post},
};

const LIMIT: usize = 3 << 20;

#[tokio::test]
async fn the_handshake_is_answered_with_the_raw_challenge() {
    let door = door().await;

    let query = format!("hub.mode=subscribe&hub.challenge=11%2058%3Cb%3E&hub.verify_token={VERIFY_TOKEN}");
    let response = door.get(&format!("/hooks/wa?{query}")).await;

    assert_eq!((response.status, response.body.as_slice()), (200, &b"11 58<b>"[..]));
    assert_eq!(response.header("content-type"), Some("text/plain"));
}

#[tokio::test]
async fn a_handshake_with_another_token_is_refused() {
    let door = door().await;

    for query in ["?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=wrong", "?hub.mode=subscribe", ""] {
        let response = door.get(&format!("/hooks/wa{query}")).await;
        assert_eq!(response.error().0, 403, "{query}");
    }
}

#[tokio::test]
async fn who_does_not_exist_is_not_found() {
    let door = door().await;
    let mut disabled = source("disabled");
    disabled.enabled = false;
    door.publish(2, &[disabled], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    for id in ["nobody", "disabled", "%ff", "a%20b", "a:b"] {
        let target = format!("/hooks/{id}");
        assert_eq!(exchange(door.address, &post(&target, &[], b"{}")).await.error(), (404, "no such source".into()));
        assert_eq!(door.get(&target).await.error(), (404, "no such source".into()));
    }
}

#[tokio::test]
async fn a_source_is_itself_however_its_id_is_written_and_whatever_stands_behind_it() {
    let door = door().await;

    for target in ["/hooks/wa", "/hooks/w%61", "/hooks/wa?a=b", "/hooks/%77%61?a=b"] {
        let headers = [("X-Hub-Signature-256", &*signature(SECRET, b"{}"))];
        assert_eq!(exchange(door.address, &post(target, &headers, b"{}")).await.status, 200, "{target}");
    }

    assert_eq!(door.stored().await.len(), 4);
    for target in ["/hooks/wa/", "/hooks/wa/wa", "/hooks/", "//hooks/wa"] {
        assert_eq!(exchange(door.address, &post(target, &[], b"{}")).await.status, 404, "{target}");
    }
}

#[tokio::test]
async fn a_source_of_a_provider_that_this_binary_does_not_know_is_told_to_come_back() {
    let door = door().await;
    let mut of_tomorrow = source("wa");
    of_tomorrow.provider = "of_tomorrow".into();
    door.publish(2, &[of_tomorrow], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    let response = door.post_signed(b"{}").await;

    assert_eq!((response.error().0, response.retry_after().is_some()), (503, true));
}

#[tokio::test]
async fn another_method_is_told_which_ones_there_are() {
    let door = door().await;

    let response = exchange(door.address, b"DELETE /hooks/wa HTTP/1.1\r\nhost: latchhook\r\n\r\n").await;

    assert_eq!(response.error().0, 405);
    assert_eq!(response.header("allow"), Some("GET, HEAD, POST"));
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken() {
    let door = door().await;
    assert_eq!(Provider::WhatsApp.body_limit(), LIMIT);

    assert_eq!(door.post_signed(&vec![b'x'; LIMIT]).await.status, 200);

    assert_eq!(door.stored().await[0].body.len(), LIMIT);
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_before_it_is_read() {
    let door = door().await;
    let mut connection = Connection::open(door.address).await;

    let length = (LIMIT + 1).to_string();
    connection.send(&head("/hooks/wa", &[("content-length", &length)])).await;

    assert_eq!(connection.receive().await.unwrap().error().0, 413);
}

/// Whoever announces it has a place among the connections, and would have it until his deadline.
#[tokio::test]
async fn who_announces_99_gigabytes_and_sends_nothing_is_refused_and_hung_up_on_at_once_whoever_he_is() {
    let door = door().await;
    door.publish(2, &[open_to_apps("wa")], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    let (mine, nobodys) = (format!("Bearer {TOKEN}"), "Bearer nobodys".to_owned());
    let (hook, app) = ("/hooks/wa", raw_events_of("wa"));
    let began = Instant::now();

    for (target, token, status) in
        [(hook, &mine, 413), (&app, &mine, 413), (&app, &nobodys, 401), ("/hooks/no", &mine, 404)]
    {
        let mut connection = Connection::open(door.address).await;
        connection.send(&head(target, &[("authorization", token), ("content-length", "99000000000")])).await;
        assert_eq!(connection.receive().await.unwrap().error().0, status, "{target}");
        assert_eq!(connection.receive().await, None, "{target}: what is not read ends the connection");
    }

    assert!(began.elapsed() < IntakeSettings::default().body_deadline, "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_body_that_announces_nothing_is_refused_once_it_has_become_too_much() {
    let door = door().await;
    let mut connection = Connection::open(door.address).await;

    connection.send(&head("/hooks/wa", &[("transfer-encoding", "chunked")])).await;
    connection.send(format!("{:x}\r\n", LIMIT + 1).as_bytes()).await;
    connection.send(&vec![b'x'; LIMIT + 1]).await;

    assert_eq!(connection.receive().await.unwrap().error().0, 413);
    assert_eq!(door.inbound.depth().await.unwrap().ready, 0);
}

#[tokio::test]
async fn a_body_in_chunks_is_the_same_body() {
    let door = door().await;
    let mut connection = Connection::open(door.address).await;
    let signature = signature(SECRET, b"{\"a\":1}");

    let headers = [("transfer-encoding", "chunked"), ("x-hub-signature-256", &signature)];
    connection.send(&head("/hooks/wa", &headers)).await;
    connection.send(b"3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n").await;

    assert_eq!(connection.receive().await.unwrap().status, 200);
    assert_eq!(door.stored().await[0].body, "{\"a\":1}");
}

#[tokio::test]
async fn bodies_share_a_bounded_memory() {
    let redis = tests::redis().await;
    let intake = IntakeSettings { reading_bytes: 1000, ..IntakeSettings::default() };
    let door = Plan { intake, ..Plan::default() }.open(&redis.url, &redis.prefix).await;

    let too_much = door.post_signed(&[b'x'; 1001]).await;
    let just_enough = door.post_signed(&[b'x'; 1000]).await;
    let again = door.post_signed(&[b'x'; 1000]).await;

    assert_eq!((too_much.error().0, just_enough.status, again.status), (503, 200, 200));
}

#[tokio::test]
async fn a_connection_is_used_again_and_each_answer_is_counted() {
    let door = door().await;
    let mut connection = Connection::open(door.address).await;

    let mut statuses = Vec::new();
    for request in [signed(b"{}"), post("/hooks/wa", &[], b"{}"), get("/hooks/nobody"), signed(b"[]")] {
        connection.send(&request).await;
        statuses.push(connection.receive().await.unwrap().status);
    }

    assert_eq!(statuses, [200, 401, 404, 200]);
    let counters = door.intake.counters();
    assert_eq!((counters.received.get(), counters.accepted.get(), counters.bytes.get()), (3, 2, 4));
    let refused = Refusal::ALL.map(|refusal| counters.refused(refusal));
    assert_eq!((refused.iter().sum::<u64>(), counters.refused(Refusal::Signature)), (2, 1));
}

#[tokio::test]
async fn it_is_healthy_always_and_ready_once_it_has_looked() {
    let redis = tests::redis().await;
    let door = Plan::default().open_unseen(&redis.url, &redis.prefix).await;
    assert_eq!((door.get("/healthz").await.status, door.get("/readyz").await.status), (200, 503));

    door.publish(1, &[source("wa")], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    assert_eq!((door.get("/healthz").await.status, door.get("/readyz").await.status), (200, 200));
}
