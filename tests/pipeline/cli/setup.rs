//! Configuring: accounts, sources, endpoints, and what they stand on.

use queue::{Read, Redis, Snapshots};
use secrecy::ExposeSecret;
use serde_json::json;
use tests::Pipeline;
use vocabulary::{MasterKey, Source};

use super::{CommandLine, stores};

pub(super) const ADD_SOURCE: &str = "source add --provider whatsapp --account acme --name Support --id wa --app-secret first \
                          --verify-token token --phone-number-id 990000000000042";
const ADD_ENDPOINT: &str =
    "endpoint add --account acme --url http://127.0.0.1:9000/hook --events message_created,message_updated --id bot";

/// The sources as a producer would read them now.
pub(super) async fn published(latchhook: &CommandLine, redis: &tests::TestRedis) -> Vec<Source> {
    let key = latchhook.settings.iter().find_map(|flag| flag.strip_prefix("--master-key=")).unwrap();
    let master = MasterKey::parse(&key.to_owned().into()).unwrap();
    let redis = Redis::new(&redis.url, &redis.prefix).unwrap();
    match Snapshots::new(&redis).read(&master, None).await.unwrap() {
        Read::Newer(snapshot) => snapshot.sources,
        other => panic!("nothing is published: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_up_twice_has_the_same_result() {
    let (_database, _redis, latchhook) = stores().await;
    let mut endpoints = Vec::new();

    for _ in 0..2 {
        latchhook.json("account add --id acme --name Acme").await;
        latchhook.json(ADD_SOURCE).await;
        endpoints.push(latchhook.json(ADD_ENDPOINT).await);
    }

    let names =
        |list: serde_json::Value| list.as_array().unwrap().iter().map(|it| it["id"].clone()).collect::<Vec<_>>();
    assert_eq!(names(latchhook.json("account list").await), ["acme"]);
    assert_eq!(names(latchhook.json("source list").await), ["wa"]);
    assert_eq!(names(latchhook.json("endpoint list").await), ["bot"]);
    assert!(endpoints[0]["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(endpoints[1]["secret"], json!(null), "the customer goes on verifying with the first one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_added_again_names_what_it_has_no_longer() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let least = "source add --provider whatsapp --account acme --name Support --id wa --app-secret first";

    let (_, added) = latchhook.told(&format!("{ADD_SOURCE} --max-body 512KiB")).await;
    let (_, same) = latchhook.told(&format!("{ADD_SOURCE} --max-body 512KiB")).await;
    let (_, fewer) = latchhook.told(least).await;
    let (_, as_few) = latchhook.told(least).await;

    let lost =
        "wa has no longer: verify-token, max-body, setting phone_number_id. source add takes all of them each time";
    assert!(fewer.lines().any(|line| line == lost), "{fewer}");
    assert!([added, same, as_few].iter().all(|noted| !noted.contains("no longer")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gets_no_id_gets_a_short_one_of_its_own() {
    let (_database, _redis, latchhook) = stores().await;

    let first = latchhook.json("account add --name First").await;
    let second = latchhook.json("account add --name Second").await;

    assert_ne!(first["id"], second["id"]);
    assert_eq!(first["id"].as_str().unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_know_of_a_change_when_its_command_returns() {
    let (_database, redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;

    let added = latchhook.json(ADD_SOURCE).await;
    assert_eq!(added["path"], "/hooks/wa");
    let sources = published(&latchhook, &redis).await;
    assert_eq!((sources[0].secrets[0].expose_secret(), sources[0].enabled), ("first", true));

    latchhook.json("source rotate wa --app-secret second --app-secret first").await;
    let sources = published(&latchhook, &redis).await;
    let secrets: Vec<_> = sources[0].secrets.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(secrets, ["second", "first"]);
    assert_eq!(sources[0].verify_token.as_ref().unwrap().expose_secret(), "token", "what is not given stays");

    latchhook.json("source disable wa").await;
    assert!(!published(&latchhook, &redis).await[0].enabled);
    latchhook.json("source enable wa").await;
    assert!(published(&latchhook, &redis).await[0].enabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_may_come_from_a_file_and_is_never_shown_again() {
    let (_database, redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let dir = latchhook::servers::ScratchDir::new().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "from a file\n").unwrap();

    let add = "source add --provider whatsapp --account acme --name N --id wa --verify-token T --app-secret-file";
    latchhook.json(&format!("{add} {}", file.display())).await;
    let secret = latchhook.json(ADD_ENDPOINT).await["secret"].as_str().unwrap().to_owned();

    assert_eq!(published(&latchhook, &redis).await[0].secrets[0].expose_secret(), "from a file");
    for command in ["source list", "endpoint list", "endpoint show bot"] {
        let shown = latchhook.json(command).await.to_string();
        assert!(!shown.contains("from a file") && !shown.contains(&secret), "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_up_is_refused_in_a_line_that_says_what_to_do_and_leaves_nothing() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    latchhook.json("account add --id other").await;
    latchhook.json(ADD_SOURCE).await;
    latchhook.json(ADD_ENDPOINT).await;

    let refusals = [
        (ADD_SOURCE.replace("acme", "nobody"), "latchhook account add --id nobody"),
        (ADD_SOURCE.replace("acme", "other"), "there is a source wa already, of account acme"),
        (ADD_SOURCE.replace("whatsapp", "fax"), "fax"),
        (ADD_SOURCE.replace("--id wa", "--id a:b"), "\"a:b\" is no id"),
        (ADD_SOURCE.replace("first", "''"), "--app-secret holds no secret: it is empty"),
        (
            ADD_SOURCE.replace("--verify-token token", "--verify-token ''"),
            "--verify-token holds no secret: it is empty",
        ),
        (ADD_ENDPOINT.replace("acme", "other"), "there is an endpoint bot already, of account acme"),
        (ADD_ENDPOINT.replace("message_created", "message-created"), "\"message-created\" is no event type"),
        (ADD_ENDPOINT.replace("message_created", "mesage_created"), "there is no event type mesage_created"),
        (ADD_ENDPOINT.replace("message_created", "fax.system"), "latchhook.endpoint_disabled, whatsapp.KIND"),
        (ADD_ENDPOINT.replace("message_created", "whatsapp."), "there is no event type whatsapp."),
        (
            ADD_ENDPOINT.replace("http://127.0.0.1:9000", "https://10.0.0.1").replace("bot", "b"),
            "10.0.0.1 is not public",
        ),
        ("source rotate nobody --app-secret S".into(), "there is no source nobody"),
        ("endpoint disable nobody".into(), "there is no endpoint nobody"),
        ("enqueue --source nobody Cargo.toml".into(), "there is no source nobody"),
    ];

    for (line, what) in refusals {
        let failure = latchhook.fails(&line).await;
        assert!(failure.starts_with("latchhook: ") && failure.contains(what), "{failure}");
    }
    assert_eq!(latchhook.json("source list").await.as_array().unwrap().len(), 1);
    assert_eq!(latchhook.json("endpoint list").await.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_may_hear_of_every_kind_of_a_provider_that_there_is() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;

    for events in ["*", "message_created", "message_updated,whatsapp.system"] {
        let add = format!("endpoint add --account acme --url http://127.0.0.1:9000/hook --id bot --events {events}");
        assert_eq!(latchhook.json(&add).await["event_types"], json!(events.split(',').collect::<Vec<_>>()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_not_left_half_added_when_redis_is_away() {
    let (database, mut redis, _) = stores().await;
    redis.url = "redis://127.0.0.1:1".into();
    let latchhook = CommandLine::new(&database.url, &redis);
    latchhook.json("account add --id acme").await;

    let failure = latchhook.fails(ADD_SOURCE).await;

    assert!(failure.contains("Redis cannot be reached: check that it runs and that REDIS_URL is right"), "{failure}");
    assert_eq!(latchhook.json("source list").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_setting_and_a_missing_server_are_told_apart() {
    let nothing = CommandLine { settings: Vec::new() };
    let nowhere = CommandLine { settings: vec!["--database-url=postgres://a:pass@127.0.0.1:1/x".into()] };

    assert!(nothing.fails("account list --database-url=").await.contains("DATABASE_URL is not set: say where"));
    let failure = nowhere.fails("account list").await;
    assert!(failure.contains("Postgres gives no connection: check that it runs"), "{failure}");
    assert!(!failure.contains("pass"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migrated_database_has_nothing_left_to_migrate() {
    let (_database, _redis, latchhook) = stores().await;

    assert_eq!(latchhook.json("migrate").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_of_each_check_what_it_found_and_what_to_do() {
    let (database, _, _) = stores().await;
    let redis = tests::private_redis();
    let latchhook = CommandLine::new(&database.url, &tests::TestRedis { url: redis.url(), prefix: "p".into() });
    latchhook.json("account add --id acme").await;
    latchhook.json(ADD_ENDPOINT).await;
    let another_key = CommandLine::new(&database.url, &tests::TestRedis { url: redis.url(), prefix: "p".into() });

    let verdicts = |said: super::Said| -> Vec<(String, String)> {
        let checks: Vec<serde_json::Value> = serde_json::from_str(&said.out).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        checks.iter().map(|check| (text(&check["check"]), text(&check["verdict"]))).collect()
    };

    let right = verdicts(latchhook.run("doctor --json").await);
    let wrong = another_key.run("doctor --json").await;
    assert_eq!(wrong.ended.as_ref().unwrap_err().status, 1);
    let wrong = verdicts(wrong);
    let key = "the master key opens every secret".to_owned();
    assert!(
        right.contains(&(key.clone(), "ok".into())) && wrong.contains(&(key, "fail".into())),
        "{right:?} {wrong:?}"
    );
    assert!(right.contains(&("the schema is up to date".into(), "ok".into())));
    assert!(right.contains(&("redis is reachable".into(), "ok".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_nothing_wrong_with_what_dev_starts_once_it_is_migrated() {
    let dir = latchhook::servers::ScratchDir::new().unwrap();
    let servers = latchhook::dev::PrivateServers::start(&dir.path().join("dev")).unwrap();
    let latchhook = CommandLine::new(
        &servers.database_url(),
        &tests::TestRedis { url: servers.redis_url(), prefix: "latchhook".into() },
    );

    let before = latchhook.run("doctor").await;
    latchhook.json("migrate").await;
    let after = latchhook.run("doctor").await;

    let failure = before.ended.unwrap_err().to_string();
    assert_eq!(failure, "latchhook: 1 check failed: the table says what to do", "{}", before.out);
    assert!(after.ended.is_ok(), "{}", after.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_row_is_damaged_holds_up_no_other_and_is_mended_by_new_secrets() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.execute("UPDATE sources SET secrets = ARRAY['damaged'::bytea]").await;
    let sealed = async || {
        let sources = published(&latchhook, &pipeline.test_redis).await;
        sources.into_iter().filter(Source::is_sealed).map(|source| source.id.to_string()).collect::<Vec<_>>()
    };

    latchhook.json(&ADD_SOURCE.replace("--id wa", "--id other")).await;
    let told = latchhook.fails("source test wa").await;
    let half = latchhook.fails("source rotate wa --verify-token other").await;

    assert_eq!(sealed().await, ["wa"]);
    assert!(half.contains("the secrets of wa do not open: give it new ones too"), "{half}");
    assert!(told.contains("a secret does not open"), "{told}");
    latchhook.json("source rotate wa --app-secret again").await;
    assert_eq!(sealed().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_master_key_that_opens_no_source_nothing_is_changed() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    latchhook.json("source enable wa").await;
    let foreign = MasterKey::generate();
    let another = CommandLine::knowing(foreign.expose_secret(), &pipeline.test_database.url, &pipeline.test_redis);

    for command in [&*ADD_SOURCE.replace("--id wa", "--id other"), "source disable wa", "source token wa"] {
        let refused = another.fails(command).await;
        assert!(refused.contains("nothing was changed: no source opens under this master key"), "{command}: {refused}");
    }

    let sources = published(&latchhook, &pipeline.test_redis).await;
    assert_eq!((sources.len(), sources[0].enabled, sources[0].tokens.len()), (1, true, 0));
}
