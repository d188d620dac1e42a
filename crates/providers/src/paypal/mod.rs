//! PayPal's webhooks.
//!
//! PayPal signs with the key of a certificate, and each request says where that certificate is. Whoever writes a request can
//! write any address into it, so only one of PayPal's own is ever looked at: `PAYPAL-CERT-URL` must be `https`, at a host of
//! PayPal's API, below its path of certificates. That it comes from there, by TLS, is what it is trusted for; and that it is
//! for a name that PayPal signs messages under, and holds. PayPal's page asks for no more. Its libraries of before (Java,
//! Python, Ruby; no longer kept) also followed it to a root of DigiCert's, over a certificate in between that they brought
//! along. That root is no longer trusted for TLS, and what PayPal serves is the one certificate without those above it.
//!
//! * **The body is protected by its CRC-32 alone**: that is all of it that is signed. Other bodies of the same CRC are easily
//!   made, by whoever has seen one genuine request. TLS is what keeps requests from being seen. Whoever acts upon an event, and
//!   pays for a wrong one, asks PayPal for it by its id first.
//! * The id of the webhook is signed, so it is what a source has for a secret. Requests of the webhooks simulator are signed
//!   for the webhook `WEBHOOK_ID`, for anybody: a source with that secret is for trying.
//! * The transmission has another id and another time on each attempt; the event keeps its own.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Certificate, Request, Setting, SettingsError, Verdict,
    rules::Rules,
    signature::{Doubt, MALFORMED, fresh_date, from_base64, one_of, only, usable, verdict},
    single::{self, Single, rfc3339},
};

/// PayPal's webhooks.
pub(crate) struct PayPal;

const ID: &str = "paypal-transmission-id";
const TIME: &str = "paypal-transmission-time";
const SIGNATURE: &str = "paypal-transmission-sig";
const ALGORITHM: &str = "paypal-auth-algo";
const URL: &str = "paypal-cert-url";

/// The setting with certificates, so that none are fetched.
const CERTIFICATES: &str = "certificates";

/// The hosts of its API, live and sandbox.
const HOSTS: [&str; 4] = ["api.paypal.com", "api-m.paypal.com", "api.sandbox.paypal.com", "api-m.sandbox.paypal.com"];
/// Where these have certificates.
const PATH: &str = "v1/notifications/certs/";
/// Whose certificate may sign. From PayPal's library for Java (`SSLUtil.validateCertificateChain`).
const NAMES: [&str; 2] = ["messageverificationcerts.paypal.com", "messageverificationcerts.sandbox.paypal.com"];

/// As long as it sends again, and an hour: the page does not say that what is sent again is signed anew.
const TOLERANCE: TimeDelta = TimeDelta::hours(73);

/// Nothing to verify with.
const NO_CERTIFICATE: Doubt = "the certificate is not at hand";
/// Not PayPal's, or not now.
const WRONG_CERTIFICATE: Doubt = "the certificate is another's, or does not hold now";

const ABOUT: About = About {
    name: "paypal",
    title: "PayPal",
    page: "https://developer.paypal.com/api/rest/webhooks/rest/",
    secret: "the Webhook ID: developer.paypal.com, Apps & Credentials, your app, Webhooks",
    url: "developer.paypal.com, Apps & Credentials, your app, Webhooks, Add Webhook, Webhook URL",
    verify_token: None,
    signature: "PAYPAL-TRANSMISSION-SIG: RSA with SHA-256 of id, time, webhook and CRC-32 of the body, base64; within 73 hours. \
                A CRC is no hash: whoever has seen one request can make another body to its signature",
    key: "the id of the event, WH-…, which a retry keeps; the transmission has another each time",
    // 25 times in three days.
    repeats_for: Some(Duration::from_hours(72)),
    kept_headers: &[ALGORITHM, URL, ID, SIGNATURE, TIME],
    // It names no limit.
    body_limit: 3 * 1024 * 1024,
    settings: &[Setting {
        name: CERTIFICATES,
        does: "what PayPal signs with, as it stands at the PAYPAL-CERT-URL of a request; several while it changes. Without it that \
               is fetched from PayPal",
        expected: "certificates in PEM with keys of RSA, one behind the other",
        needed: false,
        takes: |value| own_certificates(value).is_some(),
    }],
};

impl Rules for PayPal {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        let own = source.settings.get(CERTIFICATES).and_then(own_certificates).unwrap_or_default();
        let verdicts = own.iter().map(|certificate| self.verify_by(source, request, certificate));
        verdicts.max_by_key(|verdict| *verdict == Verdict::Genuine).unwrap_or(Verdict::Forged(NO_CERTIFICATE))
    }

    fn certificate_url<'r>(&self, source: &Source, request: &Request<'r>) -> Option<&'r str> {
        let url = only(request.headers, URL).ok()?;
        (!source.settings.contains_key(CERTIFICATES) && is_of_paypal(url)).then_some(url)
    }

    fn verify_by(&self, source: &Source, request: &Request<'_>, certificate: &Certificate) -> Verdict {
        verdict(believe(source, request, certificate))
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        single::split(raw_event, |body| {
            Ok(Single {
                key: body.key("id", body.id("id")?)?,
                kind: body.loose_text("event_type").unwrap_or_default().into_owned(),
                occurred_at: body.get("create_time").and_then(rfc3339),
            })
        })
    }

    fn check_settings(&self, settings: &Map<String, Value>) -> Result<(), SettingsError> {
        let all = settings.get(CERTIFICATES).and_then(own_certificates).unwrap_or_default();
        let foreign = all.iter().position(|certificate| !certificate.is_of(&NAMES));
        foreign.map_or(Ok(()), |place| {
            let (names, ours) = (all[place].names().join(", "), NAMES.join(" or "));
            let names = if names.is_empty() { "no DNS name".to_owned() } else { names };
            Err(unfit(place, &format!("is for {names}, and PayPal signs with one for {ours}")))
        })
    }

    /// One that begins later may wait behind the one that holds.
    fn check_dates(&self, settings: &Map<String, Value>, now: DateTime<Utc>) -> Result<(), SettingsError> {
        let all = settings.get(CERTIFICATES).and_then(own_certificates).unwrap_or_default();
        if let Some(place) = all.iter().position(|certificate| certificate.until() < now) {
            return Err(unfit(place, &format!("has ended on {}", all[place].until())));
        }
        match all.first() {
            Some(first) if !all.iter().any(|certificate| certificate.holds(now)) => {
                Err(unfit(0, &format!("begins on {}, and no other holds until then", first.from())))
            }
            _ => Ok(()),
        }
    }

    fn can_sign(&self, _source: &Source) -> bool {
        false
    }
}

fn unfit(place: usize, what: &str) -> SettingsError {
    let number = place + 1;
    SettingsError::Unfit(format!(
        "of certificates, number {number} {what}: take what stands at the PAYPAL-CERT-URL of a request of these days"
    ))
}

fn own_certificates(setting: &Value) -> Option<Vec<Certificate>> {
    Certificate::read_all(setting.as_str()?).ok()
}

/// Letter by letter, so that no two programs can read it in two ways.
fn is_of_paypal(url: &str) -> bool {
    let is_id = |id: &str| id.len() <= 100 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let place = url.strip_prefix("https://").and_then(|place| place.split_once('/'));
    place.is_some_and(|(host, path)| {
        HOSTS.contains(&host) && path.strip_prefix(PATH).is_some_and(|id| !id.is_empty() && is_id(id))
    })
}

/// Who sends a request says with which algorithm it is signed, and has no choice.
fn believe(source: &Source, request: &Request<'_>, certificate: &Certificate) -> Result<(), Doubt> {
    let webhooks = usable(&source.secrets)?;
    let (id, time) = (only(request.headers, ID)?, only(request.headers, TIME)?);
    let signature = from_base64(only(request.headers, SIGNATURE)?).ok_or(MALFORMED)?;
    if only(request.headers, ALGORITHM)? != "SHA256withRSA" {
        return Err(MALFORMED);
    }
    fresh_date(time, request.now, TOLERANCE)?;
    if !certificate.is_of(&NAMES) || !certificate.holds(request.now) {
        return Err(WRONG_CERTIFICATE);
    }
    let crc = crc32(request.body).to_string();
    one_of(&webhooks, |webhook| certificate.signed(&[format!("{id}|{time}|{webhook}|{crc}").as_bytes()], &signature))
}

/// The CRC-32 of zip and Ethernet.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut place = 0;
    while place < 256 {
        let (mut crc, mut bit) = (place as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
            bit += 1;
        }
        table[place] = crc;
        place += 1;
    }
    table
}

#[cfg(test)]
mod tests;
