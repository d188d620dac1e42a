use serde_json::json;

use super::*;
use crate::{
    Provider, SettingsError, reason,
    testing::{at, event, headers, raw_event, rejection, source_of, with_settings},
};

/// PayPal's library for Ruby (`samples/notifications/verify_webhook_event.rb`); the certificate, of its sandbox in 2015, is in
/// the tests of its library for Node.
const BODY: &str = include_str!("sale.json");
const CERTIFICATE: &str = include_str!("sandbox.pem");
const WEBHOOK: &str = "4JH86294D6297924G";
const SIGNED_AT: i64 = 1_431_963_913;
const RIGHT: [(&str, &str); 5] = [
    (ID, "dfb3be50-fd74-11e4-8bf3-77339302725b"),
    (TIME, "2015-05-18T15:45:13Z"),
    (
        SIGNATURE,
        "thy4/U002quzxFavHPwbfJGcc46E8rc5jzgyeafWm5mICTBdY/8rl7WJpn8JA0GKA+oDTPsSruqusw+XXg5RLAP7ip53Euh9Xu3UbUhQFX7UgwzE2FeYoY6lyRMiiiQLzy9BvHfIzNIVhPad4KnC339dr6y2l+mN8ALgI4GCdIh3/SoJO5wE64Bh/ueWtt8EVuvsvXfda2Le5a2TrOI9vLEzsm9GS79hAR/5oLexNz8UiZr045Mr5ObroH4w4oNfmkTaDk9Rj0G19uvISs5QzgmBpauKr7Nw++JI0pr/v5mFctQkoWJSGfBGzPRXawrvIIVHQ9Wer48GR2g9ZiApWg==",
    ),
    (ALGORITHM, "SHA256withRSA"),
    (URL, "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77"),
];

/// Made by ourselves; the key was thrown away. In `made.pem` it has five certificates: a right one, and four that are wrong.
const MADE: &str = include_str!("made.pem");
const MADE_AT: i64 = 1_767_225_600;
const MADE_SIGNATURE: &str = "eMj9Kw6JhtL/5BsLWJCSMiOozHYDdwVKAzHstqZDoypxxj5VKKcfBa49Sn0HHY7ZL+UQcm7KNLIqaYIKzHJnMav0MwGBhsIS3iLRheWWjcyDHf786dt6fuGiAWthUlWZ+H4IStwyvEIpqmP3qtLxfVIp8FMlfty1aYN/BBN7WCaVTxNt4BRXDJpTxP+Yq7R++W0MkI4oS5+2GFJazbxlqC8XS+zBYe8NZ0+ES2nh/xC6xh9MP4djAgj0eWy9xPmSVNa4Z8x6RTDlwfauH0VaNMuBPd5Ip8QDeQOFKsCcLtmPgGmS4j0Ri1lkIStrWn1bJi7hJZ4PEmq+McZKksxUfQ==";

fn verdict_by(certificate: &Certificate, pairs: &[(&str, &str)], body: &str, now: i64) -> Verdict {
    let (source, headers) = (source_of(Provider::PayPal, WEBHOOK), headers(pairs));
    Provider::PayPal.verify_by(&source, &Request::posted(&headers, body.as_bytes(), at(now)), certificate)
}

fn believed(pairs: &[(&str, &str)], body: &str, now: i64) -> bool {
    verdict_by(&Certificate::read(CERTIFICATE).unwrap(), pairs, body, now) == Verdict::Genuine
}

fn with(header: &str, value: &'static str) -> [(&'static str, &'static str); 5] {
    RIGHT.map(|(name, right)| (name, if name == header { value } else { right }))
}

/// What the producer is told to fetch for a request that names this address.
fn asked_for<'u>(source: &Source, urls: &[&'u str]) -> Option<&'u str> {
    let pairs: Vec<_> = urls.iter().map(|url| (URL, *url)).collect();
    let headers = headers(&pairs);
    let asked = Provider::PayPal.certificate_url(source, &Request::posted(&headers, b"", at(0)))?;
    urls.iter().find(|url| **url == asked).copied()
}

#[test]
fn the_published_vector_is_genuine_for_as_long_as_it_is_sent_again() {
    let hours = 73 * 3600;

    let believed = [-hours - 1, -hours, 0, hours, hours + 1].map(|apart| believed(&RIGHT, BODY, SIGNED_AT + apart));

    assert_eq!(believed, [false, true, true, true, false]);
}

#[test]
fn another_body_or_webhook_or_header_and_two_of_one_or_none_are_forged() {
    assert!(!believed(&RIGHT, &BODY.replace("20.00", "90.00"), SIGNED_AT));
    for changed in [
        with(ID, "dfb3be50-fd74-11e4-8bf3-77339302725c"),
        with(TIME, "2015-05-18T15:45:14Z"),
        with(TIME, "1431963913"),
        with(SIGNATURE, "thy4"),
        with(SIGNATURE, "?"),
        with(ALGORITHM, "SHA1withRSA"),
    ] {
        assert!(!believed(&changed, BODY, SIGNED_AT), "{changed:?}");
    }
    for header in &RIGHT[..4] {
        let without: Vec<_> = RIGHT.iter().filter(|other| *other != header).copied().collect();
        assert!(!believed(&without, BODY, SIGNED_AT) && !believed(&[&RIGHT[..], &[*header]].concat(), BODY, SIGNED_AT));
    }
    let (another, headers) = (source_of(Provider::PayPal, "WEBHOOK_ID"), headers(&RIGHT));
    let request = Request::posted(&headers, BODY.as_bytes(), at(SIGNED_AT));
    let verdict = Provider::PayPal.verify_by(&another, &request, &Certificate::read(CERTIFICATE).unwrap());
    assert_ne!(verdict, Verdict::Genuine);
}

#[test]
fn a_certificate_vouches_only_under_paypals_name_and_while_it_holds() {
    let source = source_of(Provider::PayPal, "1AB23456CD789012E");
    let headers = headers(&[
        (ID, "made-1"),
        (TIME, "2026-01-01T00:00:00Z"),
        (SIGNATURE, MADE_SIGNATURE),
        (ALGORITHM, "SHA256withRSA"),
    ]);
    let request = Request::posted(&headers, br#"{"id":"WH-1"}"#, at(MADE_AT));

    let by = |certificate| Provider::PayPal.verify_by(&source, &request, certificate) == Verdict::Genuine;

    // Right; of another's name that begins alike; until 2021; from 2030; with a common name only.
    let certificates = Certificate::read_all(MADE).unwrap();
    assert_eq!(certificates.iter().map(by).collect::<Vec<_>>(), [true, false, false, false, false]);
    assert!(!by(&Certificate::read(CERTIFICATE).unwrap()));
}

#[test]
fn a_certificate_is_fetched_from_paypal_and_from_nowhere_else() {
    let source = source_of(Provider::PayPal, WEBHOOK);
    let right = RIGHT[4].1;
    assert_eq!(asked_for(&source, &[right]), Some(right));

    for wrong in [
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://evil.example/api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
        "https://www.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/",
        "https://api.paypal.com/v1/notifications/certs/../../oauth2/token",
        "https://api.paypal.com/v1/notifications/certs/%2e%2e",
        "https://api.paypal.com/v1/notifications/certs/CERT-1?url=https://evil.example",
        "https://api.paypal.com/v1/notifications/certs/CERT-1#x",
        "https://api.paypal.com\\@evil.example/v1/notifications/certs/CERT-1",
        "HTTPS://API.PAYPAL.COM/v1/notifications/certs/CERT-1",
        &format!("https://api.paypal.com/v1/notifications/certs/{}", "A".repeat(101)),
        "",
    ] {
        assert_eq!(asked_for(&source, &[wrong]), None, "{wrong}");
    }
    assert_eq!(asked_for(&source, &[right, right]), None);
    assert_eq!(asked_for(&source, &[]), None);
}

#[test]
fn with_certificates_of_its_own_a_source_takes_what_one_of_them_signed_and_fetches_none() {
    let request_headers = headers(&RIGHT);
    let request = Request::posted(&request_headers, BODY.as_bytes(), at(SIGNED_AT));
    let source = |pem: &str| with_settings(source_of(Provider::PayPal, WEBHOOK), &json!({CERTIFICATES: pem}));

    for (pem, expected) in
        [(CERTIFICATE.to_owned(), true), (format!("{CERTIFICATE}{MADE}"), true), (MADE.to_owned(), false)]
    {
        assert_eq!(Provider::PayPal.verify(&source(&pem), &request) == Verdict::Genuine, expected);
        assert_eq!(asked_for(&source(&pem), &[RIGHT[4].1]), None);
    }
}

#[test]
fn without_a_certificate_nothing_is_genuine() {
    let headers = headers(&RIGHT);
    let request = Request::posted(&headers, BODY.as_bytes(), at(SIGNED_AT));

    let verdict = Provider::PayPal.verify(&source_of(Provider::PayPal, WEBHOOK), &request);

    assert_eq!(verdict, Verdict::Forged(NO_CERTIFICATE));
}

#[test]
fn a_source_needs_no_certificates_of_its_own() {
    assert_eq!(Provider::PayPal.check_settings(&serde_json::Map::new()), Ok(()));
}

#[test]
fn certificates_that_cannot_be_used_are_refused_at_the_door() {
    let check = |pem: &str| Provider::PayPal.check_settings(json!({CERTIFICATES: pem}).as_object().unwrap());

    assert_eq!(check(CERTIFICATE), Ok(()));
    for pem in ["", "CERT-1", include_str!("p256.pem")] {
        assert!(matches!(check(pem), Err(SettingsError::Value { field: CERTIFICATES, .. })), "{pem}");
    }
}

#[test]
fn a_certificate_of_another_name_is_refused_at_the_door_with_its_number_and_its_name() {
    let check = |pem: &str| Provider::PayPal.check_settings(json!({CERTIFICATES: pem}).as_object().unwrap());

    let foreign = check(MADE).unwrap_err().to_string();
    let nameless = check(&one_of_made(4)).unwrap_err().to_string();

    let named = "of certificates, number 2 is for messageverificationcerts.paypal.com.example.com, and PayPal signs with one \
                 for messageverificationcerts.paypal.com or messageverificationcerts.sandbox.paypal.com: take what stands at \
                 the PAYPAL-CERT-URL";
    assert!(foreign.starts_with(named), "{foreign}");
    assert!(nameless.contains("number 1 is for no DNS name, and PayPal"), "{nameless}");
    assert_eq!(check(&one_of_made(0)), Ok(()));
}

#[test]
fn certificates_must_not_have_ended_and_one_of_them_must_hold_now() {
    let check = |places: &[usize], now| {
        let pem: String = places.iter().map(|place| one_of_made(*place)).collect();
        Provider::PayPal.check_dates(json!({CERTIFICATES: pem}).as_object().unwrap(), at(now))
    };
    let (holds, ended, begins) = (0, 2, 3);

    let past = check(&[holds, ended], MADE_AT).unwrap_err().to_string();
    let future = check(&[begins], MADE_AT).unwrap_err().to_string();

    assert!(past.contains("number 2 has ended on 2021-01-01 00:00:00 UTC: take"), "{past}");
    assert!(future.contains("number 1 begins on 2030-01-01 00:00:00 UTC, and no other holds until then"), "{future}");
    assert_eq!([check(&[holds], MADE_AT), check(&[begins, holds], MADE_AT)], [Ok(()), Ok(())]);
    assert_eq!([check(&[ended], 1_609_459_200), check(&[], MADE_AT)], [Ok(()), Ok(())]);
}

/// One of the five: a right one, one for another name, one that has ended, one that begins later, one without names.
fn one_of_made(place: usize) -> String {
    let end = "-----END CERTIFICATE-----\n";
    format!("{}{end}", MADE.split(end).nth(place).unwrap())
}

/// The first is what tables of CRCs call its check value; the second is computed by ourselves.
#[test]
fn the_crc_of_a_body_is_signed_as_an_unsigned_decimal() {
    assert_eq!(crc32(b"123456789").to_string(), "3421780262");
    assert_eq!(crc32(br#"{"id":"WH-1"}"#).to_string(), "838965618");
}

/// What the module's documentation warns of.
#[test]
fn two_bodies_can_have_one_crc_and_people_are_told_so() {
    assert_eq!(crc32(b"plumless"), crc32(b"buckeroo"));
    assert!(ABOUT.signature.contains("A CRC is no hash"));
}

#[test]
fn a_retry_has_the_key_of_the_first_although_its_transmission_is_another() {
    let [first, retry] = ["1", "2"].map(|id| event(Provider::PayPal, &raw_event(&[(ID, id), (TIME, id)], BODY)));

    assert_eq!(
        (first.key.as_str(), first.kind.as_str()),
        ("WH-0G2756385H040842W-5Y612302CV158622M", "PAYMENT.SALE.COMPLETED")
    );
    assert_eq!(first.occurred_at, Some(at(SIGNED_AT)));
    assert_eq!(first, retry);
}

#[test]
fn without_its_id_an_event_is_rejected_with_what_is_missing() {
    let rejection = rejection(Provider::PayPal, &raw_event(&[(ID, "1")], r#"{"event_type":"PAYMENT.SALE.COMPLETED"}"#));

    assert_eq!(rejection.reason, reason::MISSING_ID);
    assert!(rejection.detail.starts_with("id:"), "{}", rejection.detail);
}
