//! Choosing what an endpoint hears of, and asking a filter beforehand what it would say.

use std::path::PathBuf;

use latchhook::servers::ScratchDir;
use serde_json::{Value, json};
use tests::{Pipeline, a_text};
use vocabulary::Terms;

use super::{CommandLine, Said, stores};

const ADD: &str = "endpoint add --account acme --url http://127.0.0.1:9000/hook --id bot";
const TEXTS: &str = r#"{"pointer":"/data/message/kind","in":["text","image"]}"#;

/// Files of one test.
struct Files(ScratchDir);

impl Files {
    fn new() -> Self {
        Self(ScratchDir::new().unwrap())
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }
}

fn body(kind: &str) -> String {
    json!({"type": "message_created", "data": {"message": {"kind": kind}}}).to_string()
}

/// Without any server to ask.
fn offline() -> CommandLine {
    CommandLine { settings: vec!["--database-url=".to_owned(), "--redis-url=".to_owned()] }
}

fn status(said: &Said) -> u8 {
    said.ended.as_ref().err().map_or(0, |failure| failure.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_keeps_the_filter_that_it_was_given_from_wherever_it_came() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let (files, filter) = (Files::new(), serde_json::from_str::<Value>(TEXTS).unwrap());

    latchhook.json(&format!("{ADD} --events message_* --filter '{TEXTS}' --format thin")).await;
    let given = latchhook.json("endpoint show bot").await;
    let file = files.write("filter.json", json!([filter]).to_string() + "\n");
    latchhook.json(&format!("{ADD} --events message_*,whatsapp.* --filter-file {}", file.display())).await;
    let from_file = latchhook.json("endpoint show bot").await;
    latchhook.json(&format!("{ADD} --events *")).await;
    let none = latchhook.json("endpoint show bot").await;

    assert_eq!(
        (&given["filter"], &given["format"], &given["event_types"]),
        (&filter, &json!("thin"), &json!(["message_*"]))
    );
    assert_eq!((&from_file["filter"], &from_file["format"]), (&json!([filter]), &json!("full")));
    assert_eq!(from_file["event_types"], json!(["message_*", "whatsapp.*"]));
    assert_eq!(none["filter"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_selects_nothing_that_there_ever_is_or_cannot_be_read_is_refused_at_the_door() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let files = Files::new();
    let file = files.write("filter.json", r#"{"any": [{"pointer": "data", "exists": true}]}"#);

    let refusals = [
        ("--events mesage_*".to_owned(), "there is no event type mesage_*: there are message_created"),
        ("--events fax.*".to_owned(), "there is no event type fax.*"),
        ("--events *_created".to_owned(), "\"*_created\" is no event type: letters, digits, _ and ."),
        (
            r#"--events * --filter '{"pointer": "/a", "equal": 1}'"#.to_owned(),
            "the filter: there is no field \"equal\"",
        ),
        ("--events * --filter text".to_owned(), "the filter is no JSON"),
        (
            format!("--events * --filter-file {}", file.display()),
            "filter.json holds no filter: the filter at /any/0/pointer: \"data\" is no JSON pointer",
        ),
        ("--events * --filter-file missing.json".to_owned(), "missing.json cannot be read"),
        (format!("--events * --filter '{TEXTS}' --filter-file x"), "cannot be used with"),
        ("--events * --sources nobody".to_owned(), "there is no source nobody of account acme"),
        ("--events * --format thick".to_owned(), "\"thick\" is neither full nor thin"),
    ];

    for (terms, what) in refusals {
        let failure = latchhook.fails(&format!("{ADD} {terms}")).await;
        assert!(failure.contains(what), "{failure}\n{what}");
    }
    assert_eq!(latchhook.json("endpoint list").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_says_of_each_body_whether_it_is_wanted_and_why_without_any_server() {
    let (latchhook, files) = (offline(), Files::new());
    let (text, audio) = (files.write("text.json", body("text")), files.write("audio.json", body("audio")));
    let broken = files.write("broken.json", r#"{"data": {"message": {"kind": "\ud83d"}}}"#);
    let test = format!("endpoint test-filter --json --filter '{TEXTS}'");

    let all = latchhook.run(&format!("{test} {} {}", text.display(), broken.display())).await;
    let some = latchhook.run(&format!("{test} {} {}", text.display(), audio.display())).await;

    assert_eq!((status(&all), status(&some)), (0, 1));
    assert_eq!(some.ended.unwrap_err().to_string(), "latchhook: 1 of 2 bodies are not wanted");
    let verdicts = |out: &str| -> Vec<Value> { serde_json::from_str(out).unwrap() };
    let (all, some) = (verdicts(&all.out), verdicts(&some.out));
    let expected = json!({"body": audio.display().to_string(), "wanted": false, "answer": "fails",
        "because": [format!(r#"{TEXTS} fails: "audio""#)]});
    assert_eq!(some[1], expected);
    assert_eq!(
        (&some[0]["wanted"], &some[0]["because"]),
        (&json!(true), &json!([format!(r#"{TEXTS} holds: "text""#)]))
    );
    assert_eq!((&all[1]["wanted"], &all[1]["answer"]), (&json!(true), &json!("unreadable")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_is_wrong_or_has_nothing_to_say_anything_of_ends_with_status_2() {
    let (latchhook, files) = (offline(), Files::new());
    let (text, not_json) = (files.write("text.json", body("text")), files.write("not.json", "{"));
    let (text, not_json) = (text.display(), not_json.display());

    for (arguments, what) in [
        (format!("--filter '[]' {text}"), "the filter: an empty list says nothing"),
        (format!("--filter '{TEXTS}' {not_json}"), "not.json is no JSON: EOF"),
        (format!("--filter '{TEXTS}' {text} missing.json"), "missing.json cannot be read"),
        (format!("--filter-file {not_json} {text}"), "not.json holds no filter: the filter is no JSON"),
        (format!("--filter '{TEXTS}'"), "required arguments were not provided: <FILE>"),
        (format!("{text}"), "required arguments were not provided"),
        (format!("--filter '{TEXTS}' --endpoint bot {text}"), "cannot be used with"),
        ("--filter-file - -".to_owned(), "stdin holds one thing, a filter or a body"),
    ] {
        let said = latchhook.run(&format!("endpoint test-filter {arguments}")).await;
        assert_eq!((status(&said), said.out.as_str()), (2, ""), "{arguments}");
        let failure = said.ended.unwrap_err().to_string();
        assert!(failure.contains(what) && failure.lines().count() == 1, "{failure}\n{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_of_an_endpoint_can_be_asked_of_an_event_that_was_recorded() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.receive(a_text("wamid.1", "hello")).await;
    let id = latchhook.json("events show wamid.1").await["id"].as_str().unwrap().to_owned();
    let test = format!("endpoint test-filter --endpoint bot --event {id}");

    let without = latchhook.json(&test).await;
    pipeline.execute(r#"UPDATE endpoints SET filter = '{"pointer": "/data/sequence", "equals": 1.0}'"#).await;
    let with = latchhook.json(&test).await;
    let nobody = latchhook.run(&test.replace("bot", "nobody")).await;
    let no_event = latchhook.run(&test.replace(&id, "00000000-0000-0000-0000-000000000000")).await;

    assert_eq!((&with[0]["wanted"], &with[0]["body"]), (&json!(true), &json!(id)));
    let nothing_decides = json!(["its sources and types are wanted, and there is no filter"]);
    assert_eq!((&without[0]["wanted"], &without[0]["because"]), (&json!(true), &nothing_decides));
    for (said, what) in
        [(nobody, "there is no endpoint nobody"), (no_event, "there is no event 00000000-0000-0000-0000-000000000000")]
    {
        assert_eq!(status(&said), 2);
        assert!(said.ended.unwrap_err().to_string().contains(what), "{what}");
    }
}

/// As a worker decides: whose event it is, its source, its type, its body.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_never_hears_of_is_not_wanted_and_what_decides_is_named() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let of = |types: &str| Terms::of(types.parse().unwrap());
    pipeline.add_account("other").await;
    pipeline.add_endpoint("other", "foreign", "*").await;
    let sources = Some(vec!["support".parse().unwrap(), "sales".parse().unwrap()]);
    pipeline.add_endpoint_on("acme", "sales", &Terms { sources, ..of("whatsapp.*") }).await;
    pipeline.add_endpoint_on("acme", "notices", &of("whatsapp.*,message_updated")).await;
    let filter = Some(r#"{"pointer": "/data/message/kind", "equals": "image"}"#.parse().unwrap());
    pipeline.add_endpoint_on("acme", "images", &Terms { filter, ..of("message_*") }).await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    let id = latchhook.json("events show wamid.1").await["id"].as_str().unwrap().to_owned();

    for (endpoint, because) in [
        ("foreign", "account acme: the endpoint is of account other"),
        ("sales", "source wa: the endpoint wants support, sales"),
        ("notices", "type message_created: the endpoint wants whatsapp.*,message_updated"),
        ("images", r#"{"pointer":"/data/message/kind","equals":"image"} fails: "text""#),
    ] {
        let said = latchhook.run(&format!("endpoint test-filter --json --endpoint {endpoint} --event {id}")).await;
        let verdict = serde_json::from_str::<Value>(&said.out).unwrap()[0].clone();
        let expected = json!({"body": id, "wanted": false, "answer": "fails", "because": [because]});
        assert_eq!((status(&said), verdict), (1, expected));
    }
    assert_eq!(pipeline.rows("SELECT endpoint_id FROM deliveries", &[]).await.len(), 1, "the worker told `bot` alone");
}

/// A piece of a body may be tried too, and what latchhook itself tells an account is wanted by its type alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_body_does_not_say_is_held_against_nobody_and_a_notice_is_of_no_source() {
    let pipeline = Pipeline::new().await;
    let (latchhook, files) = (CommandLine::of(&pipeline), Files::new());
    pipeline.execute("UPDATE endpoints SET source_ids = '{sales}'").await;
    pipeline.execute(&format!("UPDATE endpoints SET filter = '{TEXTS}'")).await;
    let notice = |account| json!({"type": "latchhook.endpoint_disabled", "data": {"account_id": account, "source_id": "latchhook:x"}});
    let piece = files.write("piece.json", body("text"));
    let (own, others) = (notice("acme").to_string(), notice("other").to_string());
    let (own, others) = (files.write("own.json", own), files.write("others.json", others));

    let ask = |file: &PathBuf| format!("endpoint test-filter --json --endpoint bot {}", file.display());
    let said = [latchhook.run(&ask(&piece)).await, latchhook.run(&ask(&own)).await, latchhook.run(&ask(&others)).await];

    assert_eq!(said.each_ref().map(status), [0, 0, 1]);
    let because = said.map(|said| serde_json::from_str::<Value>(&said.out).unwrap()[0]["because"][0].clone());
    assert_eq!(because[0], format!(r#"{TEXTS} holds: "text""#));
    assert_eq!(because[1], "a notice is wanted by its type alone");
    assert_eq!(because[2], "account other: the endpoint is of account acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_shown_with_both_bodies_and_delivered_again_with_the_one_that_it_was_told() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.execute("UPDATE endpoints SET format = 'thin'").await;
    pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.execute("DELETE FROM due; UPDATE deliveries SET state = 'delivered', finished_at = now()").await;
    pipeline.execute("UPDATE endpoints SET format = 'full'").await;

    let story = latchhook.json("events show wamid.1").await;
    latchhook.json("events replay wamid.1").await;

    assert_eq!(story["body"]["data"]["raw"]["text"]["body"], "hello");
    assert_eq!(
        (&story["thin_body"]["data"]["key"], &story["thin_body"]["data"]["raw"]),
        (&json!("wamid.1"), &json!(null))
    );
    assert_eq!(story["deliveries"][0]["format"], "thin");
    let again = "SELECT count(*) FROM due JOIN deliveries d USING (event_id, endpoint_id) WHERE d.format = 'thin'";
    assert_eq!(pipeline.number(again).await, 1);
}
