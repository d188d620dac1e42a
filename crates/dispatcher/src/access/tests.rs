//! What an access may hold, and what nobody ever sees of it.

use super::*;

const URL: &str = "https://shop.example/";

fn with_header(line: &str) -> Result<(), AccessError> {
    let mut access = Access::default();
    access.add_header(line)?;
    access.check(URL)
}

fn with_basic_auth(pair: &str) -> Access {
    Access { basic_auth: Some(pair.to_owned()), ..Access::default() }
}

/// A certificate that signs itself.
fn certificate() -> ClientCertificate {
    let own = rcgen::generate_simple_self_signed(["latchhook.example".to_owned()]).unwrap();
    ClientCertificate { chain: own.cert.pem(), key: own.signing_key.serialize_pem() }
}

fn with_certificate(client_certificate: ClientCertificate) -> Access {
    Access { client_certificate: Some(client_certificate), ..Access::default() }
}

#[test]
fn nothing_that_frames_signs_or_routes_a_request_can_be_set_by_an_endpoint() {
    let reserved = [
        "Host",
        "Content-Length",
        "content-type",
        "Content-Encoding",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Upgrade",
        "HTTP2-Settings",
        "Expect",
        "User-Agent",
        "webhook-id",
        "Webhook-Timestamp",
        "WEBHOOK-SIGNATURE",
        "webhook-anything",
        "Via",
    ];

    for name in reserved {
        let refused = with_header(&format!("{name}: x"));
        assert!(matches!(refused, Err(AccessError::Reserved(_))), "{name}: {refused:?}");
    }
}

#[test]
fn what_cannot_be_sent_as_one_header_is_refused() {
    for line in ["x y: z", ": z", "x\r\ny: z", "x: a\r\nwebhook-id: b", "x: a\nb", "x: \0", "x: \u{fc}", "x:", "x:   "]
    {
        let refused = with_header(line);
        assert!(matches!(refused, Err(AccessError::Header(_))), "{line:?}: {refused:?}");
    }
    assert!(matches!(with_header("no colon"), Err(AccessError::NoHeader)));
    assert!(with_header("X-Api-Key: a:b c").is_ok());
}

#[test]
fn an_access_is_bounded_in_number_and_in_size() {
    let of = |count: usize, len: usize| {
        let headers = (0..count).map(|n| (format!("x-{n}"), "v".repeat(len))).collect();
        Access { headers, ..Access::default() }.check(URL)
    };

    assert!(of(20, 1).is_ok() && of(1, 4000).is_ok());
    assert!(matches!(of(21, 1), Err(AccessError::TooMuch)));
    assert!(matches!(of(1, 4096), Err(AccessError::TooMuch)));
    assert!(matches!(with_basic_auth(&format!("u:{}", "p".repeat(4096))).check(URL), Err(AccessError::TooMuch)));
}

#[test]
fn user_and_password_become_the_header_of_rfc_7617() {
    let carried = with_basic_auth("Aladdin:open sesame").read(true).unwrap();

    assert_eq!(carried.headers[AUTHORIZATION], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    for bad in ["no colon", "user:pass\nword", ""] {
        assert!(matches!(with_basic_auth(bad).check(URL), Err(AccessError::BasicAuth)), "{bad:?}");
    }
}

#[test]
fn nobody_can_authorize_twice() {
    let headers = vec![("authorization".to_owned(), "Bearer t".to_owned())];
    let both = Access { headers, ..with_basic_auth("u:p") };

    assert!(matches!(both.check(URL), Err(AccessError::Twice(_))));
}

#[test]
fn a_certificate_needs_its_own_key_and_a_url_with_tls() {
    let (own, other) = (certificate(), certificate());
    let check = |chain: &str, key: &str| {
        with_certificate(ClientCertificate { chain: chain.to_owned(), key: key.to_owned() }).check(URL)
    };

    assert!(check(&own.chain, &own.key).is_ok());
    assert!(matches!(check(&own.chain, &other.key), Err(AccessError::Pair(_))));
    assert!(matches!(check(&own.chain.repeat(100), &own.key), Err(AccessError::TooLong)));
    assert!(matches!(check("", &own.key), Err(AccessError::Certificate)));
    assert!(matches!(
        check("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &own.key),
        Err(AccessError::Certificate)
    ));
    assert!(matches!(check(&own.chain, "no key"), Err(AccessError::Key)));
    assert!(matches!(with_certificate(own).check("http://127.0.0.1/"), Err(AccessError::Plain)));
}

#[test]
fn a_certificate_may_be_shown_to_a_host_in_letters_of_any_language_and_whatever_a_url_is_written_like() {
    let access = with_certificate(certificate());

    let https = [
        "https://bücher.example/",
        "https://例え.テスト/hook",
        "HTTPS://shop.example/a b",
        "https://xn--bcher-kva.example/",
    ];
    let plain = ["http://bücher.example/", "HTTP://shop.example/"];

    assert!(https.iter().all(|url| access.check(url).is_ok()));
    assert!(plain.iter().all(|url| matches!(access.check(url), Err(AccessError::Plain))));
}

#[test]
fn a_certificate_is_taken_from_its_first_moment_to_its_last_and_not_before_or_after() {
    let own = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["latchhook.example".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2026, 4, 1));
    let chain = params.self_signed(&own).unwrap().pem();
    let access = with_certificate(ClientCertificate { chain, key: own.serialize_pem() });
    let given_at = |now: &str| access.check_given(URL, now.parse().unwrap());

    assert!(given_at("2026-01-01T00:00:00Z").is_ok() && given_at("2026-04-01T00:00:00Z").is_ok());
    let refusals = ["2025-12-31T23:59:59Z", "2026-04-01T00:00:01Z"].map(|now| given_at(now).unwrap_err().to_string());
    assert!(refusals[0].contains("begins at 2026-01-01 00:00:00 UTC"), "{}", refusals[0]);
    assert!(refusals[1].contains("ended at 2026-04-01 00:00:00 UTC"), "{}", refusals[1]);
    assert!(access.check(URL).is_ok(), "what is kept already is no matter of this");
}

#[test]
fn people_see_names_and_dates_and_never_a_value() {
    let headers = vec![("x-api-key".to_owned(), "hush".to_owned())];
    let access = Access { headers, ..with_certificate(certificate()) };

    let shown = access.shown();

    assert_eq!(shown.headers, ["x-api-key"]);
    assert_eq!(shown.certificate_subject.as_deref(), Some("CN=rcgen self signed cert"));
    assert!(shown.certificate_expires_at.unwrap().to_rfc3339().starts_with("4096-01-01"));
    let printed = format!("{access:?} {:?} {shown:?}", access.client_certificate);
    assert!(!printed.contains("hush") && !printed.contains("PRIVATE"), "{printed}");
}

#[test]
fn what_is_kept_is_read_again_and_nothing_else_is() {
    let access = Access { basic_auth: Some("u:p".to_owned()), ..with_certificate(certificate()) };

    assert!(Access::from_json(&access.to_json()).unwrap() == access);
    for other in ["", "[]", "{\"headers\":1}", "{\"token\":\"x\"}"] {
        let refused = Access::from_json(&other.to_owned().into());
        assert!(matches!(refused, Err(AccessError::Json)), "{other}");
    }
}
