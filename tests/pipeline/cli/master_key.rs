//! The master key, and how it is replaced while everything goes on.

use axum::{Router, body::Bytes, http::HeaderMap};
use chrono::Utc;
use dispatcher::{
    Client, Dispatcher, Guard, Settings,
    signing::{SigningSecret, verify},
};
use queue::{Read, Snapshots};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tests::{Pipeline, a_text};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::task::AbortOnDropHandle;
use vocabulary::MasterKey;

use super::CommandLine;

/// The command line of somebody who knows these keys.
fn knowing(pipeline: &Pipeline, keys: &[&SecretString]) -> CommandLine {
    let keys: Vec<_> = keys.iter().map(|key| key.expose_secret()).collect();
    CommandLine::knowing(&keys.join(","), &pipeline.test_database.url, &pipeline.test_redis)
}

type Received = (HeaderMap, Bytes);

/// A customer who answers 200, and what it gets.
async fn customer() -> (String, mpsc::UnboundedReceiver<Received>, AbortOnDropHandle<()>) {
    let (sender, received) = mpsc::unbounded_channel();
    let take = move |headers: HeaderMap, body: Bytes| async move { sender.send((headers, body)).unwrap() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(listener, Router::new().fallback(take)).await.unwrap() });
    (url, received, AbortOnDropHandle::new(server))
}

async fn deeds(pipeline: &Pipeline) -> Vec<String> {
    let rows = pipeline.rows("SELECT target FROM audit_log WHERE action = 'master-key rotate' ORDER BY id", &[]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_the_old_master_key_can_go_and_deliveries_are_still_signed_and_sent() {
    let pipeline = Pipeline::new().await;
    let (old, new) = (&pipeline.master_key, &MasterKey::generate());
    let ((url, mut received, _server), before) = (customer().await, knowing(&pipeline, &[old]));
    before.json("endpoint disable bot").await;
    let add = format!("endpoint add --account acme --events * --id told --url {url}");
    let secret: SecretString = before.json(&add).await["secret"].as_str().unwrap().to_owned().into();
    pipeline.receive(a_text("wamid.1", "hello")).await;

    let rotated = knowing(&pipeline, &[new, old]).json("master-key rotate").await;
    let master = MasterKey::parse(new).unwrap();
    let client = Client::new(Guard::new("127.0.0.0/8".parse().unwrap()));
    let mut dispatcher = Dispatcher::new(pipeline.database.clone(), master.into(), Settings::default(), client);
    dispatcher.dispatch_due().await.unwrap();
    dispatcher.settled().await;

    assert_eq!(rotated, json!({"resealed_sources": 1, "resealed_endpoints": 2, "old_keys_may_go": true}));
    assert_eq!(deeds(&pipeline).await, ["source wa", "endpoint bot", "endpoint told"]);
    let (headers, body) = received.recv().await.unwrap();
    verify(&SigningSecret::parse(&secret).unwrap(), &headers, &body, Utc::now()).unwrap();
    let doctor = knowing(&pipeline, &[new]).run("doctor --json").await.out;
    let checks: Vec<serde_json::Value> = serde_json::from_str(&doctor).unwrap();
    assert!(checks.iter().any(|it| it["check"] == "the master key opens every secret" && it["verdict"] == "ok"));
    let snapshot = Snapshots::new(&pipeline.redis).read(&MasterKey::parse(new).unwrap(), None).await.unwrap();
    assert!(matches!(snapshot, Read::Newer(snapshot) if snapshot.sources[0].secrets[0].expose_secret() == "secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_who_needs_an_old_key_and_a_second_rotation_finds_nothing_to_do() {
    let pipeline = Pipeline::new().await;
    let (old, new) = (&pipeline.master_key, &MasterKey::generate());
    knowing(&pipeline, &[old]).json("source disable wa").await;
    let both = knowing(&pipeline, &[new, old]);

    let before = both.json("master-key status").await;
    both.json("master-key rotate").await;
    let again = both.json("master-key rotate").await;
    let after = both.json("master-key status").await;

    assert_eq!(
        before,
        json!({
            "sources": 1, "sources_under_old_keys": 1, "endpoints": 1, "endpoints_under_old_keys": 1,
            "under_unnamed_keys": 0, "deliveries_waiting_for_unnamed_keys": 0, "snapshot_under_old_key": true,
            "snapshot_unknown": null, "old_keys_may_go": false,
        })
    );
    assert_eq!(again, json!({"resealed_sources": 0, "resealed_endpoints": 0, "old_keys_may_go": true}));
    assert_eq!(
        after,
        json!({
            "sources": 1, "sources_under_old_keys": 0, "endpoints": 1, "endpoints_under_old_keys": 0,
            "under_unnamed_keys": 0, "deliveries_waiting_for_unnamed_keys": 0, "snapshot_under_old_key": false,
            "snapshot_unknown": null, "old_keys_may_go": true,
        })
    );
    assert_eq!(deeds(&pipeline).await.len(), 2);
}

/// What Postgres knows is worth as much then, and nobody is told to take a key away that the snapshot may need.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_the_status_says_all_but_the_snapshot_and_that_old_keys_may_not_go() {
    let pipeline = Pipeline::new().await;
    let (old, new) = (&pipeline.master_key, &MasterKey::generate());
    let mut both = knowing(&pipeline, &[new, old]);
    both.json("master-key rotate").await;
    both.settings.retain(|flag| !flag.starts_with("--redis-url"));
    both.settings.push("--redis-url=redis://127.0.0.1:1/".to_owned());

    let status = both.json("master-key status").await;
    let rotating = both.fails("master-key rotate").await;

    assert_eq!(
        (&status["sources"], &status["endpoints"], &status["under_unnamed_keys"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!((&status["snapshot_under_old_key"], &status["old_keys_may_go"]), (&json!(null), &json!(false)));
    let why = status["snapshot_unknown"].as_str().unwrap();
    assert!(why.starts_with("Redis cannot be reached: check that it runs and that REDIS_URL is right"), "{why}");
    assert!(rotating.contains("Redis cannot be reached"), "{rotating}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_sealed_is_sealed_anew_tokens_and_access_too() {
    let pipeline = Pipeline::new().await;
    let (old, new) = (&pipeline.master_key, &MasterKey::generate());
    let hex = |sealed: Vec<u8>| sealed.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let access = hex(pipeline.master.seal("endpoint:bot", b"{}"));
    let token = hex(pipeline.master.seal("source:wa", b"token"));
    pipeline.execute(&format!("UPDATE endpoints SET access = '\\x{access}'")).await;
    pipeline.execute(&format!("UPDATE sources SET verify_token = '\\x{token}'")).await;

    knowing(&pipeline, &[new, old]).json("master-key rotate").await;

    let row = &pipeline.rows("SELECT access, verify_token FROM endpoints, sources", &[]).await[0];
    let master = MasterKey::parse(new).unwrap();
    assert_eq!(master.open("endpoint:bot", row.get(0)).unwrap(), b"{}");
    assert_eq!(master.open("source:wa", row.get(1)).unwrap(), b"token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_changed_while_the_master_key_is_rotated_is_not_lost() {
    let pipeline = Pipeline::new().await;
    let (old, new) = (&pipeline.master_key, &MasterKey::generate());
    let changed = SigningSecret::generate();
    let sealed = pipeline.master.seal("endpoint:bot", changed.expose_secret().as_bytes());
    let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
    pipeline.execute(&format!("BEGIN; UPDATE endpoints SET secrets = ARRAY['\\x{hex}'::bytea]")).await;

    let both = knowing(&pipeline, &[new, old]);
    let mut rotating = std::pin::pin!(both.json("master-key rotate"));
    tokio::select! {
        _ = &mut rotating => panic!("it waits for nobody"),
        () = pipeline.somebody_waits_for_us() => pipeline.execute("COMMIT").await,
    }
    let rotated = rotating.await;

    assert_eq!(rotated["old_keys_may_go"], true);
    let row = &pipeline.rows("SELECT secrets FROM endpoints", &[]).await[0];
    let sealed: Vec<Vec<u8>> = row.get(0);
    let opened = MasterKey::parse(new).unwrap().open("endpoint:bot", &sealed[0]).unwrap();
    assert_eq!(opened, changed.expose_secret().as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_key_opens_is_named_before_anything_is_sealed_anew() {
    let pipeline = Pipeline::new().await;
    let stranger = knowing(&pipeline, &[&MasterKey::generate(), &MasterKey::generate()]);

    let failure = stranger.fails("master-key rotate").await;
    let status = stranger.json("master-key status").await;

    assert!(failure.contains("does not name: source wa, endpoint bot; add that key behind the others"), "{failure}");
    assert_eq!((&status["under_unnamed_keys"], &status["old_keys_may_go"]), (&json!(2), &json!(false)));
    assert_eq!(deeds(&pipeline).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_wait_for_a_key_are_counted_by_status_and_named_by_doctor() {
    let pipeline = Pipeline::new().await;
    for n in 1..=3 {
        pipeline.receive(a_text(&format!("wamid.{n}"), "hello")).await;
    }
    let (stranger, holder) = (MasterKey::generate(), knowing(&pipeline, &[&pipeline.master_key]));
    let stranger = knowing(&pipeline, &[&stranger]);

    let counted = [&stranger, &holder].map(|who| who.json("master-key status"));
    let counted = futures::future::join_all(counted).await;
    let found = [says(&stranger).await, says(&holder).await];

    let waiting: Vec<_> = counted.iter().map(|it| it["deliveries_waiting_for_unnamed_keys"].clone()).collect();
    assert_eq!(waiting, [3, 0]);
    let found = found.map(|checkup| (checkup["verdict"].clone(), checkup["found"].as_str().unwrap().to_owned()));
    assert_eq!(found[0].0, "fail");
    assert!(found[0].1.ends_with("deliveries that are owed: 3 to bot"), "{}", found[0].1);
    assert_eq!(found[1], ("ok".into(), "none does".to_owned()));
}

/// What doctor says of deliveries that wait.
async fn says(latchhook: &CommandLine) -> serde_json::Value {
    let said = latchhook.run("doctor --json").await;
    let checkups: Vec<serde_json::Value> = serde_json::from_str(&said.out).unwrap();
    checkups.into_iter().find(|checkup| checkup["check"] == "no delivery waits for a master key").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_long_help_tells_the_steps_in_their_order() {
    let help = CommandLine { settings: Vec::new() }.run("master-key rotate --help").await.out;

    let steps = ["head -c 32", "=OLD,NEW", "=NEW,OLD", "latchhook master-key rotate", "latchhook master-key status"];
    let places: Vec<_> = steps.iter().map(|step| help.find(step)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{help}");
}
