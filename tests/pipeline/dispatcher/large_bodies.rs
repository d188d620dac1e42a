//! Large bodies have their own bound: what is in memory at one time, however many deliveries have it.

use std::{collections::HashSet, sync::Arc};

use dispatcher::Settings;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    customer::Customer,
    setting::{Setting, dispatch_all},
};

/// Makes all bodies so large, each of its own bytes.
async fn enlarge(setting: &Setting, bytes: usize) {
    let large = "decode(rpad('', 2 * $, md5(event_id::text)), 'hex')".replace('$', &bytes.to_string());
    setting.execute(&format!("UPDATE bodies SET body = {large}")).await;
}

/// Owes an endpoint whatever `bot` is owed.
async fn owe_as_bot(setting: &Setting, endpoint: &str) {
    let as_bot = format!(
        "INSERT INTO deliveries (endpoint_id, event_id, webhook_id, format) \
             SELECT '{endpoint}', event_id, webhook_id || '-{endpoint}', format FROM deliveries WHERE endpoint_id = 'bot'; \
         INSERT INTO due (endpoint_id, event_id) SELECT '{endpoint}', event_id FROM due WHERE endpoint_id = 'bot'"
    );
    setting.execute(&as_bot).await;
}

/// How often a body that Postgres keeps apart from its row was read. Who has read it says so when its connection ends.
async fn large_bodies_read(setting: &Setting) -> i64 {
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    setting.execute(end).await;
    let read = "SELECT idx_scan FROM pg_stat_all_tables \
                WHERE relid = (SELECT reltoastrelid FROM pg_class WHERE oid = 'bodies'::regclass)";
    setting.number(read).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_read_once_for_all_its_endpoints_and_each_gets_its_bytes() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.owe("bot", "1").await;
    for number in 0..39 {
        setting.add_endpoint(&format!("bot-{number}"), &customer.url).await;
        owe_as_bot(&setting, &format!("bot-{number}")).await;
    }
    enlarge(&setting, 300_000).await;
    let body: Vec<u8> = setting.rows("SELECT body FROM bodies").await[0].get(0);
    // Whatever was read until now is told before it is forgotten.
    setting.execute("SELECT pg_stat_force_next_flush()").await;
    setting.execute("SELECT pg_stat_reset()").await;

    let sent = dispatch_all(&mut setting.dispatcher()).await;

    let received = customer.received();
    assert_eq!((sent, received.len()), (40, 40));
    assert!(received.iter().all(|request| request.body == body && request.is_signed_by(&setting.secret)));
    assert_eq!(large_bodies_read(&setting).await, 1);
}

/// With room for two of an account; and where each is larger than all the room, so that it is sent alone.
#[tokio::test(flavor = "multi_thread")]
async fn of_more_large_bodies_than_there_is_memory_for_all_arrive_and_never_more_than_that_at_once() {
    for (large_bytes, at_once) in [(1_300_000, 2), (100_000, 1)] {
        let gate = Arc::new(Notify::new());
        let customer = Customer::waiting_for(&gate).await;
        let setting = Setting::with_endpoint(&customer.url).await;
        setting.owe_many("bot", 4).await;
        enlarge(&setting, 300_000).await;
        let dispatcher = setting.dispatcher_with(Settings { large_bytes, ..Settings::default() });
        let (counters, stop) = (dispatcher.counters(), CancellationToken::new());
        let running = tokio::spawn(dispatcher.run(Arc::default(), stop.clone()));

        for answered in 0..4 {
            let received = customer.has_received(4.min(answered + at_once)).await;
            assert!(received.len() <= answered + at_once, "{} at once", received.len() - answered);
            gate.notify_one();
        }
        stop.cancel();
        running.await.unwrap();

        let ids: HashSet<_> = customer.received().iter().map(|request| request.id().to_owned()).collect();
        let delivered = "SELECT count(*) FROM deliveries WHERE state = 'delivered' AND attempts = 1";
        assert_eq!((ids.len(), setting.number(delivered).await), (4, 4));
        assert!(counters.snapshot().put_off_large >= 4 - at_once as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_small_is_sent_while_large_bodies_have_all_their_memory() {
    let (hangs, content) = (Customer::hanging().await, Customer::content().await);
    let setting = Setting::with_endpoint(&hangs.url).await;
    setting.owe_many("bot", 8).await;
    enlarge(&setting, 300_000).await;
    setting.add_endpoint("small", &content.url).await;
    setting.owe_many("small", 8).await;
    let mut dispatcher = setting.dispatcher_with(Settings { large_bytes: 300_000, ..Settings::default() });

    dispatcher.dispatch_due().await.unwrap();

    content.has_received(8).await;
    assert_eq!(hangs.has_received(1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_of_one_account_to_customers_who_never_answer_leave_memory_to_those_of_another() {
    let (hangs, content) = (Customer::hanging().await, Customer::content().await);
    let setting = Setting::with_endpoint(&hangs.url).await;
    setting.add_endpoint("large", &content.url).await;
    setting.owe_many("bot", 8).await;
    setting.owe_many("large", 8).await;
    enlarge(&setting, 300_000).await;
    let of_another = "INSERT INTO accounts (id, name) VALUES ('other', 'Other'); \
                      UPDATE endpoints SET account_id = 'other' WHERE id = 'large'; \
                      UPDATE due SET due_at = now() + interval '1 hour' WHERE endpoint_id = 'large'";
    setting.execute(of_another).await;
    let dispatcher = setting.dispatcher_with(Settings { large_bytes: 1_300_000, ..Settings::default() });
    let _running = AbortOnDropHandle::new(tokio::spawn(dispatcher.run(Arc::default(), CancellationToken::new())));
    hangs.has_received(2).await;

    setting.execute("UPDATE due SET due_at = now() WHERE endpoint_id = 'large'").await;

    assert_eq!(content.has_received(8).await.len(), 8);
    assert_eq!(hangs.received().len(), 2, "half of the memory");
}
