//! The clients of deploy/clients, as apps run them, before a real producer: what they enqueue is there once, whatever the
//! producer does meanwhile.

mod app;
mod between;

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use database::sources::tokens::{self, Change};
use diesel_async::AsyncConnection;
use latchhook::kill_points;
use producer::Refusal;
use tests::{Front, Pipeline, Process};
use tokio::time::timeout;
use vocabulary::TokenHash;
use worker::Sources;

use self::{
    app::{Language, enqueues, enqueues_hastily, enqueues_twice},
    between::{Answer, answer, between},
};
use super::door::{Plan, TOKEN, door, eventually, open_to_apps};

/// What a client must leave as it is: JSON with its spaces, JSON text, other letters, and what is no text.
const BODIES: [&[u8]; 5] =
    [b"{\"a\":  1.50}", b"ends with \r", b"\"quoted\\n\"", "Grüße \u{1F44B}".as_bytes(), b"\xff\xfe\0"];

/// Stores whose source `wa` is open to apps that show [`TOKEN`], and the producers are told so.
async fn pipeline() -> Pipeline {
    let pipeline = Pipeline::new().await;
    let change = Change::First(TokenHash::of(&TOKEN.to_owned().into()));
    let mut connection = pipeline.database.connection().await.unwrap();
    let source = "wa".parse().unwrap();
    connection.transaction(async |conn| tokens::change(conn, &source, &change).await).await.unwrap();
    let sources = Sources::new(pipeline.database.clone(), Arc::clone(&pipeline.master), &pipeline.redis);
    sources.refresh(Utc::now()).await.unwrap();
    pipeline
}

async fn what_is_enqueued_is_there_once_when_the_producer_refuses_it_at_first(language: Language) {
    let redis = tests::redis().await;
    let door = Plan::default().open_unseen(&redis.url, &redis.prefix).await;
    let refused =
        || door.intake.counters().refused(Refusal::RedisDown) + door.intake.counters().refused(Refusal::Stale);

    let app = enqueues(language, door.address, &BODIES);
    eventually("it is told to come back", async || refused() > 0).await;
    door.publish(1, &[open_to_apps("wa")], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    let said = app.await.unwrap();

    assert!(said.succeeded, "{said:?}");
    let stored: Vec<_> = door.stored().await.into_iter().map(|raw_event| raw_event.body).collect();
    assert_eq!(stored, BODIES);
    let numbers: Vec<_> = said.ids.iter().map(|id| id.rsplit_once('-').unwrap().1).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5"]);
}

async fn what_is_enqueued_is_there_once_when_one_producer_dies_before_and_another_after_redis_has_it(
    language: Language,
) {
    let pipeline = pipeline().await;
    let dying = async |at| Process::start(&pipeline, "producer", Some((kill_points::VARIABLE, at)), &[]).await;
    let mut first = dying("producer-before-enqueue").await;
    let front = Front::of(first.address()).await;

    let mut app = enqueues(language, front.address, &BODIES);
    tokio::select! { said = &mut app => panic!("{said:?}"), () = first.was_killed() => {} }
    let mut second = dying("producer-after-enqueue").await;
    front.leads_to(second.address());
    second.was_killed().await;
    let pending = pipeline.inbound.pending().await.unwrap();
    let third = Process::start(&pipeline, "producer", None, &[]).await;
    front.leads_to(third.address());
    let said = app.await.unwrap();

    assert!(said.succeeded, "{said:?}");
    assert_eq!(pending.iter().map(|job| (job.first, job.count)).collect::<Vec<_>>(), [(1, 5)]);
    assert_eq!(pipeline.inbound.pending().await.unwrap().len(), 1);
    let expected: Vec<_> = (1..=5).map(|number| format!("{}-{number}", pending[0].incarnation)).collect();
    assert_eq!(said.ids, expected);
}

async fn a_line_that_is_refused_is_named_and_the_others_are_enqueued(language: Language) {
    let door = door().await;

    let said = enqueues(language, door.address, &[b"1", b"", b"3"]).await.unwrap();

    assert!(!said.succeeded && said.errors.contains("line 2: the body is empty"), "{said:?}");
    assert_eq!((said.ids.len(), said.ids[1].as_str()), (3, "-"));
    assert_eq!(door.stored().await.iter().map(|raw_event| raw_event.body.clone()).collect::<Vec<_>>(), ["1", "3"]);
}

async fn one_body_twice_under_one_key_is_one_raw_event(language: Language) {
    let door = door().await;

    let said = enqueues_twice(language, door.address, "{\"a\": 1}").await.unwrap();

    assert!(said.succeeded, "{said:?}");
    assert_eq!((said.ids.len(), &said.ids[0]), (2, &said.ids[1]));
    assert_eq!(door.stored().await.iter().map(|raw_event| raw_event.body.clone()).collect::<Vec<_>>(), ["{\"a\": 1}"]);
}

async fn what_cannot_succeed_is_not_tried_again(language: Language) {
    let door = door().await;
    door.publish(2, &[super::door::source("wa")], Utc::now()).await;
    door.intake.look(Utc::now()).await;

    let said = enqueues(language, door.address, &[b"1"]).await.unwrap();

    assert!(!said.succeeded && said.errors.contains("401: no token of this source is shown"), "{said:?}");
    assert_eq!(door.intake.counters().received.get(), 1);
}

async fn what_is_no_answer_of_a_producer_is_not_believed_and_what_is_enqueued_is_there_once(language: Language) {
    let door = door().await;
    let half = Answer::Bytes("HTTP/1.1 503 -\r\ncontent-length: 100\r\n\r\n{\"err".to_owned());
    let foreign = ["[]", "{\"results\": [{}]}", "{\"results\": [{\"id\": \"a-1\"}, {\"id\": \"a-2\"}]}"];
    let foreign = foreign.map(|body| answer(202, "", body));
    let packed = answer(202, "content-encoding: gzip\r\n", "no gzip");
    let address = between([half, packed].into_iter().chain(foreign).collect(), door.address).await;

    let said = enqueues(language, address, &[b"1"]).await.unwrap();

    let stored: Vec<_> = door.stored().await.into_iter().map(|raw_event| raw_event.body).collect();
    assert!(said.succeeded && said.ids.len() == 1 && said.ids[0].ends_with("-1"), "{said:?}");
    assert_eq!(stored, ["1"]);
}

async fn an_answer_that_drips_is_not_waited_for_and_the_key_is_told(language: Language) {
    let drips = Answer::Dripping("HTTP/1.1 202 -\r\ncontent-length: 100000\r\n\r\n{\"results\": ".to_owned());
    let address = between(vec![drips], door().await.address).await;

    let said = timeout(Duration::from_secs(30), enqueues_hastily(language, address)).await.unwrap().unwrap();

    assert_eq!((said.ids, said.errors.as_str()), (vec!["k".to_owned()], ""));
}

async fn what_is_to_come_back_at_an_hour_long_after_its_patience_gives_up_at_once(language: Language) {
    let door = door().await;
    let later = (Utc::now() + chrono::Duration::hours(1)).format("retry-after: %a, %d %b %Y %H:%M:%S GMT\r\n");
    let address = between(vec![answer(503, &later.to_string(), "{\"error\": \"closed\"}")], door.address).await;

    let said = enqueues(language, address, &[b"1"]).await.unwrap();

    assert!(!said.succeeded && said.errors.contains("given up after 1 tries: 503: closed"), "{said:?}");
    assert_eq!(door.stored().await.len(), 0);
}

async fn of_no_lines_none_is_enqueued_and_none_printed(language: Language) {
    let door = door().await;

    let said = enqueues(language, door.address, &[]).await.unwrap();

    assert_eq!((said.succeeded, said.ids.len(), said.errors.as_str()), (true, 0, ""));
    assert_eq!(door.intake.counters().received.get(), 0);
}

macro_rules! of {
    ($module:ident, $language:expr, $($promise:ident)*) => {
        mod $module {
            use super::Language;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                if $language.is_at_hand().await {
                    super::$promise($language).await;
                }
            })*
        }
    };
    ($($module:ident = $language:expr;)*) => {
        $(of! {
            $module, $language,
            what_is_enqueued_is_there_once_when_the_producer_refuses_it_at_first
            what_is_enqueued_is_there_once_when_one_producer_dies_before_and_another_after_redis_has_it
            a_line_that_is_refused_is_named_and_the_others_are_enqueued
            one_body_twice_under_one_key_is_one_raw_event
            what_cannot_succeed_is_not_tried_again
            what_is_no_answer_of_a_producer_is_not_believed_and_what_is_enqueued_is_there_once
            an_answer_that_drips_is_not_waited_for_and_the_key_is_told
            what_is_to_come_back_at_an_hour_long_after_its_patience_gives_up_at_once
            of_no_lines_none_is_enqueued_and_none_printed
        })*
    };
}

of! {
    python = Language::Python;
    node = Language::Node;
    ruby = Language::Ruby;
    php = Language::Php;
}
