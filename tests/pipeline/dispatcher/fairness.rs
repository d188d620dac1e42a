//! Nobody waits for somebody else's customer, and first attempts do not wait for retries.

use std::{collections::HashMap, sync::Arc, time::Duration};

use database::due::{self, Body, LeaseRequest, Leased, Room};
use dispatcher::{Dispatcher, Settings};
use tests::leasing;
use tokio::{sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use vocabulary::EndpointId;

use crate::{customer::Customer, setting::Setting};

/// No account is short of room.
async fn lease(setting: &Setting, room: Room, per_endpoint: Room, busy: &[(EndpointId, Room)]) -> Vec<Leased<Body>> {
    let per_account = Room { all: 1000, retries: 1000 };
    let request = LeaseRequest { per_endpoint, busy, per_account, ..leasing(room) };
    due::lease(&setting.database.connection().await.unwrap(), &request).await.unwrap()
}

fn by_endpoint(leased: &[Leased<Body>]) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for leased in leased {
        *counts.entry(leased.endpoint_id.as_str()).or_default() += 1;
    }
    counts
}

fn room(all: usize, retries: usize) -> Room {
    Room { all, retries }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_never_answers_holds_his_own_share_and_delays_nobody_else() {
    let (hanging, prompt) = (Customer::hanging().await, Customer::content().await);
    let setting = Setting::with_endpoint(&hanging.url).await;
    setting.add_endpoint("prompt", &prompt.url).await;
    setting.owe_many("bot", 100).await;
    let stop = CancellationToken::new();
    let settings = Settings { deadline: Duration::from_secs(3), per_endpoint: 16, ..Settings::default() };
    let running = tokio::spawn(setting.dispatcher_with(settings).run(Arc::new(Notify::new()), stop.clone()));
    hanging.has_received(16).await;

    setting.owe_many("prompt", 200).await;
    prompt.has_received(200).await;

    assert_eq!(hanging.received().len(), 16);
    stop.cancel();
    timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
    assert_eq!(setting.number("SELECT count(*) FROM attempts WHERE outcome = 'timeout'").await, 16);
}

/// An account with twenty endpoints at one URL, each of which is owed twenty deliveries.
async fn add_crowd(setting: &Setting, account: &str, url: &str) {
    let endpoints: Vec<_> = (0..20).map(|number| format!("{account}-{number}")).collect();
    setting.execute(&format!("INSERT INTO accounts (id, name) VALUES ('{account}', 'Crowd')")).await;
    for endpoint in &endpoints {
        setting.add_endpoint(endpoint, url).await;
    }
    setting.execute(&format!("UPDATE endpoints SET account_id = '{account}' WHERE id LIKE '{account}-%'")).await;
    for endpoint in &endpoints {
        setting.owe_many(endpoint, 20).await;
    }
}

/// No attempt ends before its customer has answered.
fn patient(setting: &Setting) -> Dispatcher {
    setting.dispatcher_with(Settings { deadline: Duration::from_secs(3600), ..Settings::default() })
}

fn running(dispatcher: Dispatcher) -> AbortOnDropHandle<()> {
    let running = dispatcher.run(Arc::new(Notify::new()), CancellationToken::new());
    AbortOnDropHandle::new(tokio::spawn(running))
}

/// A quarter of what may be sent for each endpoint is no bound for an account: four of them would have it all.
#[tokio::test(flavor = "multi_thread")]
async fn customers_of_one_account_who_never_answer_hold_its_share_and_delay_no_other_account() {
    let (hanging, prompt) = (Customer::hanging().await, Customer::content().await);
    let setting = Setting::with_endpoint(&prompt.url).await;
    add_crowd(&setting, "crowd", &hanging.url).await;
    let _running = running(patient(&setting));
    hanging.has_received(128).await;

    setting.owe_many("bot", 200).await;
    prompt.has_received(200).await;

    assert_eq!(hanging.received().len(), 128, "half of what may be sent");
    assert_eq!(setting.number("SELECT count(*) FROM due WHERE endpoint_id <> 'bot' AND lease IS NOT NULL").await, 128);
}

/// So they hold most: each has all that it can get before the next comes.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_whose_customers_never_answer_hold_half_of_what_is_left_one_after_another_and_delay_no_other_account()
{
    let (hanging, prompt) = (Customer::hanging().await, Customer::content().await);
    let setting = Setting::with_endpoint(&prompt.url).await;
    let _running = running(patient(&setting));

    for (number, held) in (1..).zip([128, 192, 224, 240, 248]) {
        add_crowd(&setting, &format!("crowd-{number}"), &hanging.url).await;
        hanging.has_received(held).await;
        setting.owe("bot", &format!("beside-{number}")).await;
        prompt.has_received(number).await;

        assert_eq!(hanging.received().len(), held);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_whose_customers_never_answer_leave_room_to_another_though_all_are_owed_at_once() {
    let (hanging, prompt) = (Customer::hanging().await, Customer::content().await);
    let setting = Setting::with_endpoint(&prompt.url).await;
    for number in 1..=5 {
        add_crowd(&setting, &format!("crowd-{number}"), &hanging.url).await;
    }
    let _running = running(patient(&setting));
    hanging.has_received(128).await;

    setting.owe_many("bot", 200).await;
    prompt.has_received(200).await;

    let held = "SELECT count(*) FROM due JOIN endpoints e ON e.id = endpoint_id \
                WHERE account_id <> 'acme' AND lease IS NOT NULL GROUP BY account_id";
    let held: Vec<i64> = setting.rows(held).await.iter().map(|row| row.get(0)).collect();
    assert!(held.iter().sum::<i64>() <= 248, "{held:?}");
}

/// Else whatever it is owed would be leased for as long as the others have their share, which takes longer than to hand it over.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_has_its_share_keeps_no_endpoint_of_another_from_being_handed_deliveries() {
    let (hanging, prompt) = (Customer::hanging().await, Customer::content().await);
    let setting = Setting::with_endpoint(&prompt.url).await;
    add_crowd(&setting, "crowd", &hanging.url).await;
    let dispatcher = patient(&setting);
    let (desk, _running) = (dispatcher.desk(), running(dispatcher));
    hanging.has_received(128).await;
    setting.owe("bot", "1").await;
    prompt.has_received(1).await;

    let is_handed_to = async {
        while !desk.set_aside("acme", &"bot".parse().unwrap(), 1) {
            tokio::task::yield_now().await;
        }
    };

    assert!(timeout(Duration::from_secs(20), is_handed_to).await.is_ok());
    assert!(!desk.set_aside("crowd", &"crowd-0".parse().unwrap(), 1), "it has more due");
}

/// Room that is made while the loop looks into `due` must not be missed: the next word would be the poll, an hour later.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_for_one_customer_is_worked_off_without_a_pause() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe_many("bot", 300).await;
    let settings = Settings { per_endpoint: 2, poll: Duration::from_secs(3600), ..Settings::default() };
    let stop = CancellationToken::new();
    let running = tokio::spawn(setting.dispatcher_with(settings).run(Arc::new(Notify::new()), stop.clone()));

    customer.has_received(300).await;

    stop.cancel();
    timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered'").await, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn first_attempts_are_found_behind_any_backlog_of_retries() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    setting.owe_many("bot", 2000).await;
    setting.execute("UPDATE due SET attempts = 1, due_at = now() - interval '1 hour'").await;
    let first = setting.owe("bot", "first").await;

    let leased = lease(&setting, room(64, 32), room(16, 8), &[]).await;

    assert_eq!(leased.iter().filter(|leased| leased.attempts > 0).count(), 8);
    assert!(leased.iter().any(|leased| leased.event_id == first));
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_of_all_endpoints_together_leave_room_for_first_attempts() {
    let setting = Setting::new().await;
    for endpoint in ["a", "b", "c", "d"] {
        setting.add_endpoint(endpoint, "http://127.0.0.1:9/").await;
        setting.owe_many(endpoint, 100).await;
    }
    setting.execute("UPDATE due SET attempts = 1 WHERE endpoint_id <> 'd'").await;

    let leased = lease(&setting, room(16, 8), room(16, 8), &[]).await;

    assert_eq!(leased.iter().filter(|leased| leased.attempts > 0).count(), 8);
    assert_eq!(by_endpoint(&leased)["d"], 4);
}

/// A person has everything of an account tried again: what is new there takes the room that is kept for it.
#[tokio::test(flavor = "multi_thread")]
async fn retries_that_there_is_no_room_for_take_no_place_from_first_attempts_of_the_same_account() {
    let setting = Setting::new().await;
    for retried in ["a", "b", "c", "d", "e", "f"] {
        setting.add_endpoint(retried, "http://127.0.0.1:9/").await;
        setting.owe_many(retried, 2).await;
    }
    setting.execute("UPDATE due SET attempts = 1").await;
    setting.add_endpoint("new", "http://127.0.0.1:9/").await;
    setting.owe_many("new", 20).await;
    // Who has something on its way already comes last.
    let busy = [("new".parse().unwrap(), room(6, 3))];
    let ask = async |per_account| {
        let request = LeaseRequest { per_endpoint: room(8, 4), busy: &busy, per_account, ..leasing(room(64, 32)) };
        due::lease(&setting.database.connection().await.unwrap(), &request).await.unwrap()
    };

    let without_room_for_retries = ask(room(4, 0)).await;
    let with_room_for_two = ask(room(4, 2)).await;

    assert_eq!(by_endpoint(&without_room_for_retries), HashMap::from([("new", 4)]));
    assert_eq!((with_room_for_two.len(), by_endpoint(&with_room_for_two)["new"]), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_shares_a_lease_with_those_who_are_owed_little() {
    let setting = Setting::new().await;
    for (endpoint, owed) in [("a", 1000), ("b", 1000), ("z", 2)] {
        setting.add_endpoint(endpoint, "http://127.0.0.1:9/").await;
        setting.owe_many(endpoint, owed).await;
    }

    let leased = lease(&setting, room(12, 6), room(16, 8), &[]).await;

    assert_eq!(by_endpoint(&leased), HashMap::from([("a", 4), ("b", 4), ("z", 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_least_in_flight_comes_first_and_nobody_gets_more_than_his_room() {
    let setting = Setting::new().await;
    for endpoint in ["a", "b", "idle"] {
        setting.add_endpoint(endpoint, "http://127.0.0.1:9/").await;
        setting.owe_many(endpoint, 100).await;
    }
    let busy = [("a".parse().unwrap(), room(0, 0)), ("b".parse().unwrap(), room(3, 1))];

    let scarce = lease(&setting, room(1, 1), room(16, 8), &busy).await;
    let ample = lease(&setting, room(64, 32), room(16, 8), &busy).await;

    assert_eq!(by_endpoint(&scarce), HashMap::from([("idle", 1)]));
    assert_eq!(by_endpoint(&ample), HashMap::from([("b", 3), ("idle", 16)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_never_larger_than_the_room_for_it() {
    let setting = Setting::with_endpoint("http://127.0.0.1:9/").await;
    setting.owe_many("bot", 20).await;
    setting.execute("UPDATE due SET attempts = 1 WHERE ctid IN (SELECT ctid FROM due LIMIT 10)").await;

    assert!(lease(&setting, room(0, 0), room(16, 8), &[]).await.is_empty());
    assert_eq!(lease(&setting, room(1, 1), room(16, 8), &[]).await.len(), 1);
    assert_eq!(lease(&setting, room(5, 0), room(16, 8), &[]).await.iter().filter(|l| l.attempts > 0).count(), 0);
    assert_eq!(lease(&setting, room(64, 32), room(3, 2), &[]).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_leased_what_it_may_have_and_no_more_in_equal_parts_to_its_endpoints() {
    let setting = Setting::new().await;
    setting.execute("INSERT INTO accounts (id, name) VALUES ('other', 'Other')").await;
    for endpoint in ["a", "b", "c", "z"] {
        setting.add_endpoint(endpoint, "http://127.0.0.1:9/").await;
        setting.owe_many(endpoint, 100).await;
    }
    setting.execute("UPDATE endpoints SET account_id = 'other' WHERE id = 'z'; UPDATE due SET attempts = 1 WHERE endpoint_id = 'c'").await;
    let acme = |all, retries| [("acme".to_owned(), room(all, retries))];
    let (all, each) = (room(64, 32), room(8, 4));
    let ask = async |per_account, busy_accounts: &[(String, Room)]| {
        let request = LeaseRequest { per_endpoint: each, per_account, busy_accounts, ..leasing(all) };
        due::lease(&setting.database.connection().await.unwrap(), &request).await.unwrap()
    };

    let none = ask(all, &acme(0, 0)).await;
    let few = ask(all, &acme(2, 2)).await;
    let half = ask(room(9, 6), &[]).await;

    assert_eq!(by_endpoint(&none), HashMap::from([("z", 8)]));
    assert_eq!((few.len(), by_endpoint(&few)["z"]), (2 + 8, 8));
    assert_eq!(by_endpoint(&half), HashMap::from([("a", 3), ("b", 3), ("c", 2), ("z", 8)]));
}
