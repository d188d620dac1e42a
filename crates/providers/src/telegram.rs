//! Telegram's bots.
//!
//! Nothing is signed: a token that both know travels with each request. Who has seen one can send anything.
//!
//! An update has a number that counts within its bot, and says nowhere whose it is. So two bots need two sources: of one
//! source they would have the same keys, and what the second is told would be taken for what the first was.

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Request, Sample, SecretForm, Verdict,
    json::unix_time,
    request::Signed,
    rules::Rules,
    signature::{one_of, only, same, usable, verdict},
    single::{self, Single, lone_member},
};

/// Telegram's bots.
pub(crate) struct Telegram;

const TOKEN: &str = "x-telegram-bot-api-secret-token";
const ID: &str = "update_id";

const ABOUT: About = About {
    name: "telegram",
    title: "Telegram",
    page: "https://core.telegram.org/bots/api#setwebhook",
    secret: "the secret_token that you choose and give to setWebhook: 1 to 256 letters, digits, _ and -",
    url: "the url that you give to setWebhook; its port must be 443, 80, 88 or 8443",
    verify_token: None,
    signature: "none: X-Telegram-Bot-Api-Secret-Token must be the secret",
    key: "update_id, which counts within a bot: give each bot a source of its own",
    repeats_for: None,
    // Not the token: it is the secret itself.
    kept_headers: &[],
    // It names no limit.
    body_limit: 1024 * 1024,
    settings: &[],
};

impl Rules for Telegram {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        let verify = || {
            let secrets = usable(&source.secrets)?;
            let token = only(request.headers, TOKEN)?;
            one_of(&secrets, |secret| same(token, secret))
        };
        verdict(verify())
    }

    fn secret_form(&self, _settings: &Map<String, Value>, secret: &str) -> SecretForm {
        // Telegram takes no other (setWebhook, secret_token). The token of the bot has a colon.
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_token = (1..=256).contains(&secret.len()) && secret.bytes().all(is_letter);
        SecretForm::must(is_token, "it is longer than 256, or has other letters")
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        single::split(raw_event, |body| {
            let id = body.text_or_number(ID)?.unwrap_or_default();
            // What an update is, its one member beside the id is called.
            let kind = lone_member(body, &[ID]).unwrap_or_default();
            let update = body.get(&kind);
            let time = update.and_then(|update| update.get("edit_date").or_else(|| update.get("date")));
            Ok(Single { key: body.key(ID, id)?, kind, occurred_at: time.and_then(unix_time) })
        })
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let body = json!({ID: sample.id, "latchhook_sample": {"date": sample.now.timestamp()}}).to_string();
        Signed::json(body, &[(TOKEN, source.secrets.first()?.expose_secret())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Provider,
        testing::{at, event, genuine, raw_event, rejection, source_of},
    };

    #[test]
    fn only_the_token_itself_is_believed_and_only_once() {
        let source = source_of(Provider::Telegram, "token_1");

        assert!(genuine(&source, &[(TOKEN, "token_1")], b"{}"));
        for forged in [vec![], vec![(TOKEN, "token")], vec![(TOKEN, "Token_1")], vec![(TOKEN, "token_1"); 2]] {
            assert!(!genuine(&source, &forged, b"{}"), "{forged:?}");
        }
    }

    #[test]
    fn the_token_is_kept_with_no_raw_event_and_an_empty_one_is_nobodys() {
        let source = source_of(Provider::Telegram, "");

        assert!(!genuine(&source, &[(TOKEN, "")], b"{}"));
        assert_eq!(Provider::Telegram.door(None, &source.settings).kept_headers, Vec::<&str>::new());
    }

    #[test]
    fn an_update_is_known_by_its_number_and_is_what_its_other_member_is_called() {
        let kinds = ["message", "edited_message", "callback_query"].map(|kind| {
            let body = format!(r#"{{"update_id":10000,"{kind}":{{"date":1441645532}}}}"#);
            let event = event(Provider::Telegram, &raw_event(&[], &body));
            assert_eq!((event.key.as_str(), event.occurred_at), ("10000", Some(at(1_441_645_532))));
            event.kind
        });

        assert_eq!(kinds, ["message", "edited_message", "callback_query"]);
    }

    /// Why each bot needs a source of its own: nothing of an update could tell them apart.
    #[test]
    fn an_update_does_not_say_which_bot_it_is_of_and_people_are_told_so() {
        let key = |text: &str| {
            let body = format!(r#"{{"update_id":1,"message":{{"date":1,"chat":{{"id":7}},"text":"{text}"}}}}"#);
            event(Provider::Telegram, &raw_event(&[], &body)).key
        };

        assert_eq!(key("to the first bot"), key("to the second"));
        assert!(ABOUT.key.contains("give each bot a source of its own"));
    }

    #[test]
    fn an_edit_happened_when_it_was_edited() {
        let body = r#"{"update_id":1,"edited_message":{"date":1441645532,"edit_date":1441645600}}"#;

        let event = event(Provider::Telegram, &raw_event(&[], body));

        assert_eq!(event.occurred_at, Some(at(1_441_645_600)));
    }

    #[test]
    fn without_its_number_an_update_is_rejected_with_what_is_missing() {
        let rejection = rejection(Provider::Telegram, &raw_event(&[], r#"{"message":{}}"#));

        assert_eq!(rejection.reason, crate::reason::MISSING_ID);
        assert!(rejection.detail.starts_with(ID), "{}", rejection.detail);
    }
}
