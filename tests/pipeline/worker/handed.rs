//! What a worker hands over to a dispatcher in its own process: sent without being looked for, and owed all the same.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use database::due::{self, Leased};
use dispatcher::{Client, Dispatcher, Guard};
use futures::future::{BoxFuture, ready};
use tests::{Pipeline, a_text, leasing, raw_event};
use tokio::time::Instant;
use vocabulary::{EndpointId, Format, Job, Terms};
use worker::{Desk, Settings};

/// Whoever takes what is handed over, and does nothing with it: as a process that dies in that moment.
#[derive(Default)]
pub(crate) struct Grave {
    is_full: bool,
    set_aside: Mutex<usize>,
    pub(crate) taken: Mutex<Vec<Leased>>,
    ends: Mutex<Option<Instant>>,
}

impl Desk for Grave {
    fn lease(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn has_places(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    fn set_aside(&self, _: &str, _: &EndpointId, _: usize) -> bool {
        *self.set_aside.lock().unwrap() += usize::from(!self.is_full);
        !self.is_full
    }

    fn give_back(&self, _: &str, _: &EndpointId, _: usize) {
        *self.set_aside.lock().unwrap() -= 1;
    }

    fn take(&self, deliveries: Vec<Leased>, ends: Instant) {
        *self.ends.lock().unwrap() = Some(ends);
        self.taken.lock().unwrap().extend(deliveries);
    }
}

async fn work_over(pipeline: &Pipeline, desk: Arc<Grave>, body: String) {
    let worker = pipeline.another_worker_with(Settings { desk: Some(desk), ..Settings::default() });
    let held = pipeline.enqueue(body).await;
    worker.work(vec![held]).await;
}

fn dispatcher(pipeline: &Pipeline) -> Dispatcher {
    dispatcher_to(pipeline, Guard::default())
}

/// One that sends to whom this guard lets it.
fn dispatcher_to(pipeline: &Pipeline, guard: Guard) -> Dispatcher {
    let client = Client::new(guard);
    Dispatcher::new(pipeline.database.clone(), pipeline.master.clone(), dispatcher::Settings::default(), client)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_over_is_what_would_have_been_leased() {
    let pipeline = Pipeline::new().await;
    let desk = Arc::new(Grave::default());

    work_over(&pipeline, desk.clone(), a_text("wamid.1", "hello")).await;

    let taken = desk.taken.lock().unwrap().pop().unwrap();
    let query = "SELECT d.webhook_id, u.lease, b.body, e.url FROM due u JOIN deliveries d USING (event_id, endpoint_id) \
                 JOIN bodies b USING (event_id, format) JOIN endpoints e ON e.id = endpoint_id";
    let row = pipeline.rows(query, &[]).await.pop().unwrap();
    assert_eq!((taken.webhook_id.as_str(), taken.lease), (row.get(0), row.get(1)));
    assert_eq!((&taken.body[..], taken.target.url.as_str()), (row.get(2), row.get(3)));
}

/// All of it: by which schedule it is tried again, and after which answers it is not, too.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_over_is_sent_as_its_lease_would_have_it_sent() {
    let pipeline = Pipeline::new().await;
    pipeline
        .execute("UPDATE endpoints SET schedule_s = '{7,70}', give_up_on = '{404,422}', secret_ends = '{2999-01-01}'")
        .await;
    let desk = Arc::new(Grave::default());

    work_over(&pipeline, desk.clone(), a_text("wamid.1", "hello")).await;
    pipeline.execute("UPDATE due SET due_at = now()").await;
    let room = due::Room { all: 1, retries: 1 };
    let connection = pipeline.database.connection().await.unwrap();
    let leased = due::lease(&connection, &leasing(room)).await.unwrap().remove(0);

    let taken = desk.taken.lock().unwrap().pop().unwrap();
    assert_eq!((&taken.target.schedule_s, &taken.target.give_up_on), (&Some(vec![7, 70]), &Some(vec![404, 422])));
    assert_eq!(taken.target, leased.target);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_delivery_is_handed_over_with_the_body_that_its_endpoint_asks_for() {
    let pipeline = Pipeline::new().await;
    let terms = Terms { format: Format::Thin, ..Terms::of("*".parse().unwrap()) };
    pipeline.add_endpoint_on("acme", "thin", &terms).await;
    let desk = Arc::new(Grave::default());

    work_over(&pipeline, desk.clone(), a_text("wamid.1", "hello")).await;

    let query = "SELECT b.body FROM deliveries d JOIN bodies b USING (event_id, format) ORDER BY endpoint_id";
    let told = pipeline.rows(query, &[]).await;
    let mut taken = desk.taken.lock().unwrap().clone();
    taken.sort_by(|one, other| one.endpoint_id.cmp(&other.endpoint_id));
    assert_eq!(
        taken.iter().map(|leased| &leased.body[..]).collect::<Vec<_>>(),
        [told[0].get::<_, &[u8]>(0), told[1].get(0)]
    );
    assert_ne!(taken[0].body, taken[1].body);
}

/// Promise 3: commit, and the webhook is owed, whoever was to send it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_to_a_process_that_died_is_leased_by_another_once_its_lease_has_ended() {
    let pipeline = Pipeline::new().await;
    work_over(&pipeline, Arc::default(), a_text("wamid.1", "hello")).await;
    let mut other = dispatcher(&pipeline);
    assert_eq!(other.dispatch_due().await.unwrap().leased, 0, "somebody else's for now");

    pipeline.execute("UPDATE due SET due_at = now()").await;

    assert_eq!(other.dispatch_due().await.unwrap().leased, 1);
    other.settled().await;
}

/// In Postgres it runs from BEGIN. However long the transaction waits: whoever sends must not believe to have it for longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_handed_over_is_counted_from_before_its_transaction() {
    let pipeline = Pipeline::new().await;
    pipeline.receive(a_text("wamid.0", "hello")).await;
    let desk = Arc::new(Grave::default());
    pipeline.execute("BEGIN; SELECT * FROM source_sequences FOR UPDATE").await;

    let let_it_go_on = async {
        pipeline.somebody_waits_for_us().await;
        let begun = Instant::now();
        pipeline.execute("COMMIT").await;
        begun
    };
    let work = work_over(&pipeline, desk.clone(), a_text("wamid.1", "hello"));
    let (begun, ()) = tokio::join!(let_it_go_on, work);

    let ends = desk.ends.lock().unwrap().unwrap();
    assert!(ends - desk.lease() <= begun);
}

/// Promise 3: no commit, no webhook. And no place that nobody uses.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_fails_hands_nothing_over_and_gives_its_places_back() {
    let pipeline = Pipeline::new().await;
    let desk = Arc::new(Grave::default());
    pipeline.execute("ALTER TABLE receipts ADD CHECK (items > 1)").await;

    work_over(&pipeline, desk.clone(), a_text("wamid.1", "hello")).await;

    assert_eq!(pipeline.number("SELECT count(*) FROM due").await, 0);
    assert_eq!(*desk.set_aside.lock().unwrap(), 0);
    assert!(desk.taken.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_place_is_due_at_once_for_whoever_comes_first() {
    let pipeline = Pipeline::new().await;
    work_over(&pipeline, Arc::new(Grave { is_full: true, ..Grave::default() }), a_text("wamid.1", "hello")).await;
    let mut somebody = dispatcher(&pipeline);

    assert_eq!(somebody.dispatch_due().await.unwrap().leased, 1);
    somebody.settled().await;
}

/// A held delivery stays held: enabling its endpoint is what sends it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_handed_over_for_an_endpoint_that_is_disabled() {
    let pipeline = Pipeline::new().await;
    pipeline.execute("UPDATE endpoints SET enabled = false").await;
    let desk = Arc::new(Grave::default());

    work_over(&pipeline, desk.clone(), a_text("wamid.1", "hello")).await;

    assert!(desk.taken.lock().unwrap().is_empty());
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE lease IS NULL").await, 1);
}

/// The memory of the desk is what they would fill: their places are bounded by the number that one group can owe.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_of_one_account_to_many_who_never_answer_leave_places_to_another_account() {
    let pipeline = Pipeline::new().await;
    let never_accepts = TcpListener::bind("127.0.0.1:0").unwrap();
    for number in 0..40 {
        pipeline.add_endpoint("acme", &format!("hangs-{number}"), "*").await;
    }
    let url = format!("http://{}/", never_accepts.local_addr().unwrap());
    pipeline.execute(&format!("UPDATE endpoints SET url = '{url}'")).await;
    pipeline.add_account("other").await;
    pipeline.add_source("other", "wa2").await;
    pipeline.add_endpoint("other", "answers", "*").await;
    let dispatcher = dispatcher_to(&pipeline, Guard::new("127.0.0.0/8".parse().unwrap()));
    let desk = Some(latchhook::run::desk_of(&dispatcher));
    let worker = pipeline.another_worker_with(Settings { desk, ..Settings::default() });
    let handed_over = async |source, events| {
        let before = dispatcher.counters().snapshot().handed_over;
        let texts =
            (0..events).map(|number| raw_event(source, a_text(&format!("wamid.{number}"), &"x".repeat(20_000))));
        pipeline.inbound.enqueue(&[Job::of(texts)]).await.unwrap();
        worker.work(vec![pipeline.take().await]).await;
        dispatcher.counters().snapshot().handed_over - before
    };

    let to_crowd = handed_over("wa", 20).await;
    let to_other = handed_over("wa2", 80).await;

    assert!(to_crowd < 41 * 20, "it had all that it wanted");
    assert_eq!(to_other, 80);
}

/// The same through a dispatcher's own desk, to its end in Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_handed_over_is_recorded_as_any_other() {
    let pipeline = Pipeline::new().await;
    let dispatcher = dispatcher(&pipeline);
    let desk = Some(latchhook::run::desk_of(&dispatcher));
    let worker = pipeline.another_worker_with(Settings { desk, ..Settings::default() });

    worker.work(vec![pipeline.enqueue(a_text("wamid.1", "hello")).await]).await;
    dispatcher.settled().await;

    // Nobody may send to this endpoint, which is an attempt all the same: it is tried again later.
    assert_eq!(pipeline.number("SELECT count(*) FROM attempts WHERE outcome = 'dns'").await, 1);
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE lease IS NULL AND attempts = 1").await, 1);
}

/// They are sent one after the other, or not before a pause is over: for a lease to decide, which all dispatchers share.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_handed_over_for_an_endpoint_that_fails_or_rests_or_asked_for_limits_or_order() {
    let pipeline = Pipeline::new().await;
    let desk = Arc::new(Grave::default());
    pipeline.execute("INSERT INTO gates (endpoint_id) VALUES ('bot')").await;

    for stands in [
        "UPDATE gates SET failures = 1",
        "UPDATE gates SET failures = 0, asked_until = now() + interval '1 hour'",
        "UPDATE gates SET asked_until = 'epoch', rests_until = now() + interval '1 hour'",
        "UPDATE gates SET rests_until = 'epoch'; UPDATE endpoints SET max_in_flight = 1",
        "DELETE FROM gates; UPDATE endpoints SET max_in_flight = NULL, ordered_by = 'source'",
    ] {
        pipeline.execute(stands).await;
        let wamid = format!("wamid.{}", stands.len());
        work_over(&pipeline, desk.clone(), a_text(&wamid, "hello")).await;
        assert!(desk.taken.lock().unwrap().is_empty(), "{stands}");
    }

    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE lease IS NULL").await, 5);
}

/// It is left from limits that were taken away, or from a trouble that a person has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_holds_nothing_back_keeps_nothing_from_being_handed_over() {
    let pipeline = Pipeline::new().await;
    let desk = Arc::new(Grave::default());
    let past = "now() - interval '1 second'";
    pipeline
        .execute(&format!("INSERT INTO gates (endpoint_id, asked_until, rests_until) VALUES ('bot', {past}, {past})"))
        .await;

    work_over(&pipeline, desk.clone(), a_text("wamid.1", "hello")).await;

    assert_eq!(desk.taken.lock().unwrap().len(), 1);
}
