//! Names that are looked up and never answered: what they hold up, and whom they cost nothing.

use std::{sync::Arc, time::Duration};

use database::Database;
use diesel_async::SimpleAsyncConnection;
use dispatcher::{Addresses, Client, Dispatcher, Guard, Settings};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    customer::Customer,
    setting::{Setting, begin, dispatch_all},
};

/// Name servers that are silent about `….dead.example` until they are `told` to speak.
fn client(told: &watch::Receiver<bool>) -> Client {
    let told = told.clone();
    let ask = move |name: String| -> Addresses {
        let mut told = told.clone();
        Box::pin(async move {
            if name.ends_with(".dead.example") {
                told.wait_for(|told| *told).await.map_err(std::io::Error::other)?;
            }
            Ok(vec![([127, 0, 0, 1], 0).into()])
        })
    };
    Client::new(Guard::new("127.0.0.0/8".parse().unwrap()).asking(ask))
}

/// A deadline that is soon over.
fn dispatcher(setting: &Setting, told: &watch::Receiver<bool>) -> Dispatcher {
    let settings = Settings { deadline: Duration::from_secs(3), ..Settings::default() };
    Dispatcher::new(setting.database.clone(), setting.master.clone(), settings, client(told))
}

/// A deadline that is never over, as many connections as `run` has for a dispatcher, and a Postgres in which locks are waited for
/// without end.
fn patient(setting: &Setting, told: &watch::Receiver<bool>, settings: Settings) -> Dispatcher {
    let url = format!("{}?options=-c%20lock_timeout%3D0", setting.test_database.url);
    let settings = Settings { deadline: Duration::from_secs(3600), ..settings };
    Dispatcher::new(Database::for_stages(&url, 4).unwrap(), setting.master.clone(), settings, client(told))
}

async fn has_put_off(dispatcher: &Dispatcher, count: usize) {
    while dispatcher.counters().snapshot().put_off < count as u64 {
        tokio::task::yield_now().await;
    }
}

/// `bot`, a shop, and an account `crowd` with so many endpoints, all of whose names are silent. Each is owed a delivery.
async fn with_crowd(customer: &Customer, names: usize) -> Setting {
    let port = customer.url.split(':').next_back().unwrap();
    let setting = Setting::with_endpoint(&format!("http://shop.example:{port}")).await;
    setting.execute("INSERT INTO accounts (id, name) VALUES ('crowd', 'Crowd')").await;
    for number in 0..names {
        let id = format!("dead-{number}");
        setting.add_endpoint(&id, &format!("http://{id}.dead.example:{port}")).await;
        setting.owe(&id, "1").await;
    }
    setting.execute("UPDATE endpoints SET account_id = 'crowd' WHERE id <> 'bot'").await;
    setting.owe("bot", "1").await;
    setting
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_all_of_whose_names_are_silent_costs_no_other_account_an_attempt() {
    let customer = Customer::content().await;
    let setting = with_crowd(&customer, 64).await;
    let (_silent, told) = watch::channel(false);
    let mut dispatcher = dispatcher(&setting, &told);

    let leased = dispatcher.dispatch_due().await.unwrap().leased;
    dispatcher.settled().await;

    assert_eq!((leased, customer.received().len()), (65, 1));
    let attempts = "SELECT count(*) FROM attempts WHERE endpoint_id";
    assert_eq!(setting.number(&format!("{attempts} = 'bot' AND outcome = 'delivered'")).await, 1);
    assert_eq!(setting.number(&format!("{attempts} <> 'bot' AND outcome = 'timeout'")).await, 32, "half of 64");
    assert_eq!(setting.number("SELECT count(*) FROM attempts").await, 33);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_found_no_place_for_a_look_up_has_used_up_no_attempt_and_is_sent_to_a_little_later() {
    let customer = Customer::content().await;
    let setting = with_crowd(&customer, 36).await;
    let (silent, told) = watch::channel(false);
    let mut dispatcher = dispatcher(&setting, &told);

    dispatcher.dispatch_due().await.unwrap();
    dispatcher.settled().await;
    let put_off = "SELECT count(*) FROM due WHERE lease IS NULL AND attempts = 0 \
                   AND due_at > (SELECT max(started_at) + interval '4 seconds' FROM attempts)";
    let (put_off, gates) = (setting.number(put_off).await, setting.number("SELECT count(*) FROM gates").await);
    silent.send_replace(true);
    // The look-ups have ended once nobody but the two of us listens.
    while silent.receiver_count() > 2 {
        tokio::task::yield_now().await;
    }
    setting.pauses_are_over().await;
    let mut another = self::dispatcher(&setting, &told);
    dispatch_all(&mut another).await;

    let counters = [dispatcher, another].map(|dispatcher| dispatcher.counters().snapshot());
    assert_eq!((put_off, gates), (4, 32), "nothing is held against the four");
    assert_eq!(counters.each_ref().map(|counters| (counters.put_off, counters.sent())), [(4, 33), (0, 36)]);
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered' AND attempts = 1").await, 5);
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered' AND attempts = 2").await, 32);
}

/// Who puts off needs no connection, and no place in flight.
#[tokio::test(flavor = "multi_thread")]
async fn more_deliveries_to_silent_names_than_can_be_sent_hold_up_no_other_account_though_none_is_given_back() {
    let customer = Customer::content().await;
    let setting = with_crowd(&customer, 64).await;
    setting.execute("DELETE FROM due WHERE endpoint_id = 'bot'").await;
    for number in 0..64 {
        setting.owe_many(&format!("dead-{number}"), 5).await;
    }
    let (_silent, told) = watch::channel(false);
    let mut dispatcher = patient(&setting, &told, Settings::default());
    let leased = dispatcher.dispatch_due().await.unwrap().leased;
    let mut theirs = begin(&setting.database).await;
    theirs.batch_execute("SELECT FROM due WHERE endpoint_id <> 'bot' FOR UPDATE").await.unwrap();
    has_put_off(&dispatcher, leased - leased / 2).await;

    let running = dispatcher.run(Arc::new(Notify::new()), CancellationToken::new());
    let _running = AbortOnDropHandle::new(tokio::spawn(running));
    setting.owe_many("bot", 200).await;

    assert_eq!(customer.has_received(200).await.len(), 200);
    assert_eq!(setting.number("SELECT count(*) FROM attempts WHERE endpoint_id <> 'bot'").await, 0, "none has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_endpoint_that_was_put_off_nothing_more_is_leased_or_handed_over_for_a_while() {
    let customer = Customer::content().await;
    let setting = with_crowd(&customer, 36).await;
    for number in 0..36 {
        setting.owe_many(&format!("dead-{number}"), 3).await;
    }
    let (_silent, told) = watch::channel(false);
    let mut dispatcher = patient(&setting, &told, Settings { per_endpoint: 1, ..Settings::default() });
    let desk = dispatcher.desk();

    let leased = dispatcher.dispatch_due().await.unwrap().leased;
    has_put_off(&dispatcher, 4).await;
    let more = dispatcher.dispatch_due().await.unwrap().leased;

    assert_eq!((leased, more), (37, 0));
    let places = (0..36).filter(|number| desk.set_aside("acme", &format!("dead-{number}").parse().unwrap(), 1));
    assert_eq!(places.count(), 32, "the four get none");
}
