//! Names that are looked up and never answered: what they hold up, and whom they cost nothing.

use std::time::Duration;

use dispatcher::{Addresses, Client, Dispatcher, Guard, Settings};
use tokio::sync::watch;

use crate::{
    customer::Customer,
    setting::{Setting, dispatch_all},
};

/// Name servers that are silent about `….dead.example` until they are `told` to speak, and a deadline that is soon over.
fn dispatcher(setting: &Setting, told: &watch::Receiver<bool>) -> Dispatcher {
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
    let client = Client::new(Guard::new("127.0.0.0/8".parse().unwrap()).asking(ask));
    let settings = Settings { deadline: Duration::from_secs(3), ..Settings::default() };
    Dispatcher::new(setting.database.clone(), setting.master.clone(), settings, client)
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
    assert_eq!(setting.number(&format!("{attempts} <> 'bot' AND outcome = 'timeout'")).await, 16, "a quarter of 64");
    assert_eq!(setting.number("SELECT count(*) FROM attempts").await, 17);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_found_no_place_for_a_look_up_has_used_up_no_attempt_and_is_sent_to_a_little_later() {
    let customer = Customer::content().await;
    let setting = with_crowd(&customer, 20).await;
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
    dispatch_all(&mut dispatcher).await;

    let counters = dispatcher.counters().snapshot();
    assert_eq!((put_off, gates), (4, 16), "nothing is held against the four");
    assert_eq!((counters.put_off, counters.sent(), counters.released), (4, 17 + 20, 0));
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered' AND attempts = 1").await, 5);
    assert_eq!(setting.number("SELECT count(*) FROM deliveries WHERE state = 'delivered' AND attempts = 2").await, 16);
}
