//! 360dialog, which passes WhatsApp's webhooks on.
//!
//! * A body is one change's `value` with nothing around it, or as Meta itself sends it. What becomes of its items is said in
//!   `whatsapp/mod.rs`, and is the same.
//! * Nothing is signed: a secret travels with each request. Who has seen one can send anything.
//! * In the URL, the secret is also in the access log of every proxy on the way. A header is in fewer: 360dialog sends those
//!   that are set beside the URL.
//! * A flat body names no phone number, so that nothing in it can be for another one: give each number a source of its own.

use std::time::Duration;

use form_urlencoded::Serializer;
use secrecy::ExposeSecret;
use serde_json::Value;
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Request, Sample, Setting, Verdict,
    request::Signed,
    rules::Rules,
    settings::is_header,
    signature::{one_of, only, only_parameter, same, usable, verdict},
    whatsapp::{self, Shape},
};

/// 360dialog.
pub(crate) struct Dialog360;

/// The parameter of the query that the secret is in, where no header was chosen.
const PARAMETER: &str = "secret";
/// The setting that names the header.
const HEADER: &str = "header";

const ABOUT: About = About {
    name: "dialog360",
    title: "360dialog",
    page: "https://docs.360dialog.com/docs/hub/webhook-url",
    secret: "a word of your own: give it to 360dialog in the URL, as ?secret=…, or better as the whole value of a header",
    url: "360dialog Hub, the number, Manage WhatsApp Business Account, Channel Webhook; headers are set beside it",
    verify_token: None,
    signature: "none: the header that the setting header names, or else ?secret= of the URL, must be the secret",
    key: whatsapp::KEY,
    repeats_for: Some(Duration::from_hours(7 * 24)),
    // Not the header: it is the secret itself.
    kept_headers: &[],
    body_limit: whatsapp::BODY_LIMIT,
    settings: &[
        Setting {
            name: HEADER,
            does: "takes the secret from this header alone, and no longer from the URL",
            expected: "the name of a header, in lower case",
            needed: false,
            takes: is_header,
        },
        whatsapp::PHONE_NUMBER,
    ],
};

impl Rules for Dialog360 {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        let verify = || {
            let secrets = usable(&source.secrets)?;
            let given = match header(source) {
                Some(name) => only(request.headers, name)?,
                None => only_parameter(request.query, PARAMETER)?,
            };
            one_of(&secrets, |secret| same(given, secret))
        };
        verdict(verify())
    }

    fn split(&self, source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        whatsapp::split(source, raw_event, Shape::FlatOrEntries)
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let (body, secret) =
            (whatsapp::sample_value(source, sample).to_string(), source.secrets.first()?.expose_secret());
        let mut signed = Signed::json(body, &[])?;
        match header(source) {
            Some(name) => {
                signed.headers.insert(name.parse::<http::HeaderName>().ok()?, secret.parse().ok()?);
            }
            None => {
                signed.query = format!("?{}", Serializer::new(String::new()).append_pair(PARAMETER, secret).finish())
            }
        }
        Some(signed)
    }
}

fn header(source: &Source) -> Option<&str> {
    source.settings.get(HEADER).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vocabulary::{Effect, Event};

    use super::*;
    use crate::{
        Provider, SettingsError, reason,
        testing::{at, genuine, genuine_by_query, raw_event, rejection, source_of, with_settings},
        whatsapp::tests::FIXTURES,
    };

    const SECRET: &str = "a word of our own";

    fn source() -> Source {
        source_of(Provider::Dialog360, SECRET)
    }

    fn events(provider: Provider, body: &str) -> Vec<Event> {
        let items = provider.split(&source_of(provider, SECRET), &raw_event(&[], body));
        items.into_iter().map(|item| item.unwrap()).collect()
    }

    #[test]
    fn only_the_secret_in_the_url_is_believed_and_only_once() {
        let genuine = |query: &[(&str, &str)]| genuine_by_query(&source(), query, b"{}");

        assert!(genuine(&[(PARAMETER, SECRET)]) && genuine(&[("utm", "x"), (PARAMETER, SECRET)]));
        let forged: [&[_]; 6] = [
            &[],
            &[(PARAMETER, "")],
            &[(PARAMETER, "a word")],
            &[(PARAMETER, "a word of our own ")],
            &[("Secret", SECRET)],
            &[(PARAMETER, SECRET), (PARAMETER, SECRET)],
        ];
        for query in forged {
            assert!(!genuine(query), "{query:?}");
        }
    }

    #[test]
    fn a_source_with_a_header_believes_that_header_and_no_url() {
        let source = with_settings(source(), &json!({"header": "x-secret"}));

        assert!(genuine(&source, &[("x-secret", SECRET)], b"{}"));
        for forged in [vec![], vec![("x-other", SECRET)], vec![("x-secret", "a word")], vec![("x-secret", SECRET); 2]] {
            assert!(!genuine(&source, &forged, b"{}"), "{forged:?}");
        }
        assert!(!genuine_by_query(&source, &[(PARAMETER, SECRET)], b"{}"));
    }

    #[test]
    fn a_source_without_a_secret_takes_nothing_not_even_the_empty_one() {
        for secrets in [vec![], vec!["".into()]] {
            let source = Source { secrets, ..source() };
            assert!(!genuine_by_query(&source, &[(PARAMETER, "")], b"{}"));
        }
    }

    #[test]
    fn the_secret_is_kept_with_no_raw_event_and_a_sample_has_it_where_it_is_asked_for_alone() {
        let source = with_settings(source(), &json!({"header": "x-secret"}));
        assert_eq!(Provider::Dialog360.door(None, &source.settings).kept_headers, Vec::<&str>::new());

        let stamp = Sample { id: "abc123", now: at(1_800_000_000) };
        let in_url = Provider::Dialog360.sample(&self::source(), &stamp).unwrap();
        let in_header = Provider::Dialog360.sample(&source, &stamp).unwrap();

        assert_eq!((in_url.query.as_str(), in_url.headers.get("x-secret")), ("?secret=a+word+of+our+own", None));
        assert_eq!((in_header.query.as_str(), in_header.headers["x-secret"].to_str().unwrap()), ("", SECRET));
    }

    /// Every fixture twice: as Meta sends it, and each of its values alone.
    #[test]
    fn items_keys_and_effects_are_those_of_whatsapp_flat_or_not() {
        for (name, body) in FIXTURES.iter().filter(|(name, _)| *name != "39_flat_360dialog_text") {
            let body = std::str::from_utf8(body).unwrap();
            let expected = events(Provider::WhatsApp, body);
            assert_eq!(events(Provider::Dialog360, body), expected, "{name}");

            let parsed: Value = serde_json::from_str(body).unwrap();
            let entries = parsed["entry"].as_array().unwrap().iter();
            let changes = entries.flat_map(|entry| entry["changes"].as_array().unwrap());
            let flat = changes.flat_map(|change| events(Provider::Dialog360, &change["value"].to_string()));

            let comparable = |event: Event| (event.key, event.kind, event.occurred_at, event.effect, event.quiet);
            let (flat, expected) = (flat.map(comparable), expected.into_iter().map(comparable));
            assert_eq!(flat.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn the_recorded_flat_body_is_a_message_with_its_sender() {
        let [event] = &events(Provider::Dialog360, &flat_fixture())[..] else { panic!() };

        let Effect::Message(message) = &event.effect else { panic!("{event:?}") };
        assert_eq!(event.key.as_str(), "wamid.HBgLXcJ68of6VUqhD+yd6Nckp5ZFcvH/0kwr");
        assert_eq!(message.content.as_deref(), Some("Flat on-premises shape"));
        assert_eq!(message.sender.as_ref().unwrap().name.as_deref(), Some("Ines Okafor"));
    }

    fn flat_fixture() -> String {
        let (_, body) = FIXTURES.iter().find(|(name, _)| *name == "39_flat_360dialog_text").unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn one_odd_item_of_a_flat_body_does_not_cost_the_others() {
        let body = r#"{"messages": [{"type": "text"}, 7, {"id": "wamid.1", "type": "text"}], "statuses": {}}"#;

        let items = Provider::Dialog360.split(&source(), &raw_event(&[], body));

        let details: Vec<_> = items.iter().map(|item| item.as_ref().err().map(|fault| fault.detail.as_str())).collect();
        let expected = [
            Some("messages[0].id: the item's id is empty"),
            Some("messages[1]: expected an object, found a number"),
            None,
            Some("statuses: expected an array, found an object"),
        ];
        assert_eq!(details, expected);
    }

    #[test]
    fn the_items_of_another_phone_number_are_rejected_where_the_body_names_one() {
        let ours = with_settings(source(), &json!({"phone_number_id": "1"}));
        let body = r#"{"metadata": {"phone_number_id": "2"}, "messages": [{"id": "wamid.1", "type": "text"}]}"#;

        let [item] = <[Item; 1]>::try_from(Provider::Dialog360.split(&ours, &raw_event(&[], body))).unwrap();

        assert_eq!(item.unwrap_err().reason, reason::ANOTHER_PHONE_NUMBER);
        assert!(Provider::Dialog360.split(&ours, &raw_event(&[], &flat_fixture())).iter().all(Result::is_ok));
    }

    #[test]
    fn a_body_with_entries_is_read_by_them_whatever_stands_beside() {
        let body = r#"{"entry": [], "messages": [{"id": "wamid.1", "type": "text"}]}"#;

        assert_eq!(events(Provider::Dialog360, body), events(Provider::WhatsApp, body));
    }

    #[test]
    fn a_body_of_neither_shape_is_rejected_whole_with_what_is_missing() {
        for (body, reason) in
            [("{}", reason::WRONG_TYPE), (r#"{"entry": 7}"#, reason::WRONG_TYPE), ("[]", reason::NOT_JSON)]
        {
            let rejection = rejection(Provider::Dialog360, &raw_event(&[], body));
            assert_eq!((rejection.reason, rejection.whole), (reason, true), "{body}");
        }
        let detail = rejection(Provider::Dialog360, &raw_event(&[], "{}")).detail;
        assert_eq!(detail, "entry: expected an array (or beside it messages or statuses), found nothing");
    }

    #[test]
    fn a_header_that_cannot_be_one_is_named_before_there_is_a_source() {
        let check = |settings: Value| Provider::Dialog360.check_settings(settings.as_object().unwrap());

        assert_eq!(check(json!({"header": "authorization", "phone_number_id": "1"})), Ok(()));
        for wrong in [json!("X-Secret"), json!("x secret"), json!(""), json!(7)] {
            assert!(matches!(check(json!({"header": wrong})), Err(SettingsError::Value { field: "header", .. })));
        }
    }
}
