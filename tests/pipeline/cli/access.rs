//! What an endpoint's requests carry: given, kept sealed, never shown.

use std::path::Path;

use database::{Database, endpoints};
use dispatcher::Access;
use serde_json::{Value, json};
use tests::TestDatabase;
use vocabulary::MasterKey;

use super::{CommandLine, stores};

/// An address, so that nobody is asked for a name.
const ADD: &str = "endpoint add --account acme --url https://93.184.216.34/hook --events * --id bot";

/// A certificate and its key in files.
fn certificate(dir: &Path) -> String {
    certificate_until(dir, 4096)
}

/// Likewise, good until the first day of a year.
fn certificate_until(dir: &Path, year: i32) -> String {
    let own = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["latchhook.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let (certificate, key) = (dir.join("client.pem"), dir.join("key.pem"));
    std::fs::write(&certificate, params.self_signed(&own).unwrap().pem()).unwrap();
    std::fs::write(&key, own.serialize_pem()).unwrap();
    format!("--client-cert-file {} --client-key-file {}", certificate.display(), key.display())
}

async fn kept(latchhook: &CommandLine) -> Value {
    latchhook.json("endpoint show bot").await["access"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_is_kept_sealed_and_shown_by_its_names_alone() {
    let (database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let dir = latchhook::servers::ScratchDir::new().unwrap();
    let (headers, pair) = (dir.path().join("headers"), dir.path().join("pair"));
    std::fs::write(&headers, "X-Tenant: quiet\n\nX-Stage: silent\n").unwrap();
    std::fs::write(&pair, "user:mute\n").unwrap();
    let files = format!("--header-file {} --basic-auth-file {}", headers.display(), pair.display());

    let line = format!("{ADD} --header 'X-Api-Key: hush' {files} {}", certificate(dir.path()));
    let added = latchhook.json(&line).await;

    let shown = kept(&latchhook).await;
    assert_eq!(added["access"], shown);
    assert_eq!(shown["headers"], json!(["x-api-key", "x-tenant", "x-stage"]));
    assert_eq!(
        (&shown["basic_auth"], &shown["certificate_subject"]),
        (&json!(true), &json!("CN=rcgen self signed cert"))
    );
    assert!(shown["certificate_expires_at"].as_str().unwrap().starts_with("4096-01-01"));
    let list = latchhook.json("endpoint list").await;
    let everything = format!("{added} {shown} {list} {}", latchhook.run("endpoint show bot").await.out);
    let row = Database::new(&database.url, 1).unwrap();
    let sealed = endpoints::target(&row.connection().await.unwrap(), &"bot".parse().unwrap()).await.unwrap();
    let sealed = String::from_utf8_lossy(&sealed.unwrap().access.unwrap()).into_owned();
    for secret in ["hush", "quiet", "silent", "mute", "PRIVATE"] {
        assert!(!everything.contains(secret) && !sealed.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_is_given_anew_as_a_whole_or_stays_as_it_is() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    latchhook.json(&format!("{ADD} --header 'X-Api-Key: hush' --basic-auth user:pass")).await;

    latchhook.json(ADD).await;
    let same = kept(&latchhook).await;
    latchhook.json(&format!("{ADD} --header 'X-Other: hush'")).await;
    let replaced = kept(&latchhook).await;
    latchhook.json(&format!("{ADD} --no-access")).await;
    let removed = kept(&latchhook).await;

    assert_eq!((&same["headers"], &same["basic_auth"]), (&json!(["x-api-key"]), &json!(true)));
    assert_eq!((&replaced["headers"], &replaced["basic_auth"]), (&json!(["x-other"]), &json!(false)));
    assert_eq!(removed, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_for_one_server_does_not_go_to_another() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    latchhook.json(&format!("{ADD} --header 'X-Api-Key: hush'")).await;
    let moved = ADD.replace("93.184.216.34", "93.184.216.35");

    let refused = latchhook.fails(&moved).await;
    latchhook.json(&ADD.replace("/hook", "/another/path")).await;

    assert!(refused.contains("the access of bot was given for another server: give it again"), "{refused}");
    latchhook.json(&format!("{moved} --header 'X-Api-Key: hush'")).await;
    assert_eq!(kept(&latchhook).await["headers"], json!(["x-api-key"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_carried_is_refused_and_leaves_nothing() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let dir = latchhook::servers::ScratchDir::new().unwrap();
    let pair = certificate(dir.path());
    let plain = ADD.replace("https://93.184.216.34", "http://127.0.0.1:9000");
    let missing = pair.replace("key.pem", "no.pem");

    let refusals = [
        (format!("{ADD} --header 'Webhook-Id: x'"), "header webhook-id is latchhook's to set"),
        (format!("{ADD} --header 'Content-Length: 1'"), "header content-length is latchhook's to set"),
        (format!("{ADD} --header hush"), "a header is written 'Name: value'"),
        (format!("{ADD} --header 'X-Api-Key:'"), "header \"x-api-key\" cannot be sent"),
        (format!("{ADD} --basic-auth hush"), "user and password are written USER:PASSWORD"),
        (
            format!("{ADD} --basic-auth u:p --header 'Authorization: Bearer hush'"),
            "header authorization is given twice",
        ),
        (format!("{plain} {pair}"), "the URL must be https"),
        (format!("{ADD} {missing}"), "no certificate or key can be read from"),
        (format!("{ADD} {}", pair.replace("key.pem", "client.pem")), "the client certificate's key cannot be read"),
        (format!("{ADD} --client-cert-file x"), "--client-key-file"),
        (format!("{ADD} --no-access --basic-auth u:p"), "cannot be used with"),
    ];

    for (line, what) in refusals {
        let failure = latchhook.fails(&line).await;
        assert!(failure.contains(what) && !failure.contains("hush"), "{failure}");
    }
    assert_eq!(latchhook.json("endpoint list").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_ended_is_refused_with_its_date_and_what_was_there_stays() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let dir = latchhook::servers::ScratchDir::new().unwrap();
    latchhook.json(&format!("{ADD} {}", certificate(dir.path()))).await;
    let before = kept(&latchhook).await;

    let refused = latchhook.fails(&format!("{ADD} {}", certificate_until(dir.path(), 2020))).await;

    assert!(refused.contains("the client certificate ended at 2020-01-01 00:00:00 UTC"), "{refused}");
    assert!(refused.contains("get a new one"), "{refused}");
    assert_eq!(kept(&latchhook).await, before);
}

/// What is kept, opened.
async fn opened(database: &TestDatabase, latchhook: &CommandLine) -> Access {
    let key = latchhook.settings.iter().find_map(|flag| flag.strip_prefix("--master-key=")).unwrap();
    let master = MasterKey::parse(&key.to_owned().into()).unwrap();
    let conn = Database::new(&database.url, 1).unwrap().connection().await.unwrap();
    let sealed = endpoints::target(&conn, &"bot".parse().unwrap()).await.unwrap().unwrap().access.unwrap();
    Access::from_json(&endpoints::open_sealed(&master, "bot", &sealed).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_an_access_changes_or_is_taken_away_alone_and_the_others_stay() {
    let (database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let dir = latchhook::servers::ScratchDir::new().unwrap();
    let parts = "--header 'X-Api-Key: hush' --basic-auth user:mute";
    latchhook.json(&format!("{ADD} {parts} {}", certificate(dir.path()))).await;
    let before = opened(&database, &latchhook).await;

    let changes = [
        ("--header 'X-Other: quiet'", Access { headers: vec![("x-other".into(), "quiet".into())], ..before.clone() }),
        ("--basic-auth a:b", Access { basic_auth: Some("a:b".into()), ..before.clone() }),
        ("--no-header", Access { headers: Vec::new(), ..before.clone() }),
        ("--no-basic-auth", Access { basic_auth: None, ..before.clone() }),
        ("--no-client-cert", Access { client_certificate: None, ..before.clone() }),
        ("--no-header --basic-auth c:d", Access { headers: Vec::new(), basic_auth: Some("c:d".into()), ..before }),
    ];

    for (given, expected) in changes {
        let files = format!("--client-cert-file {0}/client.pem --client-key-file {0}/key.pem", dir.path().display());
        latchhook.json(&format!("{ADD} {parts} {files}")).await;
        let printed = latchhook.json(&format!("endpoint set bot {given}")).await;
        assert!(opened(&database, &latchhook).await == expected, "{given}: {}", printed["access"]);
    }
    latchhook.json("endpoint set bot --no-basic-auth --no-client-cert").await;
    assert_eq!(kept(&latchhook).await, Value::Null, "nothing is left of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_stays_goes_to_no_other_server_and_none_stays_of_what_does_not_open() {
    let (database, redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    latchhook.json(&format!("{ADD} --header 'X-Api-Key: hush' --basic-auth user:mute")).await;
    let moved = "endpoint set bot --url https://93.184.216.35/hook";
    let stranger = CommandLine::new(&database.url, &redis);
    let before = kept(&latchhook).await;

    let refusals = [
        (latchhook.fails(&format!("{moved} --header 'X-Other: hush'")).await, "was given for another server"),
        (stranger.fails("endpoint set bot --header 'X-Other: hush'").await, "nothing of the access of bot can be kept"),
        (latchhook.fails("endpoint set bot --header 'Authorization: hush'").await, "is given twice"),
        (latchhook.fails("endpoint set bot --no-header --header 'X-Other: hush'").await, "cannot be used with"),
    ];

    for (refused, why) in refusals {
        assert!(refused.contains(why) && !refused.contains("hush") && !refused.contains("mute"), "{refused}");
    }
    assert_eq!(kept(&latchhook).await, before);
    latchhook.json(&format!("{moved} --header 'X-Other: quiet' --no-basic-auth")).await;
    assert_eq!(kept(&latchhook).await["headers"], json!(["x-other"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_that_is_given_anew_is_told_by_what_it_lost_and_never_by_its_values() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let dir = latchhook::servers::ScratchDir::new().unwrap();
    let pair = certificate(dir.path());
    let parts = format!("--header 'X-Api-Key: hush' --header 'X-Stage: quiet' --basic-auth user:mute {pair}");

    latchhook.json(&format!("{ADD} {parts}")).await;
    let (_, same) = latchhook.told(&format!("{ADD} {parts}")).await;
    let (_, fewer) = latchhook.told(&format!("{ADD} --header 'X-Stage: quiet'")).await;
    let (_, removed) = latchhook.told(&format!("{ADD} --no-access")).await;

    assert!(fewer.starts_with("bot has no longer: header x-api-key, basic-auth, client-cert. "), "{fewer}");
    assert!(["hush", "quiet", "mute", "PRIVATE"].iter().all(|value| !fewer.contains(value)), "{fewer}");
    assert!(!same.contains("no longer") && !removed.contains("no longer"), "{same}{removed}");
}
