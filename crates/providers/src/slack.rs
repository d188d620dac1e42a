//! Slack's Events API, slash commands and interactions: whatever one app's Request URLs are sent. All of it is signed alike.
//!
//! An event is JSON with an id, which its retries keep; `X-Slack-Retry-Num` and `-Reason` only say that it is one, for whoever
//! looks at what was kept. Slash commands and interactions are forms. They are never sent again, and what makes one different
//! from the next is its kind and its `trigger_id`, or else all that it says.
//!
//! * `X-Slack-No-Retry` is never answered: what is refused for now is to come again.
//! * An answer of 200 with nothing in it acknowledges a command and an interaction; with `response_url` the customer can say
//!   more. The options of a menu (`block_suggestion`) must be in the answer itself: let a server of your own give these.

use std::{borrow::Cow, time::Duration};

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Answer, Handshake, Request, Sample, Verdict,
    hex_headers::StampedHex,
    json::{Fault, Fields, Path, key, unix_time},
    reason,
    request::Signed,
    rules::Rules,
    single::{self, Single, form_value, joined, sha256},
};

/// What Slack sends to an app.
pub(crate) struct Slack;

const RETRY: [&str; 2] = ["x-slack-retry-num", "x-slack-retry-reason"];

/// Five minutes are what Slack's page asks for. Each retry is signed anew.
const SIGNATURE: StampedHex = StampedHex {
    header: "x-slack-signature",
    time: "x-slack-request-timestamp",
    version: "v0",
    tolerance: TimeDelta::seconds(300),
};

const ABOUT: About = About {
    name: "slack",
    title: "Slack",
    page: "https://docs.slack.dev/authentication/verifying-requests-from-slack",
    secret: "the Signing Secret of the app: api.slack.com/apps, your app, Basic Information, App Credentials",
    url: "api.slack.com/apps, your app, Event Subscriptions, Slash Commands, and Interactivity & Shortcuts, Request URL",
    verify_token: None,
    signature: "X-Slack-Signature: HMAC-SHA256 of v0, X-Slack-Request-Timestamp and the body, hexadecimal; within 5 minutes",
    key: "event_id, which a retry keeps; of commands and interactions, which are not repeated, the kind and the trigger_id",
    // At once, after 1 minute and after 5; where Delayed Events is switched on, every hour for a day.
    repeats_for: Some(Duration::from_hours(24)),
    kept_headers: &[SIGNATURE.header, SIGNATURE.time, RETRY[0], RETRY[1]],
    // It names no limit.
    body_limit: 3 * 1024 * 1024,
    settings: &[],
};

/// What decides about the answer: everything else is left to the worker.
#[derive(Deserialize)]
struct Asked<'b> {
    #[serde(borrow)]
    r#type: Cow<'b, str>,
    challenge: Option<String>,
}

impl Rules for Slack {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        SIGNATURE.verify(&source.secrets, request)
    }

    /// A slash command's URL is asked now and then, with nothing signed, whether its certificate is good; by a POST, too
    /// ([`Rules::greeting`]).
    fn handshake(&self, _source: &Source, query: &[(String, String)]) -> Handshake {
        let asks = query.iter().any(|(name, value)| name == "ssl_check" && value == "1");
        if asks { Handshake::Answer(String::new()) } else { Handshake::Refused }
    }

    /// The URL of events is taken once it has given back a challenge.
    fn greeting(&self, _source: &Source, request: &Request<'_>) -> Option<Answer> {
        let value = |name| form_value(request.body, name);
        if value("ssl_check").as_deref() == Some("1") && value("command").is_none() && value("payload").is_none() {
            return Some(Answer::OK);
        }
        let asked: Asked<'_> = serde_json::from_slice(request.body).ok()?;
        asked.challenge.filter(|_| asked.r#type == "url_verification").map(Answer::text)
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        if raw_event.body.trim_ascii_start().starts_with(b"{") {
            return single::split(raw_event, event);
        }
        single::one(raw_event, form(raw_event))
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let (id, seconds) = (format!("Ev{}", sample.id), sample.now.timestamp());
        let event = json!({"type": "latchhook_sample"});
        let body = json!({"type": "event_callback", "event_id": id, "event_time": seconds, "event": event}).to_string();
        SIGNATURE.signed(source.secrets.first()?.expose_secret(), body, sample.now)
    }
}

/// What is no `event_callback` may have no id (`app_rate_limited` has none), and is then known by what it says. `token` is
/// not part of that: people may have it changed.
fn event(body: &Fields<'_>) -> Result<Single, Fault> {
    let kind = body.required_text("type")?;
    let key = match body.get("event_id") {
        None if kind != "event_callback" => body.key("type", format!("{kind}:{}", body.hash_of_all_but(&["token"])))?,
        _ => body.key("event_id", body.id("event_id")?)?,
    };
    let inner = body.fields("event")?.filter(|_| kind == "event_callback").and_then(|event| event.loose_text("type"));
    let occurred_at = body.get("event_time").and_then(unix_time);
    Ok(Single { key, kind: inner.unwrap_or(kind.into()).into_owned(), occurred_at })
}

/// A slash command is a form; an interaction is JSON, in a form's `payload`.
fn form(raw_event: &RawEvent) -> Result<Single, Fault> {
    let body = &raw_event.body;
    let known_by = |kind: &str, trigger: Option<&str>| {
        let hash = || format!("sha256:{}", sha256(body));
        let trigger = trigger.filter(|trigger| !trigger.is_empty()).map_or_else(hash, str::to_owned);
        let key = key(&Path::default(), joined([kind, &trigger]))?;
        Ok(Single { key, kind: kind.to_owned(), occurred_at: None })
    };
    if let Some(payload) = form_value(body, "payload") {
        let interaction = |said: &Fields<'_>| known_by(said.required_text("type")?, said.text("trigger_id")?);
        let inside = |fault: Fault| Fault { detail: format!("payload: {}", fault.detail), ..fault };
        return single::object(&payload.into(), interaction).map_err(inside);
    }
    if form_value(body, "command").is_some() {
        return known_by("slash_command", form_value(body, "trigger_id").as_deref());
    }
    Err(Fault::at(Path::default(), reason::NOT_JSON, "neither JSON nor a form with a command or a payload"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Provider,
        testing::{at, event, genuine_at, headers, raw_event, rejection, source_of},
    };

    /// Slack's documentation, page "Verifying requests from Slack".
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const TAG: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    const SIGNED_AT: i64 = 1_531_420_618;
    const TIMESTAMP: &str = SIGNATURE.time;
    const RIGHT: [(&str, &str); 2] = [(SIGNATURE.header, TAG), (TIMESTAMP, "1531420618")];

    fn believed(pairs: &[(&str, &str)], body: &str, now: i64) -> bool {
        genuine_at(&source_of(Provider::Slack, SECRET), pairs, body.as_bytes(), at(now))
    }

    fn greeting(body: &str) -> Option<Answer> {
        let (source, headers) = (source_of(Provider::Slack, SECRET), headers(&[]));
        Provider::Slack.greeting(&source, &Request::posted(&headers, body.as_bytes(), at(0)))
    }

    #[test]
    fn the_published_vector_is_genuine_for_five_minutes_before_and_after() {
        let believed = [-301, -300, 0, 300, 301].map(|apart| believed(&RIGHT, BODY, SIGNED_AT + apart));

        assert_eq!(believed, [false, true, true, true, false]);
    }

    #[test]
    fn another_body_or_time_or_version_and_two_of_a_header_or_none_are_forged() {
        let v1 = TAG.replace("v0=", "v1=");
        let forged = [
            vec![RIGHT[0], (TIMESTAMP, "1531420619")],
            vec![RIGHT[0], RIGHT[0], RIGHT[1]],
            vec![RIGHT[0], RIGHT[1], RIGHT[1]],
            vec![RIGHT[0]],
            vec![RIGHT[1]],
            vec![(SIGNATURE.header, &v1), RIGHT[1]],
            vec![(SIGNATURE.header, &TAG[3..]), RIGHT[1]],
        ];

        let believed_anyway = forged.iter().filter(|pairs| believed(pairs, BODY, SIGNED_AT)).count();

        assert_eq!(believed_anyway, 0);
        assert!(!believed(&RIGHT, &BODY.replace("text=", "text=x"), SIGNED_AT));
    }

    #[test]
    fn a_challenge_is_given_back_and_nothing_else_is_a_greeting() {
        let challenge = r#"{"token":"t","challenge":"3eZbrw1aB10FEMAGAZd4FyFQ","type":"url_verification"}"#;
        let event = r#"{"type":"event_callback","challenge":"3eZbrw1aB10FEMAGAZd4FyFQ","event_id":"Ev1"}"#;

        let greetings = [challenge, event, r#"{"type":"url_verification"}"#, BODY].map(greeting);

        assert_eq!(greetings, [Some(Answer::text("3eZbrw1aB10FEMAGAZd4FyFQ")), None, None, None]);
    }

    #[test]
    fn the_check_of_a_certificate_is_answered_and_other_gets_are_not() {
        let asked = |name: &str, value: &str| {
            Provider::Slack.handshake(&source_of(Provider::Slack, SECRET), &[(name.into(), value.into())])
        };

        assert_eq!(asked("ssl_check", "1"), Handshake::Answer(String::new()));
        assert_eq!([asked("ssl_check", "2"), asked("challenge", "1")], [Handshake::Refused, Handshake::Refused]);
        assert_eq!(greeting("ssl_check=1&token=xyzz0WbapA4vBCDEFasx0q6G"), Some(Answer::OK));
        for event in ["ssl_check=0&token=t", "ssl_check=1&command=%2Fopen", r#"{"text":"&ssl_check=1&"}"#] {
            assert_eq!(greeting(event), None, "{event}");
        }
    }

    #[test]
    fn a_retry_has_the_key_of_the_first_and_is_what_happened() {
        let body = r#"{"token":"t","type":"event_callback","event_id":"Ev08MFMKH6","event_time":1234567890,"event":{"type":"reaction_added","event_ts":"1"}}"#;

        let first = event(Provider::Slack, &raw_event(&[(TIMESTAMP, "1")], body));
        let retry = event(Provider::Slack, &raw_event(&[(TIMESTAMP, "61"), ("x-slack-retry-num", "1")], body));

        assert_eq!((first.key.as_str(), &first.kind[..]), ("Ev08MFMKH6", "reaction_added"));
        assert_eq!(first.occurred_at, Some(at(1_234_567_890)));
        assert_eq!(first, retry);
        assert!(RETRY.iter().all(|name| ABOUT.kept_headers.contains(name)));
    }

    #[test]
    fn what_has_no_id_is_known_by_its_type_and_by_what_it_says() {
        let limited = |token: &str, minute: u32| {
            let body = format!(r#"{{"token":"{token}","type":"app_rate_limited","minute_rate_limited":{minute}}}"#);
            event(Provider::Slack, &raw_event(&[], &body))
        };

        assert_eq!(limited("t", 1_518_467_820).kind, "app_rate_limited");
        assert_eq!(limited("t", 1_518_467_820).key, limited("another", 1_518_467_820).key);
        assert_ne!(limited("t", 1_518_467_820).key, limited("t", 1_518_467_880).key);
    }

    #[test]
    fn a_command_and_an_interaction_are_known_by_their_trigger() {
        let interaction =
            "payload=%7B%22type%22%3A%22block_actions%22%2C%22trigger_id%22%3A%2212466734323.1395872398%22%7D";

        let [command, interaction] = [BODY, interaction].map(|body| event(Provider::Slack, &raw_event(&[], body)));

        assert_eq!(command.key.as_str(), "slash_command:398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c");
        assert_eq!((command.kind.as_str(), &command.raw[..]), ("slash_command", BODY.as_bytes()));
        assert_eq!(
            (interaction.key.as_str(), &interaction.kind[..]),
            ("block_actions:12466734323.1395872398", "block_actions")
        );
    }

    #[test]
    fn two_kinds_of_one_trigger_are_two_events() {
        let of = |kind: &str| {
            let body = format!("payload=%7B%22type%22%3A%22{kind}%22%2C%22trigger_id%22%3A%221.2%22%7D");
            event(Provider::Slack, &raw_event(&[], &body)).key
        };

        let command = event(Provider::Slack, &raw_event(&[], "command=%2Fopen&trigger_id=1.2")).key;

        assert!(of("view_submission") != of("block_actions") && of("view_submission") != command);
    }

    #[test]
    fn an_interaction_without_a_trigger_is_known_by_what_it_says() {
        let closed = |view: u8| {
            let payload = format!("payload=%7B%22type%22%3A%22view_closed%22%2C%22view%22%3A{view}%7D");
            event(Provider::Slack, &raw_event(&[], &payload)).key
        };

        assert_eq!(closed(1), closed(1));
        assert_ne!(closed(1), closed(2));
    }

    #[test]
    fn what_is_no_event_is_rejected_with_what_is_missing() {
        for (body, reason, start) in [
            (r#"{"type":"event_callback","event":{}}"#, reason::MISSING_ID, "event_id:"),
            (r#"{"event_id":"Ev1"}"#, reason::WRONG_TYPE, "type:"),
            ("payload=%7B%7D", reason::WRONG_TYPE, "payload: type:"),
            ("payload=x", reason::NOT_JSON, "payload: "),
            ("text=hello", reason::NOT_JSON, "the body: neither JSON nor a form with a command or a payload"),
        ] {
            let rejection = rejection(Provider::Slack, &raw_event(&[], body));
            assert_eq!(rejection.reason, reason, "{body}");
            assert!(rejection.detail.starts_with(start), "{}", rejection.detail);
        }
    }
}
