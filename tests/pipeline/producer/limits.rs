//! How large a body may be at either door: what its source was told, or what its provider sends at most.

use std::time::Duration;

use chrono::Utc;
use producer::{BODY_LIMITS, ProducerSettings, Refusal};
use providers::Provider;
use vocabulary::Source;

use super::{
    door::{Door, Plan, SECRET, TOKEN, door, open_to_apps, raw_events_of, signature},
    http::{Connection, Response, head},
    raw_events::announce,
};

const LIMIT: usize = 2048;
const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

/// Has the source take so many bytes.
async fn limit(door: Door, body_limit: u32) -> Door {
    let limited = Source { body_limit: Some(body_limit), ..open_to_apps("wa") };
    door.publish(2, &[limited], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    door
}

/// How a body comes.
#[derive(Debug, Clone, Copy)]
enum Comes {
    /// With its length before it.
    Announced,
    /// Its length is said, and none of it is sent: it is refused by then.
    InName,
    InChunks,
}
use Comes::{Announced, InChunks, InName};

/// Posts a body of so many bytes to `wa`: as its provider does, and as an app does.
async fn at_both_doors(door: &Door, bytes: usize, comes: Comes) -> [Response; 2] {
    let body = vec![b'x'; bytes];
    let (tag, token) = (signature(SECRET, &body), format!("Bearer {TOKEN}"));
    let provider = send(door, "/hooks/wa", ("x-hub-signature-256", &tag), &body, comes).await;
    let app = send(door, &raw_events_of("wa"), ("authorization", &token), &body, comes).await;
    [provider, app]
}

async fn send(door: &Door, target: &str, shown: (&str, &str), body: &[u8], comes: Comes) -> Response {
    let (mut connection, length) = (Connection::open(door.address).await, body.len().to_string());
    let (first, rest) = body.split_at(body.len() / 2);
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    let (how, parts) = match comes {
        Announced => (("content-length", length.as_str()), vec![body.to_vec()]),
        InName => (("content-length", length.as_str()), Vec::new()),
        InChunks => (("transfer-encoding", "chunked"), [first, rest, b""].map(chunk).to_vec()),
    };
    connection.send(&head(target, &[shown, how])).await;
    for part in parts {
        connection.send(&part).await;
    }
    connection.receive().await.expect("an answer")
}

fn too_large(limit: usize) -> (u16, String) {
    (413, format!("the body has more than the {limit} bytes that are taken here"))
}

#[tokio::test]
async fn a_body_of_exactly_what_its_source_was_told_is_taken_and_one_byte_more_is_refused_with_the_limit() {
    let door = limit(door().await, LIMIT as u32).await;

    for (one, other) in [(Announced, InName), (InChunks, InChunks)] {
        let exact = at_both_doors(&door, LIMIT, one).await;
        let above = at_both_doors(&door, LIMIT + 1, other).await;

        assert_eq!(exact.map(|response| response.status), [200, 202], "{one:?}");
        assert_eq!(above.map(|response| response.error()), [too_large(LIMIT), too_large(LIMIT)]);
    }
    assert!(door.stored().await.iter().all(|raw_event| raw_event.body.len() == LIMIT));
    assert_eq!((door.stored().await.len(), door.intake.counters().refused(Refusal::TooLarge)), (4, 4));
}

#[tokio::test]
async fn a_source_that_was_told_nothing_takes_what_its_provider_sends_at_most() {
    let (door, most) = (door().await, Provider::WhatsApp.body_limit());

    for (one, other) in [(Announced, InName), (InChunks, InChunks)] {
        let exact = at_both_doors(&door, most, one).await;
        let above = at_both_doors(&door, most + 1, other).await;

        assert_eq!(exact.map(|response| response.status), [200, 202], "{one:?}");
        assert_eq!(above.map(|response| response.error()), [too_large(most), too_large(most)]);
    }
}

#[tokio::test]
async fn a_source_may_take_more_than_its_provider_sends_up_to_what_the_producer_can_hold() {
    let (redis, most) = (tests::private_redis(), *BODY_LIMITS.end() as usize);
    // A machine that is busy with other tests moves so much slowly, and that is not what this is about.
    let producer = ProducerSettings { deadline: Duration::from_secs(60), ..ProducerSettings::default() };
    let plan = Plan { producer, ..Plan::default() };
    let door = limit(plan.open(&redis.url(), "p").await, *BODY_LIMITS.end()).await;

    let exact = at_both_doors(&door, most, Announced).await;
    let above = at_both_doors(&door, most + 1, InName).await;

    assert_eq!(exact.map(|response| response.status), [200, 202]);
    assert_eq!(above.map(|response| response.error()), [too_large(most), too_large(most)]);
}

#[tokio::test]
async fn of_many_lines_each_body_has_its_sources_limit_and_the_request_one_of_its_own() {
    let door = limit(door().await, LIMIT as u32).await;
    let line = |bytes: usize| format!("{{\"body\": \"{}\"}}", "x".repeat(bytes));
    let lines = [line(LIMIT), line(LIMIT + 1), line(1)].join("\n");

    let response = door.enqueue(&[LINES], lines.as_bytes()).await;
    let large = announce(&door, &[LINES], (8 << 20) + 1).await;

    assert!(lines.len() > 2 * LIMIT && response.status == 202);
    let error = &response.json()["results"][1]["error"];
    assert_eq!((&error["line"], &error["status"]), (&2.into(), &413.into()));
    assert_eq!(error["message"], "the body has 2049 bytes, of 2048 that this source takes");
    assert_eq!(door.stored().await.iter().map(|it| it.body.len()).collect::<Vec<_>>(), [LIMIT, 1]);
    assert_eq!(large.error(), too_large(8 << 20));
}

#[tokio::test]
async fn another_limit_holds_from_the_next_snapshot_on() {
    let door = limit(door().await, LIMIT as u32).await;
    let before = at_both_doors(&door, 3000, InName).await.map(|response| response.status);

    door.publish(3, &[Source { body_limit: Some(3000), ..open_to_apps("wa") }], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    assert_eq!(before, [413, 413]);
    assert_eq!(at_both_doors(&door, 3000, Announced).await.map(|response| response.status), [200, 202]);
}
