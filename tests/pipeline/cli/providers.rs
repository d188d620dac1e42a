//! Any provider in: what is to be known of each, a source of it, and a sample of it through the real door.

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
    let known: Vec<_> = ::providers::Provider::ALL.iter().map(|provider| provider.as_str()).collect();
    assert_eq!(names, known);
    for told in told.as_array().unwrap() {
        for what in ["title", "signature", "key", "secret", "url", "page", "repeats_for"] {
            assert!(told[what].as_str().is_some_and(|text| text.len() >= 2), "{}: {what}", told["name"]);
        }
    }
    assert_eq!(latchhook.json("providers github").await["name"], "github");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_can_be_none_is_refused_with_what_to_give_and_one_that_looks_odd_is_taken_with_a_word() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let add = |provider: &str, secret: &str| {
        format!("source add --account acme --name N --id {provider} --provider {provider} --app-secret {secret}")
    };
    let key = "d5c8d4e1a6c1b0f2".repeat(4);

    let discord = latchhook.fails(&add("discord", "MTIzNDU2.hush")).await;
    let second = latchhook.fails(&add("standard_webhooks", &format!("{SECRET} --app-secret whsec_hush?"))).await;
    let nothing = latchhook.json("source list").await;
    let (_, stripe) = latchhook.told(&add("stripe", "sk_live_hush")).await;
    let (_, usual) = latchhook.told(&add("discord", &key)).await;
    let rotated = latchhook.fails(&format!("source rotate discord --app-secret {}", &key[1..])).await;

    assert!(
        discord.contains("secret is none of Discord: it is not 64 hexadecimal digits. Give the Public Key"),
        "{discord}"
    );
    assert!(second.contains("secret 2 is none of Standard Webhooks: it is no base64"), "{second}");
    assert!(
        stripe.contains("secret is none of Stripe: it does not begin with whsec_. Give the signing secret"),
        "{stripe}"
    );
    assert!(rotated.contains("secret is none of Discord"), "{rotated}");
    assert!(!usual.contains("is none of"), "{usual}");
    assert_eq!(nothing, json!([]));
    assert!([discord, second, stripe].iter().all(|said| !said.contains("hush")));
}
