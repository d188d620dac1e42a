//! Dispatchers that were not given the master key of an endpoint: they leave it to those who were, and use up nothing.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dispatcher::{Client, Dispatcher, Guard, Settings};
use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use vocabulary::{EndpointId, MasterKey};

use crate::{
    customer::Customer,
    setting::{Setting, dispatch_all},
};

pub(crate) fn another_key() -> Arc<MasterKey> {
    Arc::new(MasterKey::parse(&MasterKey::generate()).unwrap())
}

impl Setting {
    pub(crate) fn dispatcher_of(&self, master: Arc<MasterKey>) -> Dispatcher {
        let client = Client::new(Guard::new("127.0.0.0/8".parse().unwrap()));
        Dispatcher::new(self.database.clone(), master, Settings::default(), client)
    }

    /// How many deliveries are due, and nobody has leased.
    async fn due(&self) -> i64 {
        self.number("SELECT count(*) FROM due WHERE lease IS NULL AND due_at <= now()").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_dispatcher_lacks_the_key_for_another_delivers_with_no_attempt_that_was_not_sent() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe_many("bot", 200).await;
    let (mut lacking, mut having) = (setting.dispatcher_of(another_key()), setting.dispatcher());

    lacking.dispatch_due().await.unwrap();
    tokio::join!(dispatch_all(&mut lacking), dispatch_all(&mut having));
    dispatch_all(&mut having).await;

    assert_eq!(customer.received().len(), 200);
    assert_eq!(setting.number("SELECT count(*) FROM attempts WHERE outcome = 'delivered'").await, 200);
    assert_eq!(setting.number("SELECT count(*) FROM attempts").await, 200);
    let delivered = "SELECT count(*) FROM deliveries WHERE state = 'delivered' AND attempts = 1";
    assert_eq!(setting.number(delivered).await, 200);
    assert_eq!((lacking.counters().snapshot().sent(), having.counters().snapshot().sent()), (0, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_has_the_key_nothing_is_recorded_and_everything_stays_due() {
    let customer = Customer::answering(&[500]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "failed once").await;
    dispatch_all(&mut setting.dispatcher()).await;
    setting.pauses_are_over().await;
    setting.owe_many("bot", 12).await;
    let mut lacking = setting.dispatcher_of(another_key());

    lacking.dispatch_due().await.unwrap();
    let leased = lacking.counters().snapshot().leased;
    dispatch_all(&mut lacking).await;

    assert_eq!((leased, setting.due().await), (13, 13));
    assert_eq!(lacking.counters().snapshot().leased, leased, "it is left alone for a while");
    assert_eq!(setting.attempts().await, [("status".to_owned(), Some(500))]);
    assert_eq!(setting.number("SELECT sum(attempts) FROM deliveries").await, 1);
    assert_eq!(setting.number("SELECT sum(attempts) FROM due").await, 1, "its place in the schedule");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_key_is_lacking_takes_no_room_from_another() {
    let (customer, own_customer) = (Customer::content().await, Customer::content().await);
    let mut setting = Setting::with_endpoint(&customer.url).await;
    setting.owe_many("bot", 500).await;
    setting.master = another_key();
    setting.add_endpoint("own", &own_customer.url).await;
    setting.owe_many("own", 100).await;

    let sent = dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!((sent, own_customer.received().len(), customer.received().len()), (100, 100, 0));
    assert_eq!(setting.due().await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_of_an_open_circuit_is_left_to_the_next_who_has_the_key() {
    let failing_at_first: Vec<_> = [500; 10].into_iter().chain([200]).collect();
    let customer = Customer::answering(&failing_at_first).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe_many("bot", 10).await;
    dispatch_all(&mut setting.dispatcher()).await;
    setting.execute("UPDATE gates SET rests_until = now()").await;
    setting.owe("bot", "probe").await;
    let mut lacking = setting.dispatcher_of(another_key());

    lacking.dispatch_due().await.unwrap();
    let rests = "SELECT count(*) FROM gates WHERE is_probed OR rests_until > now()";
    let given_back = (lacking.counters().snapshot().released, setting.number(rests).await);
    dispatch_all(&mut setting.dispatcher()).await;

    assert_eq!(given_back, (1, 0));
    assert_eq!(customer.received().len(), 11);
    assert_eq!(setting.number("SELECT count(*) FROM gates").await, 0, "it has recovered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_over_to_a_dispatcher_that_lacks_the_key_is_given_back_for_one_that_has_it() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let (lacking, having) = (setting.dispatcher_of(another_key()), setting.dispatcher());
    let (desk, bot): (_, EndpointId) = (lacking.desk(), "bot".parse().unwrap());
    setting.owe_many("bot", 3).await;
    let handed: Vec<_> =
        setting.lease().await.into_iter().map(|leased| leased.split().0.with(Bytes::from("{}"))).collect();
    assert!(handed.iter().all(|leased| desk.set_aside("acme", &bot, leased.body.len())));

    desk.take(handed, Instant::now() + Duration::from_secs(60));
    let running = having.run(Arc::new(Notify::new()), CancellationToken::new());
    let _running = AbortOnDropHandle::new(tokio::spawn(running));

    assert_eq!(customer.has_received(3).await.len(), 3);
    assert!(!desk.set_aside("acme", &bot, 1), "the next is left in Postgres from the start");
    let counters = lacking.counters().snapshot();
    assert_eq!((counters.sent(), counters.handed_over, counters.released, counters.late), (0, 3, 3, 0));
}
