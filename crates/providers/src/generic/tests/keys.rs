//! Every algorithm, and every way to write a key.

use serde_json::{Value, json};

use super::source;
use crate::{
    signature::{from_base64, sign, to_base64, to_hex},
    testing::{at, genuine_at},
};

/// RFC 4231, test case 2, and RFC 2202, test case 2: one key and one text, by each HMAC.
#[test]
fn each_hmac_is_taken_and_takes_no_other() {
    let tags = [
        ("hmac-sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ("hmac-sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            "hmac-sha512",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ];
    for (algorithm, _) in tags {
        let settings = json!({"algorithm": algorithm, "signature_header": "x-tag", "key_hash": true});
        for (other, tag) in tags {
            let genuine = |secret, body| genuine_at(&source(secret, &settings), &[("x-tag", tag)], body, at(0));
            assert_eq!(genuine("Jefe", b"what do ya want for nothing?"), algorithm == other, "{algorithm} {other}");
            assert!(!genuine("Jeff", b"what do ya want for nothing?") && !genuine("Jefe", b"what do you want"));
        }
    }
}

fn by_a_public_key(algorithm: &str, secret_form: &str) -> Value {
    json!({"algorithm": algorithm, "signed": "{timestamp}.{body}", "signature_header": "x-signature",
        "timestamp_header": "x-timestamp", "encoding": "base64", "secret_form": secret_form, "key_pointer": "/id"})
}

/// Whether `1000.{"id":1}` is what a key signed.
fn is_signed(algorithm: &str, secret_form: &str, key: &str, signature: &str) -> bool {
    let pairs = [("x-signature", signature), ("x-timestamp", "1000")];
    genuine_at(&source(key, &by_a_public_key(algorithm, secret_form)), &pairs, br#"{"id":1}"#, at(1000))
}

fn hex_of(base64: &str) -> String {
    to_hex(&from_base64(base64).unwrap())
}

fn pem_of(base64: &str) -> String {
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\r\n{}\r\n-----END PUBLIC KEY-----\n", lines.join("\r\n"))
}

/// SendGrid's libraries (their test of the Event Webhook): the time is signed with nothing behind it.
#[test]
fn sendgrid_is_taken_by_data_alone_however_its_key_is_written() {
    let key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
    let signature = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=";
    let body = "[{\"email\":\"hello@world.com\",\"event\":\"dropped\",\"reason\":\"Bounced Address\",\"sg_event_id\":\"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA\",\"sg_message_id\":\"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0\",\"smtp-id\":\"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>\",\"timestamp\":1600112492}]\r\n";
    // Behind 26 bytes that say what the key is, its point stands alone.
    let point = &hex_of(key)[52..];
    let pairs = [("x-signature", signature), ("x-timestamp", "1600112502")];
    let genuine = |form: &str, key: &str, body: &str| {
        let mut settings = by_a_public_key("ecdsa-p256", form);
        settings["signed"] = json!("{timestamp}{body}");
        genuine_at(&source(key, &settings), &pairs, body.as_bytes(), at(1_600_112_502))
    };

    for (form, key) in [("base64", key), ("hex", &hex_of(key)), ("pem", &pem_of(key)), ("hex", point)] {
        assert!(genuine(form, key, body) && !genuine(form, key, body.trim_end()), "{form}");
    }
    assert!(!genuine("pem", key, body) && !genuine("base64", &pem_of(key), body) && !genuine("hex", &point[2..], body));
}

/// Made by ourselves, with openssl: what signed was thrown away.
const RSA: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA3QFyCx9YffeXl61eLGRNExfrq9rNQJX/t3K7IV1Ix0xZCo5jxQPvBDe63jxwxjHxBQW73IeNg9ZY47F1xXpiwe7B3Uul4EtLr0HD9Y2LuTxtwrQLVqOl0egWB0s0/Ial8pJOnHiStUDP3q5OWspYdjXd2ErkcA6d/14r4DaqGbki2YDuv31ARd2afoW2j3isbNVOSPA7Pi4MTvhCcM5S6tN7YOotHHLFzqw4KapYWgl8rx1z7TYmkr8QK1RHs9rNoy3K2KurmnFvU0g6jTcw3Hb2ACNIwJsY5BxcphBGlbGH3acIvZnnuIha3aLRzUF5ozf6I0U0cnFP+fqVLeKW/QIDAQAB";
const SIGNED_BY_RSA: &str = "1OXnC1p0h+ROvG8cars5lHiLfyWNK+Vl+sqKItoXfF4wqyFo02Fcw26pksO8amvXb7V1BDMXEhz2P/YpuDGKKd4moXlhnlIBBbkJ1dkpKBFUUNSK13dZFOlb9d4eMM4dxSFmLYOQj6v0pvJNvYf7CJvce8HPZMGJK9rRM2yEFJyHqTxxwvBNSDuACWy3Fw5Xc1xZo4Lw53JNTbikONa02MSI6UIcuGexkWbJktj9Nu1bu2wPuEgK/GZmbQjqhUbDDoE6MMFMVQs4JuhlaiGxFhuq5S/BSzc0P6V8sTEATaMqdDw80pxBgzchjY0z67ryho6mKW2C/kWHNyzSJfBs9g==";

#[test]
fn rsa_is_taken_however_its_key_is_written() {
    // Behind 24 bytes that say what the key is, it stands alone.
    let key_alone = &hex_of(RSA)[48..];

    for (form, key) in [("base64", RSA), ("hex", &hex_of(RSA)), ("pem", &pem_of(RSA)), ("hex", key_alone)] {
        assert!(is_signed("rsa-sha256", form, key, SIGNED_BY_RSA), "{form}");
    }
}

#[test]
fn rsa_of_another_digest_and_of_a_short_key_and_by_another_algorithm_is_forged() {
    let by_sha1 = "qFhjJT5nJfWYQLVAXfxesWbDwEymv36dehIXwVvuC0oI6TR9d7xhly6ivK9mNhttbl5oyCGiIT/zZ3cQRJfKmYJBnwFhcx1HIIT+iSbDvK5rQimbZW+5Iq1yc/7PFy+kkqye6Dkzs6yP4Kk4UEOln9jKVWTaMlp2Mejh7oGHrUKYiLyohu+tEKGsF2evUU4G71G8BirBgf/wLM1c1QeH2H2o4E+zoUqlug3hOlrMmYMt6jqUqnE38Fx3FY93tfip8UY9x413n5PPTd1bbsKUdUhmC8KcELXZkuexXWtravL3ch3LG0Irl+jA+WC2nt1C8gcyVKBrrUDECAm+j2+HGA==";
    let short = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDBX/Wb8VdGE2ALJXMLVdhcEf3q3Lmhr8T4bYnlIA+jZOiWrPNuolOzGIxSAcjV/197/Gug1XLZJ5bidyoHvIfnurcM4E/yMQ2hx3yNkZSKt2r0v4uDA2mBVuTO0pphpslrV2dCMLt6S2JPrGtCFSAC14WE7jqXIQLhvskmAvhSIQIDAQAB";
    let by_the_short_one = "HFEfBEvaXrS4CfvJKQIvHoIB4ga0S7kQpJx2bV7ll1omY11JTaH075BZ60A4Gf62ulGLOV7om7UARWdk6X43u0aCTvW4LtQ0idGJgMPJ9MBMi5kWfNIswCff9h7s+6Lat1Y0P0JrzTrHhicAPcTkxSkFnneOGtP95BYcqIE90Co=";

    assert!(!is_signed("rsa-sha256", "base64", RSA, by_sha1));
    assert!(!is_signed("rsa-sha256", "base64", short, by_the_short_one));
    assert!(!is_signed("ecdsa-p256", "base64", RSA, SIGNED_BY_RSA));
    assert!(!is_signed("rsa-sha256", "base64", RSA, &to_base64(&[0; 256])));
}

/// Else whoever knows the key that everybody may know could sign.
#[test]
fn a_public_key_is_no_secret_of_an_hmac() {
    let by_the_public_key = to_base64(&sign(ring::hmac::HMAC_SHA256, RSA.as_bytes(), &[br#"1000.{"id":1}"#]));

    assert!(!is_signed("rsa-sha256", "base64", RSA, &by_the_public_key));
}

#[test]
fn what_is_no_public_key_in_pem_vouches_for_nobody() {
    let certificate = pem_of(RSA).replace("PUBLIC KEY", "CERTIFICATE");
    let cut = pem_of(RSA).replace("-----END PUBLIC KEY-----", "");
    let two = pem_of(RSA).repeat(2);

    for key in [certificate.as_str(), &cut, &two, RSA, "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"] {
        assert!(!is_signed("rsa-sha256", "pem", key, SIGNED_BY_RSA), "{key}");
    }
}
