//! SendGrid's Event Webhook: a batch of events in one request.
//!
//! Repeats are common: the same `sg_event_id` comes three times on average.

use chrono::TimeDelta;
use serde_json::{Map, Value};
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Request, SecretForm, Verdict,
    json::unix_time,
    public::Scheme,
    rules::Rules,
    signature::{Doubt, MALFORMED, fresh, from_base64, one_of, only, usable, verdict},
    single::{self, Single},
};

/// SendGrid's Event Webhook.
pub(crate) struct SendGrid;

const SIGNATURE: &str = "x-twilio-email-event-webhook-signature";
const TIMESTAMP: &str = "x-twilio-email-event-webhook-timestamp";

/// The page does not say whether what is sent again, for 24 hours, is signed anew. So what is old is still taken for that
/// long: its events are known by their ids, and recorded once.
const TOLERANCE: TimeDelta = TimeDelta::hours(25);

const ABOUT: About = About {
    name: "sendgrid",
    title: "SendGrid Event Webhook",
    page: "https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features",
    secret: "the Verification Key, a public key in base64: app.sendgrid.com, Settings, Mail Settings, Event Webhooks, Signature Verification",
    url: "app.sendgrid.com, Settings, Mail Settings, Event Webhooks, Post URL",
    verify_token: None,
    signature: "X-Twilio-Email-Event-Webhook-Signature: ECDSA over P-256 of the timestamp header and the body, base64; taken for 25 hours",
    key: "the sg_event_id of each event in the batch",
    repeats_for: Some(std::time::Duration::from_hours(24)),
    kept_headers: &[SIGNATURE, TIMESTAMP],
    body_limit: 3 * 1024 * 1024,
    settings: &[],
};

impl Rules for SendGrid {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        verdict(believe(source, request))
    }

    fn secret_form(&self, _settings: &Map<String, Value>, secret: &str) -> SecretForm {
        let info = from_base64(secret).unwrap_or_default();
        let is_key = Scheme::P256.key_of(&info).is_some_and(|key| Scheme::P256.takes(key));
        SecretForm::must(is_key, "it is no public key of P-256 in base64, which begins with MFkwEwYH")
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        single::each(raw_event, |event| {
            Ok(Single {
                key: event.key("sg_event_id", event.id("sg_event_id")?)?,
                kind: event.text("event")?.unwrap_or_default().to_owned(),
                occurred_at: event.get("timestamp").and_then(unix_time),
            })
        })
    }

    fn can_sign(&self, _source: &Source) -> bool {
        false
    }
}

fn believe(source: &Source, request: &Request<'_>) -> Result<(), Doubt> {
    let keys = usable(&source.secrets)?;
    let (signature, timestamp) = (only(request.headers, SIGNATURE)?, only(request.headers, TIMESTAMP)?);
    let signature = from_base64(signature).ok_or(MALFORMED)?;
    let parts = [timestamp.as_bytes(), request.body];
    let signs = |key: &str| {
        let info = from_base64(key).unwrap_or_default();
        Scheme::P256.key_of(&info).is_some_and(|key| Scheme::P256.verifies(key, &parts, &signature))
    };
    one_of(&keys, signs)?;
    fresh(timestamp, request.now, TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Provider, reason,
        testing::{at, genuine_at, raw_event, source_of},
    };

    /// SendGrid's libraries (their test of the Event Webhook); the body ends with CR LF.
    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
    const SIGNED: &str =
        "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=";
    const BODY: &str = "[{\"email\":\"hello@world.com\",\"event\":\"dropped\",\"reason\":\"Bounced Address\",\"sg_event_id\":\"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA\",\"sg_message_id\":\"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0\",\"smtp-id\":\"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>\",\"timestamp\":1600112492}]\r\n";
    const SECONDS: i64 = 1_600_112_502;

    fn split(body: &str) -> Vec<Item> {
        Provider::SendGrid.split(&source_of(Provider::SendGrid, KEY), &raw_event(&[], body))
    }

    #[test]
    fn the_published_vector_is_genuine_with_its_last_line_end_and_for_a_day() {
        let source = source_of(Provider::SendGrid, KEY);
        let pairs = [(SIGNATURE, SIGNED), (TIMESTAMP, "1600112502")];
        let genuine = |body: &str, now| genuine_at(&source, &pairs, body.as_bytes(), at(now));

        assert!(genuine(BODY, SECONDS) && genuine(BODY, SECONDS + 90_000));
        assert!(!genuine(BODY, SECONDS + 90_001) && !genuine(BODY, SECONDS - 90_001));
        assert!(!genuine(BODY.trim_end(), SECONDS));
    }

    #[test]
    fn another_time_and_two_signatures_and_a_key_of_another_kind_are_forged() {
        let right = [(SIGNATURE, SIGNED), (TIMESTAMP, "1600112502")];
        let genuine =
            |key, pairs: &[_]| genuine_at(&source_of(Provider::SendGrid, key), pairs, BODY.as_bytes(), at(SECONDS));

        assert!(!genuine(KEY, &[right[0], (TIMESTAMP, "1600112503")]));
        assert!(!genuine(KEY, &[right[0], right[0], right[1]]));
        assert!(!genuine(KEY, &right[..1]) && !genuine(KEY, &right[1..]));
        assert!(!genuine("no key", &right) && !genuine(&KEY[..40], &right));
    }

    #[test]
    fn each_event_of_a_batch_is_an_item_with_its_own_bytes() {
        let items = split(r#"[{"sg_event_id":"a","event":"open","timestamp":1}, {"event":"click","sg_event_id":"b"}]"#);

        let [first, second] = &items.into_iter().map(Result::unwrap).collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!((first.key.as_str(), &first.kind[..], first.occurred_at), ("a", "open", Some(at(1))));
        assert_eq!((second.key.as_str(), &second.raw[..]), ("b", &br#"{"event":"click","sg_event_id":"b"}"#[..]));
    }

    #[test]
    fn one_bad_event_does_not_cost_the_others() {
        let items =
            split(r#"[{"sg_event_id":"a","event":"open"}, {"event":"open"}, 7, {"sg_event_id":"b","event":"open"}]"#);

        let reasons: Vec<_> = items.iter().map(|item| item.as_ref().err().map(|rejection| rejection.reason)).collect();
        assert_eq!(reasons, [None, Some(reason::MISSING_ID), Some(reason::WRONG_TYPE), None]);
        assert!(split("{}")[0].as_ref().unwrap_err().whole);
    }
}
