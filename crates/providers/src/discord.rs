//! Discord's interactions and webhook events.
//!
//! Both have the same signature and may have the same URL. An interaction has an `id`; a webhook event has none, and is known
//! by what it says.
//!
//! Discord sends wrong signatures on purpose, now and then, and takes the URL away from whoever answers them with anything
//! but 401.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Answer, Request, SecretForm, Verdict,
    json::{Fault, Fields},
    public::Scheme,
    rules::Rules,
    signature::{Doubt, MALFORMED, fresh, from_hex, one_of, only, usable, verdict},
    single::{self, Single, rfc3339},
};

/// Discord's interactions and webhook events.
pub(crate) struct Discord;

const SIGNATURE: &str = "x-signature-ed25519";
const TIMESTAMP: &str = "x-signature-timestamp";

/// Webhook events are sent again for ten minutes, and the page does not say whether they are then signed anew; the token of
/// an interaction is good for fifteen.
const TOLERANCE: TimeDelta = TimeDelta::minutes(15);

const ABOUT: About = About {
    name: "discord",
    title: "Discord",
    page: "https://docs.discord.com/developers/interactions/overview",
    secret: "the Public Key of the application, 64 hexadecimal digits: discord.com/developers, your application, General Information",
    url: "discord.com/developers, your application, General Information, Interactions Endpoint URL; or Webhooks, Endpoint URL",
    verify_token: None,
    signature: "X-Signature-Ed25519: Ed25519 of X-Signature-Timestamp and the body, hexadecimal; taken for 15 minutes",
    key: "the id of an interaction; the SHA-256 of the `event` of a webhook event, which has no id",
    repeats_for: Some(std::time::Duration::from_mins(10)),
    kept_headers: &[SIGNATURE, TIMESTAMP],
    body_limit: 1024 * 1024,
    settings: &[],
};

/// What decides about the answer: everything else is left to the worker.
#[derive(Deserialize)]
struct Asked {
    r#type: u64,
    event: Option<serde::de::IgnoredAny>,
}

impl Rules for Discord {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        verdict(believe(source, request))
    }

    fn secret_form(&self, _settings: &Map<String, Value>, secret: &str) -> SecretForm {
        let is_key = from_hex(secret).is_some_and(|key| Scheme::Ed25519.takes(&key));
        SecretForm::must(is_key, "it is not 64 hexadecimal digits")
    }

    /// `PING` of either kind.
    fn greeting(&self, _source: &Source, request: &Request<'_>) -> Option<Answer> {
        match serde_json::from_slice(request.body).ok()? {
            Asked { r#type: 0, event: None } => Some(Answer::empty(204)),
            Asked { r#type: 1, event: None } => Some(Answer::json(r#"{"type":1}"#)),
            Asked { .. } => None,
        }
    }

    /// An interaction fails unless it is answered within 3 s, and its customer answers later than that. So it is deferred:
    /// with 5 the user reads that the application is thinking, and with 6, for a button that was pressed, nothing. For 15
    /// minutes the customer can say more, with the token that the interaction carries. A completion cannot be deferred:
    /// there are no choices.
    fn thanks(&self, request: &Request<'_>) -> Answer {
        match serde_json::from_slice(request.body) {
            Ok(Asked { r#type: 3, event: None }) => Answer::json(r#"{"type":6}"#),
            Ok(Asked { r#type: 4, event: None }) => Answer::json(r#"{"type":8,"data":{"choices":[]}}"#),
            Ok(Asked { event: None, .. }) => Answer::json(r#"{"type":5}"#),
            Ok(Asked { event: Some(_), .. }) | Err(_) => Answer::empty(204),
        }
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        single::split(raw_event, |body| match body.get("event") {
            Some(_) => webhook_event(body),
            None => interaction(body),
        })
    }

    fn can_sign(&self, _source: &Source) -> bool {
        false
    }
}

fn believe(source: &Source, request: &Request<'_>) -> Result<(), Doubt> {
    let keys = usable(&source.secrets)?;
    let (signature, timestamp) = (only(request.headers, SIGNATURE)?, only(request.headers, TIMESTAMP)?);
    let signature = from_hex(signature).ok_or(MALFORMED)?;
    let signs = |key: &str| {
        let key = from_hex(key);
        key.is_some_and(|key| Scheme::Ed25519.verifies(&key, &[timestamp.as_bytes(), request.body], &signature))
    };
    one_of(&keys, signs)?;
    fresh(timestamp, request.now, TOLERANCE)
}

fn interaction(body: &Fields<'_>) -> Result<Single, Fault> {
    let id = body.id("id")?;
    let kind = match body.text_or_number("type")?.as_deref() {
        Some("2") => "APPLICATION_COMMAND".into(),
        Some("3") => "MESSAGE_COMPONENT".into(),
        Some("4") => "APPLICATION_COMMAND_AUTOCOMPLETE".into(),
        Some("5") => "MODAL_SUBMIT".into(),
        other => format!("interaction.{}", other.unwrap_or("unknown")),
    };
    Ok(Single { key: body.key("id", id)?, kind, occurred_at: time_of(id) })
}

/// An event that happens once more has another `timestamp`, so two that say the same are the same.
fn webhook_event(body: &Fields<'_>) -> Result<Single, Fault> {
    let event = body.required_fields("event")?;
    let kind = event.required_text("type")?;
    let key = body.key("event", format!("event:{}", event.hash_of_all_but(&[])))?;
    Ok(Single { key, kind: kind.to_owned(), occurred_at: event.get("timestamp").and_then(rfc3339) })
}

/// When an id was made: a snowflake has, above 22 bits, the milliseconds since 2015 began.
fn time_of(snowflake: &str) -> Option<DateTime<Utc>> {
    let since_2015 = i64::try_from(snowflake.parse::<u64>().ok()? >> 22).ok()?;
    DateTime::from_timestamp_millis(1_420_070_400_000 + since_2015)
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;
    use crate::{
        Provider,
        signature::to_hex,
        testing::{at, event, genuine_at, headers, raw_event, rejection, source_of},
    };

    /// A vector of a third party, which froze what a client of Discord's signs.
    const PUBLIC: &str = "dd74e21b0698ca4a6a983a7134a422d4b353611e0029dee93197d0cb57efee99";
    const SIGNED: &str = "19b5f25cadc7328f685e47836d3465336e3d8735a89cbecc09cdd2d362aade414cffdee34f2968784057dc4175b8b1019f642823146ab17967e85b6a0d397109";
    const SECONDS: i64 = 1_784_500_000;

    fn answer(body: &str) -> (Option<Answer>, Answer) {
        let (source, headers) = (source_of(Provider::Discord, PUBLIC), headers(&[]));
        let request = Request::posted(&headers, body.as_bytes(), at(SECONDS));
        (Provider::Discord.greeting(&source, &request), Provider::Discord.thanks(&request))
    }

    #[test]
    fn the_published_vector_is_genuine_for_a_quarter_of_an_hour_and_no_longer() {
        let source = source_of(Provider::Discord, PUBLIC);
        let genuine = |seconds| {
            genuine_at(&source, &[(SIGNATURE, SIGNED), (TIMESTAMP, "1784500000")], br#"{"type":1}"#, at(seconds))
        };

        assert!(genuine(SECONDS) && genuine(SECONDS + 900) && genuine(SECONDS - 900));
        assert!(!genuine(SECONDS + 901) && !genuine(SECONDS - 901) && !genuine(i64::from(i32::MIN)));
    }

    #[test]
    fn what_discord_sends_wrong_on_purpose_is_forged() {
        let source = source_of(Provider::Discord, PUBLIC);
        let right = [(SIGNATURE, SIGNED), (TIMESTAMP, "1784500000")];
        let genuine = |pairs: &[_], body: &str| genuine_at(&source, pairs, body.as_bytes(), at(SECONDS));

        assert!(!genuine(&right, r#"{"type":2}"#));
        assert!(!genuine(&[right[0], (TIMESTAMP, "1784500001")], r#"{"type":1}"#));
        assert!(!genuine(&[right[0], right[0], right[1]], r#"{"type":1}"#));
        assert!(!genuine(&[right[0], right[1], right[1]], r#"{"type":1}"#));
        assert!(!genuine(&right[..1], r#"{"type":1}"#));
        assert!(!genuine(&right[1..], r#"{"type":1}"#));
        assert!(!genuine(&[(SIGNATURE, "00"), right[1]], r#"{"type":1}"#));
    }

    #[test]
    fn each_of_two_public_keys_is_taken_while_they_are_rotated() {
        let other = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let mut source = source_of(Provider::Discord, PUBLIC);
        source.secrets.push(to_hex(other.public_key().as_ref()).into());

        let signed = to_hex(other.sign(br#"1784500000{"type":1}"#).as_ref());

        for signature in [SIGNED, &signed] {
            let headers = [(SIGNATURE, signature), (TIMESTAMP, "1784500000")];
            assert!(genuine_at(&source, &headers, br#"{"type":1}"#, at(SECONDS)));
        }
    }

    #[test]
    fn a_ping_of_either_kind_is_greeted_and_everything_else_is_thanked_for_in_time() {
        assert_eq!(answer(r#"{"type":1,"version":1}"#).0, Some(Answer::json(r#"{"type":1}"#)));
        assert_eq!(answer(r#"{"type":0,"version":1}"#).0, Some(Answer::empty(204)));

        let thanks = [
            (r#"{"type":1,"event":{"type":"ENTITLEMENT_CREATE"}}"#, Answer::empty(204)),
            (r#"{"type":2,"id":"1"}"#, Answer::json(r#"{"type":5}"#)),
            (r#"{"type":3,"id":"1"}"#, Answer::json(r#"{"type":6}"#)),
            (r#"{"type":4,"id":"1"}"#, Answer::json(r#"{"type":8,"data":{"choices":[]}}"#)),
            (r#"{"type":5,"id":"1"}"#, Answer::json(r#"{"type":5}"#)),
        ];
        for (body, expected) in thanks {
            assert_eq!(answer(body), (None, expected), "{body}");
        }
    }

    #[test]
    fn an_interaction_is_known_by_its_id_which_says_when_it_was() {
        let event = event(Provider::Discord, &raw_event(&[], r#"{"id":"175928847299117063","type":2,"token":"t"}"#));

        assert_eq!((event.key.as_str(), &event.kind[..]), ("175928847299117063", "APPLICATION_COMMAND"));
        assert_eq!(event.occurred_at.unwrap().to_rfc3339(), "2016-04-30T11:18:25.796+00:00");
    }

    #[test]
    fn a_webhook_event_is_known_by_what_it_says_and_not_by_how_it_is_written() {
        let key = |body: &str| event(Provider::Discord, &raw_event(&[(TIMESTAMP, &body.len().to_string())], body)).key;
        let first = r#"{"type":1,"event":{"type":"QUEST","timestamp":"2024-10-18T14:42:53.064834","data":{}}}"#;
        let again =
            r#"{"version":1,"type":1,"event":{"data":{},"type":"QUEST","timestamp":"2024-10-18T14:42:53.064834"}}"#;

        assert_eq!(key(first), key(again));
        assert_ne!(key(first), key(&first.replace("53.06", "54.06")));
    }

    #[test]
    fn an_interaction_without_an_id_and_an_event_without_a_type_are_rejected_by_name() {
        for (body, missing) in [(r#"{"type":2}"#, "id"), (r#"{"type":1,"event":{}}"#, "event.type")] {
            let rejection = rejection(Provider::Discord, &raw_event(&[], body));
            assert!(rejection.detail.starts_with(missing), "{}", rejection.detail);
        }
    }
}
