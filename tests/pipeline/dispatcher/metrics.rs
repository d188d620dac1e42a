//! The page of metrics, as a dispatcher's own process serves it.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::{client::legacy, rt::TokioExecutor};
use tests::{Pipeline, Process, a_text};
use tokio::time::{Instant, sleep};

use crate::customer::Customer;

/// Longer than anything here takes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

async fn get(address: SocketAddr) -> Response<Incoming> {
    let client = legacy::Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    client.get(format!("http://{address}/metrics").parse().unwrap()).await.unwrap()
}

async fn scrape(address: SocketAddr) -> String {
    let answer = get(address).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

/// Scrapes until the page has these lines, and runs a statement each time before; gives the page then.
async fn tells(pipeline: &Pipeline, address: SocketAddr, statement: &str, lines: &[&str]) -> String {
    let began = Instant::now();
    loop {
        pipeline.execute(statement).await;
        let page = scrape(address).await;
        let missing: Vec<_> = lines.iter().filter(|line| !page.lines().any(|there| there == **line)).collect();
        if missing.is_empty() {
            return page;
        }
        assert!(began.elapsed() < PATIENCE, "{missing:#?} of\n{page}");
        sleep(PAUSE).await;
    }
}

/// An endpoint that is owed ten deliveries from the next ten events on.
async fn add(pipeline: &Pipeline, id: &str, customer: &Customer) {
    pipeline.add_endpoint("acme", id, "message_created").await;
    pipeline.execute(&format!("UPDATE endpoints SET url = '{}' WHERE id = '{id}'", customer.url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_says_how_endpoints_stand_what_circuits_did_and_whose_wishes_were_followed() {
    let (gone, failing) = (Customer::answering(&[410]).await, Customer::answering(&[500]).await);
    let (content, overloaded) = (Customer::content().await, Customer::answering_with(503, "retry-after", "3600").await);
    let pipeline = Pipeline::new().await;
    pipeline.execute("UPDATE endpoints SET enabled = false, disabled_reason = 'by hand'").await;
    for (id, customer) in [("failing", &failing), ("overloaded", &overloaded)] {
        add(&pipeline, id, customer).await;
    }
    for number in 0..9 {
        pipeline.receive(a_text(&format!("wamid.{number}"), "hello")).await;
    }
    // The one that is gone is owed too little for a circuit to open before its first answer disables it.
    add(&pipeline, "gone", &gone).await;
    pipeline.receive(a_text("wamid.9", "hello")).await;

    let process = Process::start(&pipeline, "dispatcher", None, &[]).await;
    let troubled = [
        "latchhook_dispatcher_wishes_followed_total 10",
        "latchhook_dispatcher_circuits_opened_total 2",
        "latchhook_dispatcher_circuits_closed_total 0",
        "latchhook_dispatcher_endpoints_disabled_total 1",
        "latchhook_endpoints_circuit_open 2",
        "latchhook_endpoints_failing 2",
        "latchhook_endpoints_disabled 1",
    ];
    tells(&pipeline, process.address(), "", &troubled).await;
    let moved = format!("UPDATE endpoints SET url = '{}' WHERE id = 'failing'", content.url);
    let is_due = "UPDATE gates SET rests_until = now() WHERE endpoint_id = 'failing' AND NOT is_probed; \
                  UPDATE due SET due_at = now() WHERE endpoint_id = 'failing' AND lease IS NULL";
    let recovered = [
        "latchhook_dispatcher_attempts_total{outcome=\"delivered\"} 10",
        "latchhook_dispatcher_circuits_opened_total 2",
        "latchhook_dispatcher_circuits_closed_total 1",
        "latchhook_endpoints_resting 1",
        "latchhook_endpoints_circuit_open 1",
        "latchhook_endpoints_failing 1",
        "latchhook_endpoints_disabled 1",
    ];
    tells(&pipeline, process.address(), &format!("{moved}; {is_due}"), &recovered).await;

    process.stop().await;
}

/// What is owed is asked for once in half a minute, and so by the first scrape alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_says_what_is_owed_and_what_was_given_up_and_why() {
    let failing = Customer::answering(&[500]).await;
    let pipeline = Pipeline::new().await;
    pipeline.execute("UPDATE endpoints SET enabled = false, disabled_reason = 'by hand'").await;
    add(&pipeline, "failing", &failing).await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.execute("UPDATE due SET due_at = now() + interval '1 hour'").await;
    let process = Process::start(&pipeline, "dispatcher", None, &[]).await;

    let page = scrape(process.address()).await;
    let last = "UPDATE endpoints SET schedule_s = '{}' WHERE id = 'failing'; \
                UPDATE due SET due_at = now() WHERE endpoint_id = 'failing' AND lease IS NULL";
    let given_up = ["latchhook_dispatcher_abandoned_total{cause=\"status\"} 1", "latchhook_deliveries_pending 2"];
    let later = tells(&pipeline, process.address(), last, &given_up).await;

    for line in ["pending 2", "held 1", "abandoned 0", "oldest_due_seconds 0"] {
        assert!(page.lines().any(|told| told == format!("latchhook_deliveries_{line}")), "{line} of\n{page}");
    }
    assert!(later.contains("latchhook_dispatcher_abandoned_total{cause=\"give_up_on\"} 0\n"), "{later}");
    process.stop().await;
}

/// That is when it matters most. Whoever holds a lock stands for what is too much to be counted in time.
#[tokio::test(flavor = "multi_thread")]
async fn for_how_long_somebody_has_waited_is_told_although_what_is_owed_cannot_be_counted() {
    let pipeline = Pipeline::new().await;
    pipeline.execute("UPDATE endpoints SET enabled = false, disabled_reason = 'by hand'").await;
    let process = Process::start(&pipeline, "dispatcher", None, &[]).await;
    pipeline.execute("BEGIN; LOCK TABLE deliveries").await;

    let page = scrape(process.address()).await;
    pipeline.execute("ROLLBACK").await;

    assert!(page.contains("\nlatchhook_deliveries_oldest_due_seconds 0\n"), "{page}");
    assert!(!page.contains("latchhook_deliveries_pending"), "{page}");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_told_beside_the_console_and_not_where_providers_come() {
    let pipeline = Pipeline::new().await;
    let arguments = ["--console-listen=127.0.0.1:0", "--api-token=the-token-of-the-tests"];

    let process = Process::start(&pipeline, "producer,dispatcher,console", None, &arguments).await;

    let console = process.address_behind("the console is on http://");
    tells(&pipeline, console, "", &["latchhook_endpoints_disabled 0"]).await;
    assert_eq!(get(process.address()).await.status(), 404);
    process.stop().await;
}

/// Else one of them would stand on the page that nobody can look up.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_stands_on_the_page_about_metrics_and_none_that_is_not_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let docs = fs::read_to_string(docs).unwrap();
    let pipeline = Pipeline::new().await;
    let process = Process::start(&pipeline, "dispatcher", None, &[]).await;

    let page = tells(&pipeline, process.address(), "", &["latchhook_endpoints_disabled 0"]).await;

    let told: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let documented: Vec<_> = docs.split('`').skip(1).step_by(2).filter(|code| code.starts_with("latchhook_")).collect();
    assert_eq!(told, documented, "in this order");
    process.stop().await;
}
