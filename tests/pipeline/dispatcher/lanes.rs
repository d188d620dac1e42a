//! Order, for who asks for it: of a lane one delivery at a time, the next only after the former ended, and no lane waits for
//! another.

use std::sync::Arc;

use diesel_async::SimpleAsyncConnection;
use dispatcher::{Schedule, Settings};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    customer::{Customer, Received},
    setting::{Setting, begin, dispatch_all},
};

/// What is owed to `bot` in a lane, in this order.
async fn owe(setting: &Setting, lane: &str, keys: &[&str]) {
    let mut connection = begin(&setting.database).await;
    setting.owe_in_lane(&connection, "bot", Some(lane), keys).await;
    connection.batch_execute("COMMIT").await.unwrap();
}

fn keys(received: &[Received]) -> Vec<String> {
    let key = |received: &Received| {
        let text = String::from_utf8_lossy(&received.body).into_owned();
        text.split("\"key\":\"bot-").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    received.iter().map(key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_lane_one_delivery_at_a_time_is_sent_in_order() {
    let gate = Arc::new(Notify::new());
    let customer = Customer::waiting_for(&gate).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    owe(&setting, "anna", &["1", "2", "3", "4", "5"]).await;
    let stop = CancellationToken::new();
    let run = || tokio::spawn(setting.dispatcher().run(Arc::new(Notify::new()), stop.clone()));
    let fleet = [run(), run()];

    for answered in 0..5 {
        assert_eq!(customer.has_received(answered + 1).await.len(), answered + 1);
        gate.notify_one();
    }

    assert_eq!(keys(&customer.received()), ["1", "2", "3", "4", "5"]);
    stop.cancel();
    for dispatcher in fleet {
        dispatcher.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_before_the_next_of_its_lane() {
    let customer = Customer::answering(&[500, 500, 200]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    owe(&setting, "anna", &["1", "2"]).await;

    for _ in 0..3 {
        dispatch_all(&mut setting.dispatcher()).await;
        setting.pauses_are_over().await;
    }

    assert_eq!(keys(&customer.received()), ["1", "1", "1", "2"]);
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_makes_way_for_the_next_of_its_lane() {
    let customer = Customer::answering(&[500, 200]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    owe(&setting, "anna", &["1", "2"]).await;
    let settings = Settings { schedule: Schedule(Vec::new()), ..Settings::default() };

    dispatch_all(&mut setting.dispatcher_with(settings)).await;

    assert_eq!(keys(&customer.received()), ["1", "2"]);
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'abandoned'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_goes_on_after_an_answer_that_its_endpoint_gives_up_on() {
    let customer = Customer::answering(&[422, 200]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.execute("UPDATE endpoints SET give_up_on = '{422}'").await;
    owe(&setting, "anna", &["1", "2", "3"]).await;

    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(keys(&customer.received()), ["1", "2", "3"]);
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'abandoned' AND attempts = 1").await, 1);
    assert_eq!(setting.number("SELECT count(*) FROM due").await, 0);
    assert!(setting.breaches().await.iter().all(|check| !check.contains("lane")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_stuck_holds_up_no_other_and_neither_do_a_thousand() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    for lane in 0..1000 {
        owe(&setting, &format!("stuck-{lane}"), &[&format!("{lane}-first"), &format!("{lane}-second")]).await;
    }
    setting.execute("UPDATE due SET attempts = 1, due_at = now() + interval '1 day' WHERE due_at IS NOT NULL").await;
    owe(&setting, "flows", &["1", "2", "3"]).await;

    let sent = dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!((sent, keys(&customer.received())), (3, vec!["1".to_owned(), "2".to_owned(), "3".to_owned()]));
    assert_eq!(setting.number("SELECT count(*) FROM due WHERE due_at IS NULL").await, 1000);
}

/// Forty heads that fail are forty failures in a row: so the circuit opens. But the first thing that has not failed yet shows
/// that the endpoint is there, and from then on lanes that stay dead say nothing against it.
#[tokio::test(flavor = "multi_thread")]
async fn lanes_that_fail_and_fail_again_hold_up_no_lane_that_does_not() {
    let customer = Customer::failing_for("stuck").await;
    let setting = Setting::with_endpoint(&customer.url).await;
    for lane in 0..40 {
        owe(&setting, &format!("stuck-{lane}"), &[&format!("stuck-{lane}-1"), &format!("stuck-{lane}-2")]).await;
    }
    dispatch_all(&mut setting.dispatcher()).await;
    owe(&setting, "flows", &["probe"]).await;
    setting.pauses_are_over().await;
    dispatch_all(&mut setting.dispatcher()).await;

    for round in ["1", "2", "3"] {
        setting.pauses_are_over().await;
        dispatch_all(&mut setting.dispatcher()).await;
        owe(&setting, "flows", &[round]).await;
        dispatch_all(&mut setting.dispatcher()).await;
    }

    let keys = keys(&customer.received());
    let flowed: Vec<_> = keys.iter().filter(|key| !key.starts_with("stuck")).map(String::as_str).collect();
    assert_eq!(flowed, ["probe", "1", "2", "3"]);
    assert_eq!(keys.iter().filter(|key| *key == "stuck-7-1").count(), 5, "it is tried as its schedule says");
}

/// It has a gate for its limit, so that nothing that is left in there goes by itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_with_a_dead_lane_that_takes_others_is_not_failing() {
    let customer = Customer::failing_for("stuck").await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.execute("UPDATE endpoints SET max_in_flight = 10; INSERT INTO gates (endpoint_id) VALUES ('bot')").await;
    owe(&setting, "anna", &["stuck"]).await;
    dispatch_all(&mut setting.dispatcher()).await;

    owe(&setting, "ben", &["taken"]).await;
    dispatch_all(&mut setting.dispatcher()).await;
    setting.pauses_are_over().await;
    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(keys(&customer.received()), ["stuck", "taken", "stuck"]);
    let failing = "SELECT count(*) FROM gates WHERE failing_since IS NOT NULL OR failed_at IS NOT NULL OR failures > 0";
    assert_eq!(setting.number(failing).await, 0);
}

/// Or each pause would be waited for to its end once it is back, and the lane's attempts be used up meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_takes_nothing_for_a_minute_has_a_circuit_though_it_has_one_lane() {
    let customer = Customer::answering(&[500]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let again = async |times: usize| {
        for _ in 0..times {
            setting.pauses_are_over().await;
            setting.execute("UPDATE due SET attempts = 1").await;
            dispatch_all(&mut setting.dispatcher()).await;
        }
        setting.number("SELECT failures::bigint FROM gates").await
    };
    owe(&setting, "anna", &["1", "2"]).await;
    dispatch_all(&mut setting.dispatcher()).await;

    let within_a_minute = again(9).await;
    setting.execute("UPDATE gates SET failing_since = now() - interval '61 seconds'").await;
    let after = again(9).await;

    assert_eq!((within_a_minute, after), (1, 10));
    assert_eq!(setting.number("SELECT count(*) FROM gates WHERE is_open").await, 1);
}

/// Either of the two must see what the other did: the one that commits later promotes.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_to_a_lane_while_its_last_one_ends_is_due_afterwards() {
    let gate = Arc::new(Notify::new());
    let customer = Customer::waiting_for(&gate).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    owe(&setting, "anna", &["1"]).await;
    let mut dispatcher = setting.dispatcher();
    dispatcher.dispatch_due().await.unwrap();
    customer.has_received(1).await;

    let mut adding = begin(&setting.database).await;
    setting.owe_in_lane(&adding, "bot", Some("anna"), &["2"]).await;
    gate.notify_one();
    // Recorded, or left for later because the lane is held.
    while dispatcher.counters().snapshot().records == 0 {
        tokio::task::yield_now().await;
    }
    adding.batch_execute("COMMIT").await.unwrap();
    dispatcher.settled().await;

    assert_eq!(setting.number("SELECT count(*) FROM due WHERE due_at <= now()").await, 1);
    assert!(setting.breaches().await.iter().all(|check| !check.contains("lane")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retried_by_hand_waits_for_its_turn_in_its_lane() {
    let customer = Customer::answering(&[500, 500, 200]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let giving_up = Settings { schedule: Schedule(Vec::new()), ..Settings::default() };
    owe(&setting, "anna", &["1"]).await;
    dispatch_all(&mut setting.dispatcher_with(giving_up)).await;
    owe(&setting, "anna", &["2", "3"]).await;
    dispatch_all(&mut setting.dispatcher()).await;

    let wanted = database::deliveries::Wanted { states: vec!["abandoned".to_owned()], ..Default::default() };
    let connection = setting.database.connection().await.unwrap();
    let rows = database::deliveries::list(&connection, &wanted, 10, |_| ()).await.unwrap();
    let due = database::deliveries::make_due(&connection, &rows, &["abandoned"]).await.unwrap().made_due;
    setting.pauses_are_over().await;
    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!((due.due, due.waiting_in_lane, due.held), (0, 1, 0));
    assert_eq!(keys(&customer.received()), ["1", "2", "2", "1", "3"]);
}

/// Made due two at a time, and sent before the next two are.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_lane_was_delivered_is_sent_again_in_its_order_with_the_same_ids_and_bytes() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    owe(&setting, "anna", &["1", "2", "3", "4", "5"]).await;
    dispatch_all(&mut setting.dispatcher()).await;
    let breaches = setting.breaches().await;
    let wanted = database::deliveries::Wanted { states: vec!["delivered".to_owned()], ..Default::default() };
    let connection = setting.database.connection().await.unwrap();

    let mut after = None;
    loop {
        let page = database::deliveries::page(&connection, &wanted, after.as_ref(), 2).await.unwrap();
        let due = database::deliveries::make_due(&connection, &page.rows, &["delivered"]).await.unwrap().made_due;
        assert_eq!((due.due, due.sum()), (1, page.rows.len() as i64));
        dispatch_all(&mut setting.dispatcher()).await;
        after = page.next;
        if after.is_none() {
            break;
        }
    }

    let received = customer.received();
    let sent = |received: &Received| (received.id().to_owned(), received.body.clone());
    let [first, again] = [&received[..5], &received[5..]].map(|it| it.iter().map(sent).collect::<Vec<_>>());
    assert_eq!((first, keys(&received[5..])), (again, ["1", "2", "3", "4", "5"].map(str::to_owned).to_vec()));
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered' AND attempts = 2").await, 5);
    assert_eq!(setting.breaches().await, breaches);
}

/// The lease that its dispatcher took with it ends, and somebody else sends: still before the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_dispatcher_died_goes_on_in_order_once_the_lease_has_ended() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    owe(&setting, "anna", &["1", "2"]).await;
    assert_eq!(setting.lease().await.len(), 1);
    assert_eq!(dispatch_all(&mut setting.dispatcher()).await, 0);

    setting.leases_end().await;
    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(keys(&customer.received()), ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_names_a_lane_in_which_nothing_is_due() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    owe(&setting, "anna", &["1", "2"]).await;
    let check = "one delivery of each lane is due";
    assert!(!setting.breaches().await.contains(&check));

    setting.execute("UPDATE due SET due_at = NULL").await;

    assert!(setting.breaches().await.contains(&check));
}

/// Whoever holds a lane holds up what is recorded of it, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_somebody_holds_keeps_nothing_else_from_being_recorded() {
    let (ordered, other) = (Customer::content().await, Customer::content().await);
    let setting = Setting::with_endpoint(&ordered.url).await;
    setting.add_endpoint("other", &other.url).await;
    owe(&setting, "anna", &["1"]).await;
    owe(&setting, "ben", &["2", "3", "4"]).await;
    let mut holding = begin(&setting.database).await;
    database::lanes::lock(&holding, &[("bot", "anna")].into()).await.unwrap();
    let mut dispatcher = setting.dispatcher();
    dispatcher.dispatch_due().await.unwrap();
    ordered.has_received(2).await;

    setting.owe_many("other", 100).await;
    // Three of ben's lane, each only once the one before it is recorded.
    while setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered'").await < 103 {
        dispatcher.dispatch_due().await.unwrap();
    }

    assert_eq!(setting.number("SELECT count(*) FROM due WHERE lane = 'anna'").await, 1);
    holding.batch_execute("ROLLBACK").await.unwrap();
    dispatcher.settled().await;
    assert_eq!(setting.number("SELECT count(*) FROM due WHERE lane = 'anna'").await, 0);
}

/// While a circuit is open one delivery at a time is sent: a head that has failed before may fail for reasons of its own, and
/// would open the circuit again and again. Where a circuit is closed both have their turn, by a throw of dice; here the dice
/// always fall for what has failed before.
#[tokio::test(flavor = "multi_thread")]
async fn the_probe_of_a_circuit_is_what_has_not_failed_yet_however_many_heads_of_lanes_are_due() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    for lane in 0..40 {
        owe(&setting, &format!("stuck-{lane}"), &[&format!("stuck-{lane}")]).await;
    }
    setting.execute("UPDATE due SET attempts = 1, due_at = now() - interval '1 hour'").await;
    owe(&setting, "flows", &["first"]).await;
    setting.execute("CREATE FUNCTION public.random() RETURNS float8 LANGUAGE sql AS 'SELECT 0.0::float8'").await;
    let mut connection = setting.database.connection().await.unwrap();
    connection.batch_execute("SET search_path = public, pg_catalog").await.unwrap();

    let mut leased = Vec::new();
    for is_open in [true, false] {
        setting.execute("UPDATE due SET lease = NULL, due_at = now() - interval '1 minute'; DELETE FROM gates").await;
        setting.execute("UPDATE endpoints SET max_in_flight = 1").await;
        setting.execute(&format!("INSERT INTO gates (endpoint_id, is_open) VALUES ('bot', {is_open})")).await;
        leased.extend(setting.lease_over(&connection).await);
    }

    let leased: Vec<_> = leased.iter().map(|leased| (leased.attempts, leased.gate.unwrap().is_probe)).collect();
    assert_eq!(leased, [(0, true), (1, false)]);
}
