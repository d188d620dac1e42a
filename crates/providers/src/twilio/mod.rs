//! Twilio's webhooks: what becomes of messages and calls, as forms; and Event Streams, as lists of JSON.
//!
//! What is signed is the URL that was given to Twilio, and what follows it: the names and values of a form, sorted, or the hash
//! of a body of JSON in the parameter `bodySHA256`. Traps, each with a test:
//! * The URL is the setting `public_url`, never made of a request's own headers: behind a proxy they are another's, and whoever
//!   sends a request can choose them. Twilio's own libraries try it with its port and without, since Twilio signs either.
//! * JSON without `bodySHA256` is forged: nothing would vouch for it but the signature of a URL that is always the same.
//! * A name that is repeated is signed with each of its values once, sorted.
//! * A call is asked about several times in one status, with other digits: its key is made of all that is said.
//!
//! Between names and values nothing is signed, nor is the time, nor the header that the key is taken from: who has seen one
//! genuine request can send it again, under another key or with other borders between its names and values.

mod form;
#[cfg(test)]
mod tests;

use form_urlencoded::Serializer;
use http::{HeaderValue, Uri, header::CONTENT_TYPE};
use ring::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};
use secrecy::ExposeSecret;
use serde_json::Value;
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Answer, Request, Sample, Setting, Verdict,
    request::Signed,
    rules::Rules,
    signature::{
        Doubt, MALFORMED, MISSING, OTHER, from_base64, one_of, only, only_parameter, same, sign, signed, to_base64,
        usable, verdict,
    },
    single::{self, Single, header_key, rfc3339, sha256},
};
use form::Form;

/// Twilio's webhooks.
pub(crate) struct Twilio;

const SIGNATURE: &str = "x-twilio-signature";
const TOKEN: &str = "i-twilio-idempotency-token";
const BODY_HASH: &str = "bodySHA256";
const PUBLIC_URL: &str = "public_url";
const NO_URL: Doubt = "the source has no public_url that could have been signed";

const ABOUT: About = About {
    name: "twilio",
    title: "Twilio",
    page: "https://www.twilio.com/docs/usage/webhooks/webhooks-security",
    secret: "the primary Auth Token of the account: Twilio Console, Account Info; or the shared key of a Webhooks Rule",
    url: "Twilio Console, the number or service, the webhook's URL, with method HTTP POST; or the url of a call or message",
    verify_token: None,
    signature: "X-Twilio-Signature: HMAC-SHA1 (HMAC-SHA256 by a Webhooks Rule) of the URL and the form's parameters, base64",
    key: "the header I-Twilio-Idempotency-Token, which a retry keeps; else MessageSid and status, or CallSid and all that is said; the id of each event of a stream",
    // Some seconds: once by default, five times at most, within 15 s.
    repeats_for: Some(std::time::Duration::from_secs(15)),
    kept_headers: &[SIGNATURE, TOKEN],
    // It names no limit.
    body_limit: 1024 * 1024,
    settings: &[Setting {
        name: PUBLIC_URL,
        does: "is what Twilio signs: the URL of this source as it was given to Twilio",
        expected: "the URL that Twilio is given: https://YOUR-HOST, which is completed with the path of the source; or all of it, \
                   with its query and without the part from # on",
        needed: true,
        takes: |value| value.as_str().is_some_and(|url| without_and_with_port(url).is_some()),
    }],
};

/// What Twilio takes for no answer at all: where it would read instructions, there are none.
const NO_INSTRUCTIONS: Answer =
    Answer { status: 200, content_type: Some("text/xml"), body: bytes::Bytes::from_static(b"<Response/>") };

impl Rules for Twilio {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        verdict(believe(source, request))
    }

    fn thanks(&self, request: &Request<'_>) -> Answer {
        if is_json(request.body) { Answer::OK } else { NO_INSTRUCTIONS }
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        match raw_event.body.trim_ascii_start().first() {
            Some(b'[') => single::each(raw_event, |event| {
                let kind = event.loose_text("type").unwrap_or_default().into_owned();
                Ok(Single {
                    key: event.key("id", event.id("id")?)?,
                    kind,
                    occurred_at: event.get("time").and_then(rfc3339),
                })
            }),
            Some(b'{') => single::split(raw_event, |body| {
                let kind = body.loose_text("EventType").or_else(|| body.loose_text("type")).unwrap_or_default();
                Ok(Single { key: header_key(raw_event, TOKEN)?, kind: kind.into_owned(), occurred_at: None })
            }),
            _ => single::one(raw_event, Form::read(&raw_event.body).event(raw_event)),
        }
    }

    fn signed_url(&self) -> Option<&'static str> {
        Some(PUBLIC_URL)
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let sid = format!("SM{}", sample.id);
        let params = [("MessageSid", sid.as_str()), ("SmsStatus", "received"), ("Body", "A sample, sent by latchhook")];
        let body = Serializer::new(String::new()).extend_pairs(params).finish();
        let [url, _] = without_and_with_port(public_url(source)?)?;
        let said = format!("{url}{}", Form::read(body.as_bytes()).signed());
        let secret = source.secrets.first()?.expose_secret();
        let tag = to_base64(&sign(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes(), &[said.as_bytes()]));
        let mut sample = Signed::json(body, &[(SIGNATURE, &tag), (TOKEN, sample.id)])?;
        sample.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        Some(sample)
    }
}

fn public_url(source: &Source) -> Option<&str> {
    source.settings.get(PUBLIC_URL).and_then(Value::as_str)
}

fn is_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'[' | b'{'))
}

fn believe(source: &Source, request: &Request<'_>) -> Result<(), Doubt> {
    let secrets = usable(&source.secrets)?;
    let tag = from_base64(only(request.headers, SIGNATURE)?).ok_or(MALFORMED)?;
    let [bare, with_port] = public_url(source).and_then(without_and_with_port).ok_or(NO_URL)?;
    let texts = [signed_text(&bare, request)?, signed_text(&with_port, request)?];
    // A Webhooks Rule has a shared key of its own, and signs with it as the header X-Twilio-Webhooks-Signature-Settings says.
    let algorithm = if tag.len() == 20 { HMAC_SHA1_FOR_LEGACY_USE_ONLY } else { HMAC_SHA256 };
    one_of(&secrets, |secret| texts.iter().any(|text| signed(algorithm, secret.as_bytes(), &[text.as_bytes()], &tag)))
}

fn signed_text(url: &str, request: &Request<'_>) -> Result<String, Doubt> {
    match only_parameter(request.query, BODY_HASH) {
        Err(MISSING) => Ok(format!("{url}{}", Form::read(request.body).signed())),
        Ok(hash) if same(hash, &sha256(request.body)) => {
            let joint = if url.contains('?') { '&' } else { '?' };
            Ok(format!("{url}{joint}{BODY_HASH}={hash}"))
        }
        Ok(_) => Err(OTHER),
        Err(doubt) => Err(doubt),
    }
}

/// A URL without its port and with it, be it only the usual one. `None` where it is no URL, or has a fragment, which nobody
/// sends.
fn without_and_with_port(url: &str) -> Option<[String; 2]> {
    let uri: Uri = url.parse().ok().filter(|_| !url.contains('#'))?;
    let (scheme, rest) = url.split_once("://")?;
    let usual = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = uri.authority()?;
    let behind = rest.strip_prefix(authority.as_str())?;
    let port = authority.port_u16().unwrap_or(usual);
    let bare = authority.port().and_then(|port| authority.as_str().strip_suffix(port.as_str())?.strip_suffix(':'));
    let bare = bare.unwrap_or(authority.as_str());
    Some([format!("{scheme}://{bare}{behind}"), format!("{scheme}://{bare}:{port}{behind}")])
}
