//! Any provider in: what is to be known of each, a source of it, and a sample of it through the real door.

use ::providers::Provider;
use serde_json::json;
use tests::{Pipeline, Process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{CommandLine, stores};

/// Usable as the secret of any provider that signs with one.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A producer that has looked at Redis and at the sources: until then it answers 503.
async fn ready_producer(pipeline: &Pipeline) -> Process {
    let producer = Process::start(pipeline, "producer", None, &[]).await;
    let mut answer = String::new();
    while !answer.starts_with("HTTP/1.1 200") {
        let mut stream = TcpStream::connect(producer.address()).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: latchhook\r\nconnection: close\r\n\r\n").await.unwrap();
        answer.clear();
        stream.read_to_string(&mut answer).await.unwrap();
    }
    producer
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_is_told_with_its_key_its_signature_and_where_its_secret_is_found() {
    let (_database, _redis, latchhook) = stores().await;

    let told = latchhook.json("providers").await;

    let names: Vec<_> = told.as_array().unwrap().iter().map(|told| told["name"].as_str().unwrap()).collect();
    let known: Vec<_> = Provider::ALL.iter().map(|provider| provider.as_str()).collect();
    assert_eq!(names, known);
    for told in told.as_array().unwrap() {
        for what in ["title", "signature", "key", "secret", "url", "page"] {
            assert!(told[what].as_str().is_some_and(|text| text.len() >= 2), "{}: {what}", told["name"]);
        }
    }
    assert_eq!(latchhook.json("providers github").await["name"], "github");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_read_of_a_provider_in_seconds_and_of_each_setting_by_its_name_and_people_in_words() {
    let (_database, _redis, latchhook) = stores().await;

    let stripe = latchhook.json("providers stripe").await;
    let generic = latchhook.json("providers generic").await;
    let people = [latchhook.run("providers mailgun").await.out, latchhook.run("providers generic").await.out];
    let people = people.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));

    assert_eq!((&stripe["repeats_for_s"], &generic["repeats_for_s"]), (&json!(259_200), &json!(null)));
    let algorithm = &generic["settings"][0];
    assert_eq!((&algorithm["name"], &algorithm["needed"]), (&json!("algorithm"), &json!(true)));
    assert!(algorithm["expected"].as_str().unwrap().contains("hmac-sha256") && algorithm["does"].is_string());
    assert!(people[0].contains("repeats for 8h") && !people[0].contains("repeats for s"), "{}", people[0]);
    assert!(
        people[1].contains("repeats for not said")
            && people[1].contains("setting algorithm needed: how it is signed; "),
        "{}",
        people[1]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_nearly_that_of_a_provider_is_answered_with_the_one_that_was_meant() {
    let nothing = CommandLine { settings: Vec::new() };

    for (given, meant) in [("Stripe", "stripe"), ("360dialog", "dialog360"), ("standard-webhooks", "standard_webhooks")]
    {
        let failure = nothing.fails(&format!("providers {given}")).await;
        assert!(failure.contains(&format!("did you mean {meant}?")), "{failure}");
    }
}

/// The page of all providers says that the ledger forgets nothing.
#[test]
fn nothing_deletes_from_the_ledger_while_it_is_said_to_forget_nothing() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders = vec![root.join("migrations"), root.join("crates")];
    let mut deleting = Vec::new();

    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.extension().and_then(|extension| extension.to_str()) {
                _ if entry.is_dir() => folders.push(entry),
                Some("rs" | "sql") if !entry.ends_with("down.sql") => {
                    let text = std::fs::read_to_string(&entry).unwrap().to_lowercase();
                    let ways = ["delete from events", "truncate events", "delete(events::", "drop table events"];
                    deleting.extend(ways.iter().any(|way| text.contains(way)).then_some(entry));
                }
                _ => {}
            }
        }
    }

    assert_eq!(deleting, Vec::<std::path::PathBuf>::new(), "after how long? say so in REMEMBERED_FOR, and here");
    assert_eq!(database::events::REMEMBERED_FOR, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_goes_through_the_real_door_and_is_recorded_as_an_event_of_its_source() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let add = format!("source add --provider github --account acme --name Code --id code --app-secret {SECRET}");
    latchhook.json(&add).await;
    let producer = ready_producer(&pipeline).await;

    let said = latchhook.json(&format!("source test code --to http://{}", producer.address())).await;

    assert_eq!(said["status"], 200);
    pipeline.worker.work(vec![pipeline.take().await]).await;
    let rows = pipeline.rows("SELECT source_id, kind, event_type FROM events", &[]).await;
    let [row] = &rows[..] else { panic!("{} events", rows.len()) };
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("code", "ping"));
    assert_eq!(row.get::<_, &str>(2), "github.ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_is_not_taken_says_why_and_what_to_look_at() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    latchhook
        .json(&format!("source add --provider github --account acme --name C --id code --app-secret {SECRET}"))
        .await;
    latchhook.json("source disable code").await;
    let producer = ready_producer(&pipeline).await;
    let to = format!("http://{}", producer.address());

    let disabled = latchhook.fails(&format!("source test code --to {to}")).await;
    let unknown = latchhook.fails(&format!("source test nobody --to {to}")).await;
    let nowhere = latchhook.fails("source test code --to http://127.0.0.1:1").await;

    assert!(disabled.contains("404") && disabled.contains("disabled"), "{disabled}");
    assert!(unknown.contains("there is no source nobody"), "{unknown}");
    assert!(nowhere.contains("is a producer running there?"), "{nowhere}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_its_provider_does_not_have_or_that_is_given_twice_is_refused_by_name() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let add = format!("source add --account acme --name N --id s --app-secret {SECRET} --provider");

    let foreign = latchhook.fails(&format!("{add} github '--setting=phone_number_id=\"1\"'")).await;
    let twice = latchhook.fails(&format!("{add} whatsapp --phone-number-id 1 '--setting=phone_number_id=\"1\"'")).await;

    assert!(foreign.contains("github has no setting \"phone_number_id\": it has none"), "{foreign}");
    assert!(twice.contains("phone_number_id is given twice"), "{twice}");
    assert_eq!(latchhook.json("source list").await, json!([]));
}
