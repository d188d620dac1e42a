//! Each endpoint is tried again by its own schedule, if it has one.

use crate::{
    customer::Customer,
    setting::{Setting, dispatch_all},
};

/// Whether the only pending delivery waits for a pause of so many seconds, with jitter.
async fn waits_for(setting: &Setting, seconds: u32) -> bool {
    let waiting = format!(
        "SELECT count(*) FROM due WHERE due_at > now() + interval '{} seconds' AND due_at <= now() + interval '{} seconds'",
        f64::from(seconds) * 0.9,
        f64::from(seconds) * 1.1
    );
    setting.number(&waiting).await == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_with_a_schedule_of_its_own_is_tried_again_by_it_and_given_up_at_its_end() {
    let customer = Customer::answering(&[500]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.execute("UPDATE endpoints SET schedule_s = '{100,1000}'").await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher();

    for pause in [100, 1000] {
        dispatch_all(&mut dispatcher).await;
        assert!(waits_for(&setting, pause).await, "{pause} s");
        setting.pauses_are_over().await;
    }
    dispatch_all(&mut dispatcher).await;

    assert_eq!(setting.delivery().await, ("abandoned".to_owned(), 3));
    assert_eq!(customer.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_of_one_endpoint_is_not_anothers() {
    let customer = Customer::answering(&[500]).await;
    let setting = Setting::new().await;
    for (endpoint, schedule) in [("own", "'{100}'"), ("fleets", "NULL"), ("once", "'{}'")] {
        setting.add_endpoint(endpoint, &customer.url).await;
        setting.execute(&format!("UPDATE endpoints SET schedule_s = {schedule} WHERE id = '{endpoint}'")).await;
        setting.owe(endpoint, "1").await;
    }

    dispatch_all(&mut setting.dispatcher()).await;

    let seconds = "SELECT endpoint_id, extract(epoch FROM due_at - now())::float8 FROM due ORDER BY endpoint_id";
    let waiting: Vec<(String, f64)> = setting.rows(seconds).await.iter().map(|row| (row.get(0), row.get(1))).collect();
    let [(fleets, five), (own, hundred)] = &waiting[..] else { panic!("{waiting:?}") };
    assert_eq!((fleets.as_str(), own.as_str()), ("fleets", "own"));
    assert!(*five < 6.0 && (90.0..=110.0).contains(hundred), "{waiting:?}");
    let given_up = setting.rows("SELECT endpoint_id FROM deliveries WHERE state = 'abandoned'").await;
    assert_eq!(given_up.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["once"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_schedule_counts_from_the_next_attempt_on() {
    let customer = Customer::answering(&[500]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.execute("UPDATE endpoints SET schedule_s = '{100,100,100}'").await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher();
    dispatch_all(&mut dispatcher).await;

    setting.execute("UPDATE endpoints SET schedule_s = '{5,1000}'").await;
    assert!(waits_for(&setting, 100).await, "the pause that has begun stays as it is");
    setting.pauses_are_over().await;
    dispatch_all(&mut dispatcher).await;
    assert!(waits_for(&setting, 1000).await, "the second pause is the new one");
    setting.execute("UPDATE endpoints SET schedule_s = '{5}'").await;
    setting.pauses_are_over().await;
    dispatch_all(&mut dispatcher).await;

    assert_eq!(setting.delivery().await, ("abandoned".to_owned(), 3));
}
