//! Endpoints that move to another URL: how the former one stood, and what it took, holds up nothing there.

use axum::Router;
use dispatcher::{Client, Dispatcher, Guard, Settings};
use tests::{Pipeline, a_text};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{CommandLine, enabling::OWED};

/// Takes everything. Gives its URL.
async fn customer() -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(async || ());
    (url, AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })))
}

/// Sends what is due; says how much is delivered then.
async fn delivered(pipeline: &Pipeline) -> i64 {
    let client = Client::new(Guard::new("127.0.0.0/8".parse().unwrap()));
    let (database, master) = (pipeline.database.clone(), pipeline.master.clone());
    let mut dispatcher = Dispatcher::new(database, master, Settings::default(), client);
    while dispatcher.dispatch_due().await.unwrap().leased > 0 {
        dispatcher.settled().await;
    }
    pipeline.number("SELECT count(*) FROM deliveries WHERE state = 'delivered'").await
}

/// A day would pass before the first of the lane is tried again, and the second waits for that. How it stood at the old URL
/// says nothing of the new one; the same URL again is no move.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_moves_is_sent_to_at_once_whatever_it_had_shown() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let add =
        "endpoint add --account acme --id bot --events * --url http://127.0.0.1:9/ --schedule 24h --ordered-by sender";
    latchhook.json(add).await;
    pipeline.receive(a_text("wamid.1", "tried where nobody was")).await;
    assert_eq!(delivered(&pipeline).await, 0);
    pipeline.receive(a_text("wamid.2", "waits for the first")).await;
    pipeline.execute("UPDATE gates SET failures = 9, asked_until = now() + interval '1 hour'").await;

    latchhook.json("endpoint set bot --url http://127.0.0.1:9/ --max-in-flight 3").await;
    let at_the_same_url =
        (delivered(&pipeline).await, pipeline.number("SELECT max(failures)::bigint FROM gates").await);
    let (url, _server) = customer().await;
    latchhook.json(&format!("endpoint set bot --url {url}")).await;

    assert_eq!(at_the_same_url, (0, 9));
    assert_eq!(delivered(&pipeline).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_endpoint_is_owed_is_due_once_it_has_moved_however_much_it_is_and_by_either_command() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let later = "SELECT count(*) FROM due WHERE due_at > now() OR attempts > 0";

    for moves in ["set bot", "add --id bot --account acme --events *"] {
        pipeline.execute(&format!("DELETE FROM due; {OWED}")).await;
        latchhook.json(&format!("endpoint {moves} --url https://93.184.216.34/{}", moves.len())).await;
        assert_eq!(pipeline.number(later).await, 0, "{moves}");
        pipeline.execute("UPDATE due SET due_at = now() + interval '1 day' WHERE lane IS NULL").await;
        latchhook.json(&format!("endpoint {moves} --url https://93.184.216.34/{}", moves.len())).await;
        assert_eq!(pipeline.number(later).await, 45000, "{moves}: the same URL again is no move");
    }
}
