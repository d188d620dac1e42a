//! Any sender that signs as Standard Webhooks has it: with `webhook-*` headers, or with the `svix-*` ones of those that send
//! through Svix. Their names differ in nothing but that.
//!
//! * All three headers are of one family: what came under both names could be one request for us, and another for what
//!   stands before us.
//! * The id is signed, up to the first dot: with a dot in it, its end could be moved, and one request would be two.
//! * A secret is of one version: `whsec_` (HMAC) verifies `v1` alone, `whpk_` (Ed25519) `v1a` alone. Else the public key,
//!   which anybody may know, would do as the secret of an HMAC.

use std::time::Duration;

use chrono::TimeDelta;
use ring::hmac::HMAC_SHA256;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Request, Sample, SecretForm, Verdict,
    public::Scheme,
    request::Signed,
    rules::Rules,
    signature::{
        Doubt, MALFORMED, MAX_SIGNATURES, fresh, from_base64, one_of, only, sign, signed, to_base64, usable, verdict,
    },
    single::{self, Single, header_key, rfc3339},
};

/// Any sender that keeps to Standard Webhooks.
pub(crate) struct StandardWebhooks;

/// The names of the headers.
pub(crate) struct Names {
    pub id: &'static str,
    pub timestamp: &'static str,
    pub signature: &'static str,
}

pub(crate) const STANDARD: Names =
    Names { id: "webhook-id", timestamp: "webhook-timestamp", signature: "webhook-signature" };
const SVIX: Names = Names { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" };

/// What a public key begins with.
const PUBLIC: &str = "whpk_";
/// What the libraries of the specification take.
const TOLERANCE: TimeDelta = TimeDelta::seconds(300);

const ABOUT: About = About {
    name: "standard_webhooks",
    title: "Standard Webhooks",
    page: "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
    secret: "the signing secret of the endpoint, with its whsec_, or the public key, with its whpk_: where the sender shows the endpoint",
    url: "where the sender takes the URL of an endpoint",
    verify_token: None,
    signature: "webhook-signature (or svix-signature): HMAC-SHA256, or Ed25519, of id, time and body, base64; within 5 minutes",
    key: "the header webhook-id (or svix-id), which a retry keeps",
    // What the specification recommends: ten attempts in 75 h 35 min, and some jitter.
    repeats_for: Some(Duration::from_hours(76)),
    kept_headers: &[STANDARD.id, STANDARD.timestamp, STANDARD.signature, SVIX.id, SVIX.timestamp, SVIX.signature],
    // The specification recommends to stay below 20 kB, and names no limit.
    body_limit: 3 * 1024 * 1024,
    settings: &[],
};

impl Rules for StandardWebhooks {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        verdict(believe(source, request))
    }

    fn secret_form(&self, _settings: &Map<String, Value>, secret: &str) -> SecretForm {
        match secret.strip_prefix(PUBLIC) {
            None => hmac_form(secret),
            Some(key) => {
                let is_key = from_base64(key).is_some_and(|key| Scheme::Ed25519.takes(&key));
                SecretForm::must(is_key, "behind whpk_ it is not 32 bytes in base64")
            }
        }
    }

    fn split(&self, _source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        let names = Names::among(|name| raw_event.headers.iter().any(|(known, _)| known == name));
        single::split_by_header(raw_event, |body| {
            Ok(Single {
                key: header_key(raw_event, names.id)?,
                kind: body.loose_text("type").unwrap_or_default().into_owned(),
                occurred_at: body.get("timestamp").and_then(rfc3339),
            })
        })
    }

    fn can_sign(&self, source: &Source) -> bool {
        !source.secrets.first().is_some_and(|secret| secret.expose_secret().starts_with(PUBLIC))
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        let (id, timestamp) = (format!("msg_{}", sample.id), sample.now.timestamp().to_string());
        let body = json!({"type": "latchhook.sample", "timestamp": sample.now.to_rfc3339(), "data": {}}).to_string();
        let signature = signature_of(source.secrets.first()?.expose_secret(), &id, &timestamp, body.as_bytes())?;
        let headers = [(STANDARD.id, &*id), (STANDARD.timestamp, &timestamp), (STANDARD.signature, &signature)];
        Signed::json(body, &headers)
    }
}

impl Names {
    /// Those of a request: of Svix only where nothing bears a name of the specification.
    fn among(is_there: impl Fn(&str) -> bool) -> &'static Self {
        let has = |names: &Self| [names.id, names.timestamp, names.signature].into_iter().any(&is_there);
        if has(&SVIX) && !has(&STANDARD) { &SVIX } else { &STANDARD }
    }
}

fn believe(source: &Source, request: &Request<'_>) -> Result<(), Doubt> {
    vouched(&usable(&source.secrets)?, Names::among(|name| request.headers.contains_key(name)), request)
}

/// Whether one of these secrets has signed a request, as headers of these names say.
pub(crate) fn vouched(secrets: &[&str], names: &Names, request: &Request<'_>) -> Result<(), Doubt> {
    let (id, timestamp) = (only(request.headers, names.id)?, only(request.headers, names.timestamp)?);
    let signatures = read(only(request.headers, names.signature)?)?;
    if id.is_empty() || id.contains('.') {
        return Err(MALFORMED);
    }
    fresh(timestamp, request.now, TOLERANCE)?;
    let parts = parts(id, timestamp, request.body);
    one_of(secrets, |secret| signatures.iter().any(|(version, tag)| fits(secret, version, &parts, tag)))
}

/// The signature of a request, as its header has it; `None` where the secret is none of an HMAC.
pub(crate) fn signature_of(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> Option<String> {
    let tag = sign(HMAC_SHA256, &hmac_key(secret)?, &parts(id, timestamp, body));
    Some(format!("v1,{}", to_base64(&tag)))
}

fn parts<'r>(id: &'r str, timestamp: &'r str, body: &'r [u8]) -> [&'r [u8]; 5] {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body]
}

/// Signatures with their versions. One that cannot be read does not cost the others.
fn read(list: &str) -> Result<Vec<(&str, Vec<u8>)>, Doubt> {
    let members = list.split(' ').filter_map(|member| member.split_once(','));
    let signatures: Vec<_> = members.filter_map(|(version, tag)| Some((version, from_base64(tag)?))).collect();
    if (1..=MAX_SIGNATURES).contains(&signatures.len()) { Ok(signatures) } else { Err(MALFORMED) }
}

fn fits(secret: &str, version: &str, parts: &[&[u8]], tag: &[u8]) -> bool {
    match (version, secret.strip_prefix(PUBLIC)) {
        ("v1", None) => hmac_key(secret).is_some_and(|key| signed(HMAC_SHA256, &key, parts, tag)),
        ("v1a", Some(key)) => from_base64(key).is_some_and(|key| Scheme::Ed25519.verifies(&key, parts, tag)),
        _ => false,
    }
}

/// The form of a secret of an HMAC.
pub(crate) fn hmac_form(secret: &str) -> SecretForm {
    SecretForm::must(hmac_key(secret).is_some(), "it is no base64, with or without whsec_ before it")
}

/// The bytes of a secret. None at all would sign for anybody.
fn hmac_key(secret: &str) -> Option<Vec<u8>> {
    from_base64(secret.strip_prefix("whsec_").unwrap_or(secret)).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Provider, reason,
        testing::{at, event, genuine_at, raw_event, rejection, source_of},
    };

    /// The libraries of Standard Webhooks; the tests of Svix's server for Ed25519.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SIGNED_AT: i64 = 1_614_265_330;
    const BODY: &str = r#"{"test": 2432232314}"#;
    const V1: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const V1A: &str = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
    const RIGHT: [(&str, &str); 3] = [(STANDARD.id, ID), (STANDARD.timestamp, "1614265330"), (STANDARD.signature, V1)];

    fn believed_by(secret: &str, pairs: &[(&str, &str)], body: &str, now: i64) -> bool {
        genuine_at(&source_of(Provider::StandardWebhooks, secret), pairs, body.as_bytes(), at(now))
    }

    fn believed(pairs: &[(&str, &str)]) -> bool {
        believed_by(SECRET, pairs, BODY, SIGNED_AT)
    }

    /// With these signatures.
    fn signed_by(secret: &str, signatures: &str) -> bool {
        believed_by(secret, &[RIGHT[0], RIGHT[1], (STANDARD.signature, signatures)], BODY, SIGNED_AT)
    }

    #[test]
    fn the_published_vectors_are_genuine_for_five_minutes_before_and_after() {
        let apart = [-301, -300, 0, 300, 301];

        let v1 = apart.map(|apart| believed_by(SECRET, &RIGHT, BODY, SIGNED_AT + apart));
        let v1a = [RIGHT[0], RIGHT[1], (STANDARD.signature, V1A)];
        let v1a = apart.map(|apart| believed_by(PUBLIC, &v1a, BODY, SIGNED_AT + apart));

        assert_eq!([v1, v1a], [[false, true, true, true, false]; 2]);
    }

    /// The Rust library of Standard Webhooks.
    #[test]
    fn another_published_vector_is_genuine_and_no_other_body_is() {
        let pairs = [
            (STANDARD.id, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
            (STANDARD.timestamp, "1649367553"),
            (STANDARD.signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
        ];
        let body = r#"{"email":"test@example.com","username":"test_user"}"#;
        let believed = |body: &str| believed_by("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", &pairs, body, 1_649_367_553);

        assert!(believed(body) && !believed(&body.replace("user", "root")));
    }

    #[test]
    fn headers_of_svix_are_taken_too_but_never_a_mix() {
        let svix = [(SVIX.id, ID), (SVIX.timestamp, "1614265330"), (SVIX.signature, V1)];
        assert!(believed(&svix));

        for place in 0..3 {
            let (mut one_of_svix, mut one_of_the_other) = (RIGHT, svix);
            one_of_svix[place] = svix[place];
            one_of_the_other[place] = RIGHT[place];
            assert!(!believed(&one_of_svix) && !believed(&one_of_the_other), "{place}");
            assert!(!believed(&[&svix[..], &[(RIGHT[place].0, "x")]].concat()), "{place}");
        }
    }

    #[test]
    fn one_signature_that_fits_is_enough_among_sixteen_and_what_cannot_be_read_is_passed_over() {
        let other = "v1,AAAA ";

        assert!(signed_by(SECRET, &format!("v2,AAAA v1 v1,? {V1A} {V1}")));
        assert!(signed_by(SECRET, &format!("{}{V1}", other.repeat(15))));
        assert!(!signed_by(SECRET, &format!("{}{V1}", other.repeat(16))));
        assert!(!signed_by(SECRET, other) && !signed_by(SECRET, "") && !signed_by(SECRET, &V1[3..]));
    }

    #[test]
    fn a_key_verifies_its_own_version_and_a_public_key_is_no_secret() {
        let public = from_base64(&PUBLIC[5..]).unwrap();
        let parts = parts(ID, "1614265330", BODY.as_bytes());
        let by_the_public_key = to_base64(&sign(HMAC_SHA256, &public, &parts));

        assert!(signed_by(SECRET, V1) && signed_by(PUBLIC, V1A));
        assert!(signed_by(&SECRET[6..], V1));
        assert!(!signed_by(SECRET, V1A) && !signed_by(PUBLIC, V1));
        assert!(!signed_by(SECRET, &V1A.replace("v1a", "v1")) && !signed_by(SECRET, &V1.replace("v1", "v1a")));
        assert!(!signed_by(PUBLIC, &V1A.replace("v1a", "v1")));
        assert!(!signed_by(PUBLIC, &format!("v1,{by_the_public_key}")));
        assert!(!signed_by(PUBLIC, &format!("v1a,{by_the_public_key}")));
    }

    #[test]
    fn a_secret_that_stands_for_no_bytes_vouches_for_nobody() {
        let by_nothing = to_base64(&sign(HMAC_SHA256, b"", &parts(ID, "1614265330", BODY.as_bytes())));

        for secret in ["whsec_", "whsec_?", "whpk_", "whsk_AAAA"] {
            assert!(!signed_by(secret, &format!("v1,{by_nothing} v1a,{by_nothing}")), "{secret}");
        }
    }

    #[test]
    fn bytes_cannot_be_moved_from_the_body_to_the_id() {
        let key = from_base64(&SECRET[6..]).unwrap();
        let signature = format!("v1,{}", to_base64(&sign(HMAC_SHA256, &key, &[b"a.1000.1000.{}"])));
        let genuine = |id, body| {
            let pairs = [(STANDARD.id, id), (STANDARD.timestamp, "1000"), (STANDARD.signature, &signature)];
            believed_by(SECRET, &pairs, body, 1000)
        };

        assert!(genuine("a", "1000.{}"));
        assert!(!genuine("a.1000", "{}"));
    }

    #[test]
    fn a_header_that_is_missing_or_comes_twice_is_forged_and_so_is_no_id() {
        for header in RIGHT {
            let without: Vec<_> = RIGHT.into_iter().filter(|other| *other != header).collect();
            let twice = [&RIGHT[..], &[header]].concat();
            assert!(!believed(&without) && !believed(&twice), "{header:?}");
        }
        let key = from_base64(&SECRET[6..]).unwrap();
        let tag = format!("v1,{}", to_base64(&sign(HMAC_SHA256, &key, &parts("", "1614265330", BODY.as_bytes()))));
        assert!(!believed(&[(STANDARD.id, ""), RIGHT[1], (STANDARD.signature, &tag)]));
    }

    #[test]
    fn a_retry_has_the_key_of_the_first_and_is_what_its_type_says() {
        let body = r#"{"type":"user.created","timestamp":"2022-11-03T20:26:10.344522Z","data":{}}"#;
        let sent = |id_header: &str, timestamp: &str| {
            event(Provider::StandardWebhooks, &raw_event(&[(id_header, ID), (STANDARD.timestamp, timestamp)], body))
        };

        let [first, retry] = ["1", "2"].map(|timestamp| sent(STANDARD.id, timestamp));
        let by_svix = event(Provider::StandardWebhooks, &raw_event(&[(SVIX.id, ID)], body));

        assert_eq!((first.key.as_str(), first.kind.as_str()), (ID, "user.created"));
        assert_eq!(first.occurred_at.unwrap().timestamp(), 1_667_507_170);
        assert_eq!((&first, &first), (&retry, &by_svix));
    }

    #[test]
    fn a_body_that_is_no_object_does_not_cost_the_event_that_was_signed() {
        for body in ["", "[1]", "hello", "\u{0}"] {
            let event = event(Provider::StandardWebhooks, &raw_event(&[(STANDARD.id, ID)], body));
            assert_eq!((event.key.as_str(), &event.kind[..], &event.raw[..]), (ID, "unknown", body.as_bytes()));
        }
    }

    #[test]
    fn without_the_id_that_was_signed_an_event_is_rejected_and_not_given_another() {
        let none = rejection(Provider::StandardWebhooks, &raw_event(&[], "{}"));
        let mixed = rejection(Provider::StandardWebhooks, &raw_event(&[RIGHT[1], RIGHT[2], (SVIX.id, ID)], "{}"));

        assert_eq!([none.reason, mixed.reason], [reason::MISSING_ID; 2]);
        assert!(none.detail.contains(STANDARD.id) && mixed.detail.contains(STANDARD.id), "{}", mixed.detail);
    }
}
