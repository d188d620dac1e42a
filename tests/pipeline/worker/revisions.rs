//! The revision of an account's endpoints: another one after each change, whoever makes it.

use chrono::{TimeDelta, Utc};
use database::{
    endpoints::{
        self,
        secrets::{self, RotateError, Rotation},
    },
    gates::{self, Gated, Shown},
};
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use futures::future::join_all;
use secrecy::{ExposeSecret, SecretString};
use tests::Pipeline;
use tokio::sync::Barrier;
use vocabulary::{EndpointId, MasterKey};

async fn revision(pipeline: &Pipeline, account: &str) -> String {
    let query = "SELECT endpoints_revision::text FROM accounts WHERE id = $1";
    pipeline.rows(query, &[&account]).await[0].get(0)
}

async fn rotate(pipeline: &Pipeline, id: &EndpointId, secret: &SecretString) {
    let now = Utc::now();
    let rotation = Rotation { secret, others_end: now + TimeDelta::hours(1), now };
    let mut connection = pipeline.database.connection().await.unwrap();
    let rotating = connection.transaction(async |connection| -> Result<usize, RotateError> {
        secrets::rotate(connection, &pipeline.master, id, &rotation).await
    });
    rotating.await.unwrap();
}

/// As `master-key rotate` does it.
async fn reseal(pipeline: &Pipeline, id: &EndpointId) {
    let (new, old) = (MasterKey::generate(), &pipeline.master_key);
    let both = format!("{},{}", new.expose_secret(), old.expose_secret());
    let master = MasterKey::parse(&both.into()).unwrap();
    let connection = pipeline.database.connection().await.unwrap();
    assert!(secrets::reseal(&connection, &master, id.as_str()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_an_endpoint_gives_its_account_another_revision_and_no_other_account() {
    let pipeline = Pipeline::new().await;
    pipeline.add_account("other").await;
    let (connection, bot) = (pipeline.database.connection().await.unwrap(), "bot".parse().unwrap());
    let others = revision(&pipeline, "other").await;
    let mut revisions = vec![revision(&pipeline, "acme").await];
    let mut has_changed = async |what: &str| {
        let now = revision(&pipeline, "acme").await;
        assert!(!revisions.contains(&now), "{what}");
        revisions.push(now);
    };

    endpoints::disable_by_hand(&connection, &bot, "gone").await.unwrap();
    has_changed("disable").await;
    endpoints::enable(&connection, &bot).await.unwrap();
    has_changed("enable").await;
    endpoints::set_access(&connection, &pipeline.master, &bot, Some(&"{}".to_owned().into())).await.unwrap();
    has_changed("access").await;
    rotate(&pipeline, &bot, &"whsec_YW5vdGhlciBzZWNyZXQgb2YgYSB0ZXN0".to_owned().into()).await;
    has_changed("rotate").await;
    reseal(&pipeline, &bot).await;
    has_changed("master-key rotate").await;
    pipeline.add_endpoint("acme", "crm", "*").await;
    has_changed("a new one").await;
    pipeline.add_endpoint("acme", "crm", "message_*").await;
    has_changed("other terms").await;
    pipeline.execute("DELETE FROM endpoints WHERE id = 'crm'").await;
    has_changed("by hand").await;
    let ranges = ["10.0.0.0/8".to_owned()];
    database::accounts::allow_private(&connection, &"acme".parse().unwrap(), &ranges).await.unwrap();
    has_changed("ranges").await;

    assert_eq!(revision(&pipeline, "other").await, others);
}

/// They come and go with failures: a flapping endpoint would make everybody read its account again.
#[tokio::test(flavor = "multi_thread")]
async fn what_endpoints_show_changes_no_revision_and_neither_does_a_change_of_nothing() {
    let pipeline = Pipeline::new().await;
    let connection = pipeline.database.connection().await.unwrap();
    let before = revision(&pipeline, "acme").await;
    let bot: EndpointId = "bot".parse().unwrap();
    let shown = Shown {
        revision: endpoints::target(&connection, &bot).await.unwrap().unwrap().revision,
        endpoint_id: bot,
        succeeded: false,
        failures: 1,
        failed_again: 0,
        probed: false,
        rest: Default::default(),
    };

    gates::note(&connection, std::slice::from_ref(&shown)).await.unwrap();
    let gated = gates::gated(&connection, &["acme"].into()).await.unwrap();
    gates::note(&connection, &[Shown { succeeded: true, failures: 0, ..shown }]).await.unwrap();
    pipeline.execute("UPDATE endpoints SET enabled = false WHERE id = 'nobody'").await;
    pipeline.execute("UPDATE accounts SET allowed_private = '{}', name = 'Acme'").await;

    assert_eq!(revision(&pipeline, "acme").await, before);
    assert_eq!(gated, [("bot".to_owned(), Gated::Failing)].into());
    assert_eq!(gates::gated(&connection, &["acme"].into()).await.unwrap(), [].into());
}

/// Who moves one by hand changes two accounts.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_moved_gives_both_accounts_another_revision() {
    let pipeline = Pipeline::new().await;
    pipeline.add_account("other").await;
    pipeline.execute("INSERT INTO gates (endpoint_id) SELECT id FROM endpoints").await;
    let (acme, other) = (revision(&pipeline, "acme").await, revision(&pipeline, "other").await);

    pipeline.execute("UPDATE endpoints SET account_id = 'other'").await;

    assert_ne!(revision(&pipeline, "acme").await, acme);
    assert_ne!(revision(&pipeline, "other").await, other);
    assert_eq!(pipeline.number("SELECT count(*) FROM gates WHERE account_id = 'other'").await, 1);
}

/// Whoever changes endpoints waits for whoever changes others of the account. In a circle nobody would get on, and Postgres
/// would refuse one of them. By hand one may change those of several accounts at once.
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_are_changed_at_the_same_time_are_all_changed() {
    let pipeline = &Pipeline::new().await;
    pipeline.add_account("other").await;
    for n in 0..8 {
        pipeline.add_endpoint(["acme", "other"][n % 2], &format!("e{n}"), "*").await;
    }
    let together = &Barrier::new(6);

    let one_by_one = (0..4).map(async |n| {
        let id: EndpointId = format!("e{n}").parse().unwrap();
        let mut connection = pipeline.database.connection().await.unwrap();
        together.wait().await;
        for _ in 0..20 {
            endpoints::disable_by_hand(&connection, &id, "gone").await.unwrap();
            let enabling = connection.transaction(async |connection| endpoints::enable(connection, &id).await);
            assert!(enabling.await.unwrap());
        }
    });
    let at_once = [("e4", "e5"), ("e6", "e7")].map(async |(one, other)| {
        let mut connection = pipeline.database.connection().await.unwrap();
        let change = format!("UPDATE endpoints SET max_in_flight = 1 WHERE id IN ('{one}', '{other}')");
        together.wait().await;
        for _ in 0..20 {
            connection.batch_execute(&change).await.unwrap();
        }
    });
    tokio::join!(join_all(one_by_one), join_all(at_once));

    assert_eq!(pipeline.number("SELECT count(*) FROM endpoints WHERE enabled").await, 9);
    assert_eq!(pipeline.number("SELECT count(*) FROM endpoints WHERE max_in_flight = 1").await, 4);
}
