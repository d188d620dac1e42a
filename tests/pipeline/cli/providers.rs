//! Any provider in: what is to be known of each, a source of it, and a sample of it through the real door.

use std::collections::BTreeSet;

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

/// A public key that SendGrid's libraries publish.
const SENDGRID: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";

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

/// What a source of each needs so that it can be tried. Those that are not named need a secret alone.
fn needs(provider: Provider) -> (&'static str, &'static str) {
    match provider {
        Provider::Discord => ("dd74e21b0698ca4a6a983a7134a422d4b353611e0029dee93197d0cb57efee99", ""),
        Provider::SendGrid => (SENDGRID, ""),
        Provider::Twilio => (SECRET, "--setting public_url=https://hooks.example.com"),
        Provider::Generic => {
            (SECRET, "--setting algorithm=hmac-sha256 --setting signature_header=x-tag --setting key_pointer=/id")
        }
        _ => (SECRET, ""),
    }
}

/// A provider that is written tomorrow is among them.
#[tokio::test(flavor = "multi_thread")]
async fn every_provider_is_tried_through_the_real_door_and_its_sample_recorded_unless_only_the_sender_can_sign() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    for provider in Provider::ALL {
        let (secret, settings) = needs(*provider);
        let add =
            format!("source add --provider {provider} --account acme --name N --id {provider} --app-secret {secret}");
        latchhook.json(&format!("{add} {settings}")).await;
    }
    let producer = ready_producer(&pipeline).await;

    let mut refused = Vec::new();
    for provider in Provider::ALL {
        let said = latchhook.json(&format!("source test {provider} --to http://{}", producer.address())).await;
        if said["taken"] == true {
            assert_eq!(said["status"], 200, "{provider}");
            pipeline.worker.work(vec![pipeline.take().await]).await;
        } else {
            assert_eq!(said["status"], 401, "{provider}");
            refused.push(provider.as_str());
        }
    }

    refused.sort_unstable();
    assert_eq!(refused, ["discord", "paypal", "sendgrid"]);
    let recorded = pipeline.rows("SELECT DISTINCT source_id FROM events ORDER BY source_id", &[]).await;
    let recorded: BTreeSet<String> = recorded.iter().map(|row| row.get(0)).collect();
    let all = Provider::ALL.iter().map(|provider| provider.as_str().to_owned());
    assert_eq!(recorded, all.filter(|name| !refused.contains(&name.as_str())).collect());
    assert_eq!(pipeline.number("SELECT count(*) FROM quarantine").await, 0);
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

/// It looks for changes every second.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_rotated_a_moment_ago_is_tried_until_the_producer_knows_it() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let add = "source add --provider github --account acme --name C --id code --app-secret";
    latchhook.json(&format!("{add} {SECRET}")).await;
    let producer = ready_producer(&pipeline).await;

    for secret in ["second", "third"] {
        latchhook.json(&format!("source rotate code --app-secret {secret}")).await;
        let said = latchhook.json(&format!("source test code --to http://{}", producer.address())).await;
        assert_eq!(said["taken"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_is_not_taken_says_why_and_what_to_look_at() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    latchhook
        .json(&format!("source add --provider github --account acme --name C --id code --app-secret {SECRET}"))
        .await;

    let unknown = latchhook.fails("source test nobody").await;
    let nowhere = latchhook.fails("source test code --to http://127.0.0.1:1").await;
    latchhook.json("source disable code").await;
    let disabled = latchhook.fails("source test code").await;

    assert!(disabled.contains("404") && disabled.contains("disabled"), "{disabled}");
    assert!(unknown.contains("there is no source nobody"), "{unknown}");
    assert!(nowhere.contains("is a producer running there?"), "{nowhere}");
}

/// Some were added before their secrets were looked at, or by another version.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_with_which_nothing_can_be_signed_is_told_apart_from_one_that_only_the_sender_has() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    for (id, secret) in [("unusable", "whsec_?"), ("theirs", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")] {
        let (source, account) = (id.parse().unwrap(), "acme".parse().unwrap());
        let new = database::sources::NewSource {
            id: &source,
            account_id: &account,
            name: "N",
            provider: "standard_webhooks",
            secrets: &[secret.to_owned().into()],
            verify_token: None,
            body_limit: None,
            settings: &serde_json::Map::new(),
        };
        let connection = pipeline.database.connection().await.unwrap();
        database::sources::put(&connection, &pipeline.master, &new).await.unwrap();
    }
    latchhook.json("source enable theirs").await; // Publishes both.
    let producer = ready_producer(&pipeline).await;

    let unusable = latchhook.fails(&format!("source test unusable --to http://{}", producer.address())).await;
    let (_, theirs) = latchhook.told(&format!("source test theirs --to http://{}", producer.address())).await;

    let must_be = "nothing can be signed with the secret of unusable: it must be the signing secret of the endpoint";
    assert!(unusable.contains(must_be) && unusable.contains("latchhook source rotate unusable"), "{unusable}");
    let refused = "Refused, as it must be: a producer is reached, knows theirs, and takes nothing unsigned\n";
    assert!(theirs.starts_with(refused), "{theirs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_what_signs_its_url_is_said_to_be_signed_for_the_one_that_the_source_was_told() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let (_, settings) = needs(Provider::Twilio);
    let add = format!("source add --provider twilio --account acme --name N --id tw --app-secret {SECRET} {settings}");
    latchhook.json(&add).await;
    let producer = ready_producer(&pipeline).await;

    let (_, notes) = latchhook.told(&format!("source test tw --to http://{}", producer.address())).await;

    let signed_for =
        "It was signed for https://hooks.example.com/hooks/tw, which is what the sender must have been given";
    assert!(notes.starts_with("Taken. ") && notes.contains(signed_for), "{notes}");
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
