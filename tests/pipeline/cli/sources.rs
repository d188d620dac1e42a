//! Adding sources and giving them other secrets: what is asked for, what is refused, and what is said to be done next.

use ::providers::Provider;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{CommandLine, setup::published, stores};

/// Usable as the secret of any provider that signs with one.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A command that adds the source `s` of a provider.
fn add(provider: &str) -> String {
    format!("source add --provider {provider} --account acme --name N --id s --app-secret {SECRET}")
}

/// What a command says to people.
async fn notes(latchhook: &CommandLine, line: &str) -> Vec<String> {
    latchhook.told(line).await.1.lines().map(str::to_owned).collect()
}

async fn with_account() -> (tests::TestDatabase, tests::TestRedis, CommandLine) {
    let (database, redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    (database, redis, latchhook)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_no_secret_is_told_what_it_is_and_where_it_is_found_and_where_the_url_goes() {
    let nothing = CommandLine { settings: Vec::new() };

    for provider in Provider::ALL {
        let said = nothing.run(&format!("source add --provider {provider} --account acme --name N")).await;
        let failure = said.ended.unwrap_err();
        let (line, about) = (failure.to_string(), provider.about());
        assert!(
            line.contains(about.secret) && line.contains(about.url) && line.contains("--app-secret-file"),
            "{line}"
        );
        assert_eq!(line.contains("--verify-token"), about.verify_token.is_some(), "{line}");
        assert_eq!((failure.status, line.lines().count()), (2, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verify_token_may_be_given_later_and_alone_and_the_secrets_stay() {
    let (_database, redis, latchhook) = with_account().await;

    let notes = notes(&latchhook, &add("whatsapp")).await;
    let before = latchhook.json("source show s").await;
    latchhook.json("source rotate s --verify-token later").await;

    let command = "latchhook source rotate s --verify-token T";
    assert!(notes.iter().any(|note| note.contains("handshake will be refused") && note.contains(command)), "{notes:?}");
    let source = published(&latchhook, &redis).await.remove(0);
    let secrets: Vec<_> = source.secrets.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!((source.verify_token.unwrap().expose_secret(), &secrets[..]), ("later", &[SECRET][..]));
    assert_eq!(
        (&before["verify_token"], &latchhook.json("source show s").await["verify_token"]),
        (&json!(false), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_leaves_no_former_secret_says_what_that_means() {
    let (_database, _redis, latchhook) = with_account().await;
    latchhook.json(&add("github")).await;

    let beside = notes(&latchhook, &format!("source rotate s --app-secret new --app-secret {SECRET}")).await;
    let alone = notes(&latchhook, "source rotate s --app-secret other").await;

    assert_eq!(beside, Vec::<String>::new());
    assert!(alone[0].starts_with("What its provider still signs with the former secret is refused now"), "{alone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verify_token_is_refused_where_no_handshake_shows_one() {
    let (_database, _redis, latchhook) = with_account().await;

    let added = latchhook.fails(&format!("{} --verify-token T", add("github"))).await;
    assert_eq!(latchhook.json("source list").await, json!([]));
    latchhook.json(&add("github")).await;
    let rotated = latchhook.fails("source rotate s --verify-token T").await;

    for failure in [added, rotated] {
        assert!(
            failure.contains("github has no handshake that shows a verify token: leave --verify-token out"),
            "{failure}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_added_again_names_the_settings_that_are_others_and_says_when_its_keys_may_be() {
    let (_database, _redis, latchhook) = with_account().await;
    let add = format!("{} --setting algorithm=hmac-sha256 --setting signature_header=x-tag --setting", add("generic"));
    let with = async |settings: &str| notes(&latchhook, &format!("{add} {settings}")).await;

    let added = with("key_pointer=/id --setting kind_pointer=/kind").await;
    let same = with("key_pointer=/id --setting kind_pointer=/kind").await;
    let other_kind = with("key_pointer=/id --setting kind_pointer=/type").await;
    let other_key = with("key_pointer=/other --setting kind_pointer=/type").await;
    let another_place = with("key_header=x-id --setting kind_pointer=/type").await;

    assert_eq!(added, same);
    assert_eq!(other_kind[0], "s has another setting than before: kind_pointer");
    assert_eq!(other_kind[1..], same);
    let keys = "What its sender sends again of before may have another key now, and is then recorded as a new event";
    assert_eq!(other_key[..2], ["s has another setting than before: key_pointer", keys]);
    let lost = "s has no longer: setting key_pointer. source add takes all of them each time";
    assert_eq!(another_place[..2], [lost, keys]);
}

/// `ID` stands for the id of each.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_pasted_is_whole_and_never_shows_the_secret() {
    let (_database, _redis, latchhook) = with_account().await;
    let token = "--setting algorithm=equal --setting key_pointer=/id --setting";
    let (in_query, bearer) = (
        format!("{token} signature_query=token"),
        format!("{token} signature_header=authorization --setting form=prefix '--setting=prefix=Bearer '"),
    );

    for (n, (provider, settings, expected)) in [
        ("github", "", "Paste https://YOUR-HOST/hooks/ID into: github.com"),
        ("dialog360", "", "Paste https://YOUR-HOST/hooks/ID?secret=THE-SECRET into: 360dialog Hub"),
        ("dialog360", "--setting header=x-key", "the header x-key: THE-SECRET, where"),
        ("telegram", "", "the header x-telegram-bot-api-secret-token: THE-SECRET, where"),
        ("generic", &in_query, "/hooks/ID?token=THE-SECRET into: "),
        ("generic", &bearer, "the header authorization: Bearer THE-SECRET, where"),
        ("twilio", "--setting public_url=https://h.example", "Paste https://h.example/hooks/ID into: "),
        ("twilio", "--setting public_url=https://h.example/", "source test ID --to https://h.example"),
        (
            "twilio",
            "--setting public_url=https://h.example/in/ID",
            "A proxy must pass what comes there on to /hooks/ID",
        ),
        ("paypal", "", "which shows that it is reached and refuses; only the sender can send what is taken"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("s{n}");
        let line =
            format!("{} {}", add(provider).replace("--id s", &format!("--id {id}")), settings.replace("ID", &id));
        let notes = notes(&latchhook, &line).await;
        assert!(notes.iter().any(|note| note.contains(&expected.replace("ID", &id))), "{line}: {notes:#?}");
        assert!(!notes.iter().any(|note| note.contains(SECRET)), "{notes:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_with_which_nothing_would_ever_be_taken_are_refused_when_the_source_is_added() {
    let (_database, _redis, latchhook) = with_account().await;
    let ended = include_str!("../../../crates/providers/src/paypal/sandbox.pem");

    for (provider, settings, what) in [
        (
            "twilio",
            "",
            "needs the setting public_url: the URL that Twilio is given: https://YOUR-HOST, which is completed",
        ),
        (
            "twilio",
            "--setting public_url=https://h.example/hooks/other",
            "Write --setting public_url=https://h.example,",
        ),
        ("paypal", &format!("'--setting=certificates={ended}'"), "number 1 has ended on 2017-03-22 12:00:00 UTC"),
    ] {
        let failure = latchhook.fails(&format!("{} {settings}", add(provider))).await;
        assert!(failure.contains(what), "{failure}");
    }

    assert_eq!(latchhook.json("source list").await, json!([]));
}
