//! What is described here by settings alone are providers that publish vectors.

mod borders;
mod door;
mod events;
mod keys;
mod sample;

use serde_json::{Map, Value, json};
use vocabulary::{Item, Source};

use crate::{
    Provider,
    signature::{from_base64, sign, to_base64},
    testing::{at, genuine_at, raw_event, source_of, with_settings},
};

fn source(secret: &str, settings: &Value) -> Source {
    Provider::Generic.check_settings(settings.as_object().unwrap()).unwrap();
    with_settings(source_of(Provider::Generic, secret), settings)
}

fn refusal(settings: &Value) -> String {
    Provider::Generic.check_settings(settings.as_object().unwrap()).unwrap_err().to_string()
}

fn split(settings: &Value, pairs: &[(&str, &str)], body: &str) -> Item {
    let [item] = Provider::Generic.split(&source("s", settings), &raw_event(pairs, body)).try_into().unwrap();
    item
}

/// What the page on providers sets for one of its examples: people copy it from there.
fn shown(title: &str) -> Value {
    let page = include_str!("../../../../../docs/providers.md");
    let example = page.split("\n### ").find(|section| section.starts_with(title)).unwrap();
    let command = words(example.split("```").nth(1).unwrap().strip_prefix("sh\n").unwrap());
    let settings =
        command.windows(2).filter(|pair| pair[0] == "--setting").map(|pair| pair[1].split_once('=').unwrap());
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| text.into());
    settings.map(|(name, text)| (name.to_owned(), value(text))).collect::<Map<_, _>>().into()
}

/// As a shell has them.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for letter in command.replace("\\\n", " ").chars() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            letter if letter.is_whitespace() && !is_quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn stripe() -> Value {
    shown("Stripe")
}

fn standard_webhooks() -> Value {
    shown("Standard Webhooks")
}

fn standard_webhooks_of_a_public_key() -> Value {
    let mut settings = standard_webhooks();
    for (name, value) in [("algorithm", "ed25519"), ("list_name", "v1a"), ("secret_prefix", "whpk_")] {
        settings[name] = value.into();
    }
    settings
}

/// GitHub's documentation, page "Validating webhook deliveries".
#[test]
fn github_is_taken_by_data_alone() {
    let source = source("It's a Secret to Everybody", &shown("GitHub"));
    let tag = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let genuine = |pairs: &[_], body| genuine_at(&source, pairs, body, at(0));

    assert!(genuine(&[("x-hub-signature-256", tag)], b"Hello, World!"));
    assert!(!genuine(&[("x-hub-signature-256", tag)], b"Hello, World?"));
    assert!(!genuine(&[("x-hub-signature-256", &tag[7..])], b"Hello, World!"));
    assert!(!genuine(&[("x-hub-signature-256", tag); 2], b"Hello, World!"));
    assert!(!genuine(&[], b"Hello, World!"));
}

/// Stripe's libraries (stripe-dotnet, async-stripe): 807 bytes, the last of them a line feed.
#[test]
fn stripe_is_taken_by_data_alone_and_what_cannot_be_read_does_not_cost_what_can() {
    let source = source("webhook_secret", &stripe());
    let tag = "f0bdba6d4eacbd8ad8a3bbadd7248e633ec1477f7899c124c51b39405fa36613";
    let genuine = |header: String, now| {
        genuine_at(&source, &[("stripe-signature", &header)], include_bytes!("../stripe.json"), at(now))
    };

    assert!(genuine(format!("t=1533204620,v1={tag},v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f"), 1_533_204_920));
    assert!(genuine(format!("t=1533204620,v1=unreadable,v1={tag}"), 1_533_204_320));
    assert!(!genuine(format!("t=1533204620,v0={tag}"), 1_533_204_620));
    assert!(!genuine(format!("t=1533204620,v1={tag}"), 1_533_204_921));
    for odd in ["v1,t=1", "t=", "v1", &format!("t=1533204620,t=1533204620,v1={tag}"), &format!("v1={tag}")] {
        assert!(!genuine(odd.to_owned(), 1_533_204_620), "{odd}");
    }
}

/// Slack's documentation, page "Verifying requests from Slack".
#[test]
fn slack_is_taken_by_data_alone_and_only_while_it_is_fresh() {
    let source = source("8f742231b10e8888abcd99yyyzzz85a5", &shown("Slack"));
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let pairs = [
        ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
        ("x-slack-request-timestamp", "1531420618"),
    ];

    assert!(genuine_at(&source, &pairs, body, at(1_531_420_918)));
    assert!(!genuine_at(&source, &pairs, body, at(1_531_420_919)));
    assert!(!genuine_at(&source, &pairs, body, at(1_531_420_317)));
    assert!(!genuine_at(&source, &[pairs[0], pairs[1], pairs[1]], body, at(1_531_420_618)));
}

/// Computed by ourselves: Shopify publishes none.
#[test]
fn shopify_is_taken_by_data_alone() {
    let source = source("hush", &shown("Shopify"));
    let pairs = [("x-shopify-hmac-sha256", "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY=")];

    assert!(genuine_at(&source, &pairs, br#"{"id":1}"#, at(0)));
    assert!(!genuine_at(&source, &pairs, br#"{"id":2}"#, at(0)));
}

/// Computed by ourselves, with the headers of an example of Twitch's page "Handling webhook events": it publishes none.
#[test]
fn twitch_is_taken_by_data_alone_although_nothing_stands_between_what_it_signs() {
    let (settings, body) = (shown("Twitch"), br#"{"subscription":{"type":"channel.follow"},"event":{}}"#);
    let source = source("s3cRe7-of-ten", &settings);
    let pairs = |tag: &'static str| {
        [
            ("twitch-eventsub-message-id", "e76c6bd4-55c9-4987-8304-da1588d8988b"),
            ("twitch-eventsub-message-timestamp", "2019-11-16T10:11:12.634234626Z"),
            ("twitch-eventsub-message-signature", tag),
            ("twitch-eventsub-subscription-type", "channel.follow"),
        ]
    };
    let right = pairs("sha256=1bfd169afa96071f7e6480b1ae2715c004606356351c5152b962c7bfb771687e");
    let genuine = |pairs: &[_], now| genuine_at(&source, pairs, body, at(now));

    assert!(genuine(&right, 1_573_899_072) && genuine(&right, 1_573_899_672));
    assert!(!genuine(&right, 1_573_899_673) && !genuine(&right[1..], 1_573_899_072));
    assert!(!genuine(&pairs("sha256=0bfd169afa96071f7e6480b1ae2715c004606356351c5152b962c7bfb771687e"), 1_573_899_072));
    let event = split(&settings, &right, str::from_utf8(body).unwrap()).unwrap();
    assert_eq!((event.key.as_str(), &event.kind[..]), ("e76c6bd4-55c9-4987-8304-da1588d8988b", "channel.follow"));
}

/// Computed by ourselves, after Calendly's page "Webhook signatures": it publishes none.
#[test]
fn calendly_is_taken_by_data_alone_and_a_cancellation_is_another_event_than_what_it_cancels() {
    let (settings, body) =
        (shown("Calendly"), r#"{"event":"invitee.created","payload":{"uri":"https://a.example/1"}}"#);
    let tag = "t=1600000000,v1=daaccb42f2eac13293daab553247093a13ba7a9e88eec52f1a161b31c3783ca7";
    let genuine = |body: &str| {
        let source = source("5mEzn9C-I28UtwOjZJtFoob0sAAFZ95GbZkqj4y3i0I", &settings);
        genuine_at(&source, &[("calendly-webhook-signature", tag)], body.as_bytes(), at(1_600_000_180))
    };

    let [created, canceled] =
        [body.to_owned(), body.replace("created", "canceled")].map(|body| split(&settings, &[], &body).unwrap());

    assert!(genuine(body) && !genuine(&body.replace("created", "canceled")));
    assert_eq!((created.key.as_str(), &created.kind[..]), ("invitee.created:https://a.example/1", "invitee.created"));
    assert_ne!(created.key, canceled.key);
}

/// The libraries of Standard Webhooks, and the tests of Svix's server for Ed25519.
#[test]
fn standard_webhooks_are_taken_by_data_alone_with_either_kind_of_key() {
    let hmac = source("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &standard_webhooks());
    let ed25519 = source("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", &standard_webhooks_of_a_public_key());
    let (v1, v1a) = (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
    );
    let genuine = |source, id, signature: &str| {
        let pairs = [("webhook-id", id), ("webhook-timestamp", "1614265330"), ("webhook-signature", signature)];
        genuine_at(source, &pairs, br#"{"test": 2432232314}"#, at(1_614_265_330))
    };

    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    assert!(genuine(&hmac, id, v1) && genuine(&ed25519, id, v1a));
    assert!(genuine(&hmac, id, &format!("{v1a} v1,AAAA {v1}")));
    assert!(!genuine(&hmac, id, v1a) && !genuine(&ed25519, id, v1));
    assert!(!genuine(&hmac, "msg_another", v1));
}

#[test]
fn bytes_cannot_be_moved_from_the_body_to_the_id() {
    let source = source("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &standard_webhooks());
    let key = from_base64("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();

    let signature = format!("v1,{}", to_base64(&sign(ring::hmac::HMAC_SHA256, &key, &[b"a.1000.1000.{}"])));

    let genuine = |id, body: &[u8]| {
        let pairs = [("webhook-id", id), ("webhook-timestamp", "1000"), ("webhook-signature", &signature)];
        genuine_at(&source, &pairs, body, at(1000))
    };
    assert!(genuine("a", b"1000.{}"));
    assert!(!genuine("a.1000", b"{}"));
}

#[test]
fn a_secret_that_stands_for_no_bytes_vouches_for_nobody() {
    let source = source("whsec_", &standard_webhooks());
    let signature = format!("v1,{}", to_base64(&sign(ring::hmac::HMAC_SHA256, b"", &[b"a.1000.{}"])));

    let pairs = [("webhook-id", "a"), ("webhook-timestamp", "1000"), ("webhook-signature", &signature)];

    assert!(!genuine_at(&source, &pairs, b"{}", at(1000)));
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let with = |changes: Value| {
        let mut settings = stripe();
        settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        settings.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        refusal(&settings)
    };

    for (changes, start) in [
        (json!({"algorithm": null}), "a source of generic needs the setting algorithm"),
        (json!({"algorithm": "md5"}), "algorithm must be"),
        (json!({"signature_header": "X-Big"}), "signature_header must be"),
        (json!({"signature_header": null}), "either signature_header or signature_query"),
        (json!({"signed": "{timestamp}"}), "signed must hold {body}"),
        (json!({"signed": "{body}"}), "signed must hold {timestamp}"),
        (json!({"signed": "{timestamp}{body}{nonce}"}), "signed has {nonce}"),
        (json!({"signed": "{timestamp}{id}{body}", "id_header": "i"}), "signed must have a text behind {id}"),
        (json!({"signed": "{timestamp}{body}.{id}"}), "signed has {id}, which needs the setting id_header"),
        (json!({"signed": "{id}{timestamp}{body}", "id_header": "i"}), "signed must have a text behind {id}"),
        (json!({"signed": "{timestamp}{body}{id}", "id_header": "i"}), "signed must have a text before an {id}"),
        (json!({"signed": "{body}{timestamp}{id}", "id_header": "i"}), "signed must have a text before an {id}"),
        (json!({"signed": "{timestamp}.{id}{id}.{body}", "id_header": "i"}), "signed must have a text behind {id}"),
        (json!({"signed": "{timestamp}.{body}.{body}"}), "signed must hold {body} once"),
        (json!({"url": "https://a.example"}), "url goes with {url}"),
        (json!({"timestamp_name": null}), "signed has {timestamp}"),
        (json!({"form": "bare"}), "list_separator goes with form list"),
        (json!({"list_name": null}), "form list needs the setting list_name"),
        (json!({"tolerance": 0}), "tolerance must be"),
        (json!({"key_pointer": ["/id"]}), "key_pointer must be"),
        (json!({"key_pointer": ["/id", "type"]}), "key_pointer must be"),
        (json!({"challenge_pointer": "challenge"}), "challenge_pointer must be"),
        (json!({"algorithm": "ed25519", "secret_form": "literal"}), "secret_form must be base64, hex or pem"),
        (json!({"algorithm": "equal"}), "signed goes with a signature"),
        (json!({"key_pointer": null}), "key_header or key_pointer must say"),
        (json!({"key_hash": true}), "key_hash goes without"),
        (
            json!({"key_pointer": null, "key_header": "stripe-signature"}),
            "key_header must be another than signature_header",
        ),
        (json!({"kind_header": "k"}), "kind_header and kind_pointer cannot both"),
    ] {
        let refusal = with(changes);
        assert!(refusal.starts_with(start), "{refusal}");
    }
}
