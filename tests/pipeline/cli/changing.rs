//! Changing endpoints: what is given changes, what is not named stays, and each deed is on record.

use std::collections::BTreeMap;

use dispatcher::Access;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tests::Pipeline;

use super::{CommandLine, stores};

const FILTER: &str = r#"{"pointer":"/data/message/kind","equals":"text"}"#;
/// An endpoint that has every term.
const ADD: &str = "endpoint add --account acme --url https://93.184.216.34/hook --id bot";
const TERMS: &str = "--events message_* --sources wa --format thin --schedule 5s,1m --give-up-on 404,422 --max-in-flight 2 \
                     --max-per-second 0.5 --ordered-by sender";

/// A pipeline whose endpoint `bot` has every term.
async fn with_terms() -> (Pipeline, CommandLine) {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    latchhook.json(&format!("{ADD} {TERMS} --filter '{FILTER}' --header 'X-Api-Key: hush'")).await;
    (pipeline, latchhook)
}

/// How the endpoint stands, but for what changes by itself.
async fn stands(latchhook: &CommandLine) -> BTreeMap<String, Value> {
    let all = latchhook.json("endpoint show bot").await;
    let terms = all.as_object().unwrap().clone().into_iter();
    terms.filter(|(name, _)| !name.starts_with("attempts") && !name.starts_with("gives_up")).collect()
}

/// The names of the terms that differ.
fn differing(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, _)| name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_of_an_endpoint_changes_and_all_else_stays_as_it_was() {
    let (pipeline, latchhook) = with_terms().await;
    pipeline.add_source("acme", "wa2").await;
    let image = FILTER.replace("text", "image");
    let changes = [
        ("--url https://93.184.216.34/other", "url", json!("https://93.184.216.34/other")),
        ("--events *", "event_types", json!(["*"])),
        ("--sources wa,wa2", "source_ids", json!(["wa", "wa2"])),
        (&format!("--filter '{image}'"), "filter", serde_json::from_str(&image).unwrap()),
        ("--format full", "format", json!("full")),
        ("--schedule none", "schedule_s", json!([])),
        ("--give-up-on 400", "give_up_on", json!([400])),
        ("--max-in-flight 3", "max_in_flight", json!(3)),
        ("--max-per-second 7", "max_per_second", json!(7.0)),
        ("--ordered-by source", "ordered_by", json!("source")),
        ("--header 'X-Other: hush'", "access", Value::Null),
    ];

    for (given, term, value) in changes {
        let before = stands(&latchhook).await;
        let printed = latchhook.json(&format!("endpoint set bot {given}")).await;
        let after = stands(&latchhook).await;
        assert_eq!(differing(&before, &after), [term], "{given}");
        assert_eq!(printed[term], after[term], "{given}");
        assert!(term == "access" || after[term] == value, "{given}: {}", after[term]);
    }

    assert_eq!(stands(&latchhook).await["access"]["headers"], json!(["x-other"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_is_taken_away_by_its_no_and_no_other_is() {
    let (_pipeline, latchhook) = with_terms().await;

    for (given, term) in [
        ("--no-sources", "source_ids"),
        ("--no-filter", "filter"),
        ("--no-schedule", "schedule_s"),
        ("--no-give-up-on", "give_up_on"),
        ("--no-max-in-flight", "max_in_flight"),
        ("--no-max-per-second", "max_per_second"),
        ("--no-ordered-by", "ordered_by"),
        ("--no-access", "access"),
    ] {
        let before = stands(&latchhook).await;
        latchhook.json(&format!("endpoint set bot {given}")).await;
        let after = stands(&latchhook).await;
        assert_eq!((differing(&before, &after), &after[term]), (vec![term.to_owned()], &Value::Null), "{given}");
    }
}

/// As with `add`: the lease reads them from its gate.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_given_to_an_endpoint_without_one_holds() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    assert_eq!(pipeline.number("SELECT count(*) FROM gates").await, 0);

    latchhook.json("endpoint set bot --max-in-flight 1").await;

    assert_eq!(pipeline.number("SELECT count(*) FROM gates WHERE endpoint_id = 'bot'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_added_again_prints_all_its_terms_and_names_those_that_it_lost() {
    let (_pipeline, latchhook) = with_terms().await;

    let (printed, noted) = latchhook.told(&format!("{ADD} --events * --max-in-flight 4")).await;

    let lost = "bot has no longer: sources, filter, format thin, schedule, give-up-on, max-per-second, ordered-by. latchhook \
                endpoint set changes a term and keeps the rest";
    assert_eq!(noted.trim_end(), lost);
    let now = stands(&latchhook).await;
    for term in ["source_ids", "filter", "schedule_s", "give_up_on", "max_per_second", "ordered_by"] {
        assert_eq!((&printed[term], &now[term]), (&Value::Null, &Value::Null), "{term}");
    }
    assert_eq!((&printed["max_in_flight"], &printed["format"]), (&json!(4), &json!("full")));
    assert_eq!((&printed["access"]["headers"], &printed["secret"]), (&json!(["x-api-key"]), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_of_all_statuses_that_may_be_given_up_on_in_a_word() {
    let (_pipeline, latchhook) = with_terms().await;

    let all = latchhook.run("endpoint set bot --give-up-on 4xx --schedule none").await.out;
    let some = latchhook.run("endpoint set bot --give-up-on 404,400").await.out;

    let row = |out: &str, name: &str| out.lines().find(|line| line.trim().starts_with(name)).map(str::to_owned);
    assert!(row(&all, "give up on").unwrap().ends_with("  4xx"), "{all}");
    assert!(row(&some, "give up on").unwrap().ends_with("  400,404"), "{some}");
    assert!(row(&all, "schedule s").unwrap().ends_with("  none"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_is_refused_and_nothing_else_changes_either() {
    let (pipeline, latchhook) = with_terms().await;
    pipeline.add_account("other").await;
    pipeline.add_source("other", "foreign").await;
    let before = stands(&latchhook).await;

    for (given, what) in [
        ("set nobody --events *", "there is no endpoint nobody: latchhook endpoint list names them"),
        ("set bot", "nothing of bot changes: give a term, as --max-in-flight 2 or --no-filter"),
        ("set bot --events * --no-filter --filter-file x", "cannot be used with"),
        ("set bot --max-in-flight 3 --no-max-in-flight", "cannot be used with"),
        ("set bot --no-access --header 'X-Other: x'", "cannot be used with"),
        ("set bot --events * --sources foreign", "there is no source foreign of account acme"),
        ("set bot --events * --url https://10.0.0.1/", "10.0.0.1 is not public"),
        ("set bot --events * --url https://93.184.216.35/", "the access of bot was given for another server"),
        ("set bot --events * --header hush", "a header is written 'Name: value'"),
        ("set bot --events mesage_*", "there is no event type mesage_*"),
        ("set bot --give-up-on 404,408", "408 says that this request came too slowly"),
        ("set bot --give-up-on 410", "410 disables the endpoint"),
        ("set bot --give-up-on 425", "425 asks for the same request later"),
        ("set bot --give-up-on 429", "429 asks for fewer requests, and not for none"),
        ("set bot --give-up-on 503", "503 is not from 400 to 499"),
        (
            "set bot --give-up-on 4xy",
            "\"4xy\" is no status: write some from 400 to 499 with commas (400,404,422), or 4xx",
        ),
        ("set bot --max-per-second fast", "\"fast\" is no rate: a rate is requests a second, as a number"),
    ] {
        let failure = latchhook.fails(&format!("endpoint {given}")).await;
        assert!(failure.contains(what), "{failure}\n{what}");
    }

    assert_eq!(stands(&latchhook).await, before);
}

/// It is given for the server where deliveries go then: whoever moves the endpoint must see it.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_not_moved_with_an_access_that_was_given_for_the_old_server_in_that_moment() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let access = Access { basic_auth: Some("user:mute".to_owned()), ..Access::default() }.to_json();
    let sealed = pipeline.master.seal("endpoint:bot", access.expose_secret().as_bytes());
    let access: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
    pipeline.execute(&format!("BEGIN; UPDATE endpoints SET access = '\\x{access}'")).await;

    let mut moving = std::pin::pin!(latchhook.fails("endpoint set bot --url https://93.184.216.34/"));
    let refused = tokio::select! {
        refused = &mut moving => panic!("it waits for nobody: {refused}"),
        () = pipeline.somebody_waits_for_us() => {
            pipeline.execute("COMMIT").await;
            moving.await
        }
    };

    assert!(refused.contains("the access of bot was given for another server"), "{refused}");
    let url = pipeline.rows("SELECT url FROM endpoints", &[]).await[0].get::<_, String>(0);
    assert_eq!(url, "https://bot.example/webhooks");
}

/// Neither knows what the other had to say, so neither writes it.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_change_an_endpoint_at_the_same_moment_neither_undoes_the_other() {
    let (pipeline, latchhook) = with_terms().await;
    pipeline.execute("BEGIN; UPDATE endpoints SET max_in_flight = 9").await;

    let mut setting = std::pin::pin!(latchhook.json("endpoint set bot --max-per-second 3"));
    tokio::select! {
        _ = &mut setting => panic!("it waits for nobody"),
        () = pipeline.somebody_waits_for_us() => pipeline.execute("COMMIT").await,
    }
    let printed = setting.await;

    assert_eq!((&printed["max_in_flight"], &printed["max_per_second"]), (&json!(9), &json!(3.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_adds_changes_disables_or_enables_an_endpoint_is_on_record() {
    let (pipeline, latchhook) = with_terms().await;
    latchhook.json(&format!("{ADD} --events *")).await;
    latchhook.json("endpoint set bot --url https://93.184.216.34/other --no-access --max-in-flight 3").await;
    latchhook.json("endpoint disable bot --reason 'it is on fire'").await;
    latchhook.json("endpoint disable bot --reason 'again'").await;
    latchhook.json("endpoint enable bot").await;

    for refused in ["set bot --events * --sources nobody", "set bot", "enable nobody", "disable nobody"] {
        latchhook.fails(&format!("endpoint {refused}")).await;
    }

    let rows = pipeline.rows("SELECT actor, action, target, detail FROM audit_log ORDER BY id", &[]).await;
    let deeds: Vec<(&str, &str)> = rows.iter().map(|row| (row.get(1), row.get(3))).collect();
    assert_eq!(
        deeds,
        [
            ("endpoint add", "given anew"),
            ("endpoint add", "given anew"),
            ("endpoint set", "url, max-in-flight, header, basic-auth, client-cert"),
            ("endpoint disable", "it is on fire"),
            ("endpoint enable", ""),
        ]
    );
    assert!(rows.iter().all(|row| row.get::<_, &str>(0).starts_with("cli:") && row.get::<_, &str>(2) == "bot"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_endpoint_is_on_record_as_new() {
    let (database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;

    latchhook.json(&format!("{ADD} --events *")).await;

    let (sql, connection) = tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = sql.query_one("SELECT action, target, detail FROM audit_log", &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("endpoint add", "bot", "new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_nothing_or_is_no_time_is_refused_with_what_to_write() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);

    for (line, what) in [
        ("disable bot --reason ''", "it is empty: say why this is done"),
        ("disable bot --reason ' '", "it is empty"),
        ("rotate bot --overlap -1s", "\"-1s\" is no time: an overlap is a time: 24h, or 0s for none"),
        ("rotate bot --overlap soon", "\"soon\" is no time: an overlap is a time"),
    ] {
        let failure = latchhook.fails(&format!("endpoint {line}")).await;
        assert!(failure.contains(what), "{failure}");
    }

    assert_eq!(pipeline.number("SELECT count(*) FROM endpoints WHERE enabled AND cardinality(secrets) = 1").await, 1);
}
