//! What a stream says: all that the endpoint is owed from now on, as it would be sent.

use chrono::Utc;
use console::Settings;
use dispatcher::signing::{SigningSecret, verify};
use http::StatusCode;
use tests::{a_status, a_text};

use crate::setting::{Setting, TOKEN};

/// That of the pipeline's endpoint.
fn secret() -> SigningSecret {
    SigningSecret::parse(&"whsec_dGhlIHNlY3JldCBvZiBhIHRlc3QgYm90".to_owned().into()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_from_now_on_is_streamed_as_a_customer_would_believe_it() {
    let setting = Setting::new().await;
    setting.pipeline.receive(a_text("wamid.before", "no")).await;
    let mut stream = setting.stream("bot").await;

    setting.pipeline.receive(a_text("wamid.after", "yes")).await;
    let copied = stream.delivery().await;

    let row = setting.pipeline.rows(OF_AFTER, &[]).await.remove(0);
    assert_eq!((copied.0.webhook_id.as_str(), copied.body()), (row.get(0), row.get(1)));
    assert_eq!(verify(&secret(), &copied.headers(), &copied.body(), Utc::now()), Ok(copied.0.webhook_id.as_str()));
    assert_eq!(copied.headers()["content-type"], "application/json");
}

const OF_AFTER: &str = "SELECT d.webhook_id, b.body FROM deliveries d JOIN bodies b USING (event_id) \
                        JOIN events e ON e.id = d.event_id WHERE e.key = 'wamid.after'";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_endpoint_itself_is_sent_is_not_touched() {
    let setting = Setting::new().await;
    let mut stream = setting.stream("bot").await;

    setting.pipeline.receive(a_text("wamid.1", "hello")).await;
    stream.delivery().await;

    let as_it_was = "SELECT count(*) FROM deliveries d JOIN due u USING (event_id, endpoint_id) \
                     WHERE d.state = 'pending' AND d.attempts = 0 AND u.lease IS NULL AND u.due_at <= now()";
    assert_eq!(setting.pipeline.number(as_it_was).await, 1);
    assert_eq!(setting.pipeline.number("SELECT count(*) FROM attempts").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_for_a_disabled_endpoint_is_streamed_all_the_same() {
    let setting = Setting::new().await;
    setting.pipeline.execute("UPDATE endpoints SET enabled = false").await;
    let mut stream = setting.stream("bot").await;

    setting.pipeline.receive(a_text("wamid.held", "hello")).await;

    assert_eq!(stream.keys(1).await, ["wamid.held"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_of_an_endpoint_gets_all_that_it_is_owed_and_nothing_that_others_are() {
    let setting = Setting::new().await;
    setting.pipeline.add_endpoint("acme", "updates", "message_updated").await;
    setting.pipeline.add_account("other").await;
    setting.pipeline.add_source("other", "elsewhere").await;
    setting.pipeline.add_endpoint("other", "stranger", "*").await;
    let mut everything = [setting.stream("bot").await, setting.stream("bot").await];
    let (mut updates, mut stranger) = (setting.stream("updates").await, setting.stream("stranger").await);

    setting.pipeline.receive(a_text("wamid.1", "hello")).await;
    let held = setting.pipeline.enqueue_from("elsewhere", a_text("wamid.2", "hello")).await;
    setting.pipeline.worker.work(vec![held]).await;
    setting.pipeline.receive(a_status("wamid.3", "sent")).await;

    for stream in &mut everything {
        assert_eq!(stream.keys(2).await, ["wamid.1", "wamid.3:sent"]);
    }
    assert_eq!(updates.keys(1).await, ["wamid.3:sent"]);
    assert_eq!(stranger.keys(1).await, ["wamid.2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_rotated_while_a_stream_is_open_signs_what_comes_next() {
    let setting = Setting::new().await;
    let mut stream = setting.stream("bot").await;
    let ended =
        "UPDATE endpoints SET secret_ends = ARRAY[now() - interval '1 second', NULL], secrets = secrets || secrets";

    setting.pipeline.receive(a_text("wamid.1", "hello")).await;
    let with_one = stream.delivery().await;
    setting.pipeline.execute(ended).await;
    setting.pipeline.receive(a_text("wamid.2", "hello")).await;
    let with_the_other = stream.delivery().await;
    setting.pipeline.execute("UPDATE endpoints SET secret_ends = '{}'").await;
    setting.pipeline.receive(a_text("wamid.3", "hello")).await;
    let with_both = stream.delivery().await;

    let signatures = [with_one, with_the_other, with_both].map(|copied| copied.0.headers.webhook_signature);
    assert_eq!(signatures.map(|signatures| signatures.split(' ').count()), [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_streamed_unsigned() {
    let setting = Setting::lively().await;
    let mut stream = setting.stream("bot").await;

    setting.pipeline.execute("UPDATE endpoints SET secret_ends = ARRAY[now() - interval '1 second']").await;
    setting.pipeline.receive(a_text("wamid.1", "hello")).await;
    stream.looks_in_vain().await;
    setting.pipeline.execute("UPDATE endpoints SET secret_ends = '{}'").await;

    assert_eq!(stream.keys(1).await, ["wamid.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_deliveries_shows_that_it_lives() {
    let setting = Setting::lively().await;
    let mut stream = setting.stream("bot").await;

    let lines = [stream.line().await.unwrap(), stream.line().await.unwrap()];

    for line in lines {
        let at = line["heartbeat"].as_str().unwrap().parse::<chrono::DateTime<Utc>>();
        assert!(at.is_ok(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_streams_are_open_than_may_be_and_one_that_is_left_makes_room() {
    let setting = Setting::with(Settings { streams: 1, ..Settings::default() }).await;
    let shown = format!("Bearer {TOKEN}");
    let ask = async || setting.get("/v1/endpoints/bot/stream", &[&shown]).await;
    let first = ask().await;

    let second = ask().await;
    drop(first);

    assert_eq!(
        (second.status(), &second.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
    );
    while ask().await.status() != StatusCode::OK {}
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_in_order_with_the_console() {
    let setting = Setting::new().await;
    let mut stream = setting.stream("bot").await;

    let stopped = setting.stops().await;

    assert_eq!(stopped.cut_off, 0);
    assert_eq!(stream.line().await, None);
}
