//! Against the published vectors, RFC 8032, and the libraries that customers use.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use super::*;

struct Vector {
    secret: &'static str,
    id: &'static str,
    timestamp: i64,
    body: &'static str,
    signature: &'static str,
}

/// Published: the first two with the libraries of Standard Webhooks, the third with the server of svix.
const VECTORS: [Vector; 3] = [
    Vector {
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp: 1_614_265_330,
        body: r#"{"test": 2432232314}"#,
        signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    Vector {
        secret: "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        id: "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        timestamp: 1_649_367_553,
        body: r#"{"email":"test@example.com","username":"test_user"}"#,
        signature: "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    },
    Vector {
        secret: "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp: 1_614_265_330,
        body: r#"{"test": 2432232314}"#,
        signature: "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
    },
];
/// What customers have of the third one.
const PUBLIC_KEY: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

fn secret(text: &str) -> SigningSecret {
    SigningSecret::parse(&text.to_owned().into()).unwrap()
}

fn headers(id: &str, timestamp: i64, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", id.parse().unwrap());
    headers.insert("webhook-timestamp", timestamp.into());
    headers.insert("webhook-signature", signature.parse().unwrap());
    headers
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

#[test]
fn the_published_vectors_are_signed_and_verified() {
    for vector in VECTORS {
        let secret = secret(vector.secret);

        let signed = signature(std::slice::from_ref(&secret), vector.id, vector.timestamp, vector.body.as_bytes());

        assert_eq!(signed, vector.signature);
        let headers = headers(vector.id, vector.timestamp, &signed);
        assert_eq!(verify(&secret, &headers, vector.body.as_bytes(), at(vector.timestamp + 299)), Ok(vector.id));
    }
}

#[test]
fn what_v1a_signs_is_believed_by_who_has_the_public_side_only() {
    let (vector, key) = (&VECTORS[2], PublicKey::parse(PUBLIC_KEY).unwrap());
    let secret = secret(vector.secret);

    let headers = headers(vector.id, vector.timestamp, vector.signature);

    assert_eq!(secret.public_key().unwrap(), key);
    assert_eq!(key.to_string(), PUBLIC_KEY);
    assert_eq!(key.verify(&headers, vector.body.as_bytes(), at(vector.timestamp)), Ok(vector.id));
    assert_eq!(key.verify(&headers, b"{}", at(vector.timestamp)), Err(VerifyError::Signature));
    assert_eq!(key.verify(&headers, vector.body.as_bytes(), at(0)), Err(VerifyError::Timestamp));
    let other = self::secret(SigningSecret::generate_ed25519().expose_secret()).public_key().unwrap();
    assert_eq!(other.verify(&headers, vector.body.as_bytes(), at(vector.timestamp)), Err(VerifyError::Signature));
}

/// RFC 8032, 7.1, test 1: seed and public key.
#[test]
fn a_seed_alone_is_the_same_key_as_the_seed_with_its_public_key_behind_it() {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");

    let short = secret(&format!("whsk_{}", BASE64.encode(&seed)));
    let long = secret(&format!("whsk_{}", BASE64.encode([seed, public.clone()].concat())));

    assert_eq!(short.public_key().unwrap().to_string(), format!("whpk_{}", BASE64.encode(public)));
    assert_eq!(short.public_key(), long.public_key());
    assert_eq!(signature([&short], "msg_1", 1000, b"{}"), signature([&long], "msg_1", 1000, b"{}"));
}

#[test]
fn the_libraries_that_customers_use_believe_what_v1_signs() {
    let text = SigningSecret::generate();
    let now = Utc::now();

    let signed = signature(&[secret(text.expose_secret())], "msg_1", now.timestamp(), b"{\"a\":1}");

    let headers = headers("msg_1", now.timestamp(), &signed);
    let ours = standardwebhooks::Webhook::new(text.expose_secret()).unwrap();
    ours.verify(b"{\"a\":1}", &headers).unwrap();
    assert!(ours.verify(b"{\"a\":2}", &headers).is_err());
    let svix = svix::webhooks::Webhook::new(text.expose_secret()).unwrap();
    svix.verify(b"{\"a\":1}", &headers).unwrap();
    assert!(svix.verify(b"{\"a\":2}", &headers).is_err());
}

#[test]
fn we_believe_what_the_libraries_sign() {
    let text = SigningSecret::generate();
    let (secret, now) = (secret(text.expose_secret()), Utc::now());

    let standard = standardwebhooks::Webhook::new(text.expose_secret()).unwrap();
    let svix = svix::webhooks::Webhook::new(text.expose_secret()).unwrap();
    let signed =
        [standard.sign("msg_1", now.timestamp(), b"{}").unwrap(), svix.sign("msg_1", now.timestamp(), b"{}").unwrap()];

    for signed in signed {
        assert_eq!(verify(&secret, &headers("msg_1", now.timestamp(), &signed), b"{}", now), Ok("msg_1"));
    }
}

#[test]
fn the_libraries_find_their_signature_among_others_of_either_scheme() {
    let (old, new) = (SigningSecret::generate(), SigningSecret::generate());
    let asymmetric = SigningSecret::generate_ed25519();
    let now = Utc::now();

    let secrets = [&asymmetric, &old, &new].map(|text| secret(text.expose_secret()));
    let headers = headers("msg_1", now.timestamp(), &signature(&secrets, "msg_1", now.timestamp(), b"{}"));

    for text in [&old, &new] {
        standardwebhooks::Webhook::new(text.expose_secret()).unwrap().verify(b"{}", &headers).unwrap();
        svix::webhooks::Webhook::new(text.expose_secret()).unwrap().verify(b"{}", &headers).unwrap();
    }
    assert_eq!(secrets[0].public_key().unwrap().verify(&headers, b"{}", now), Ok("msg_1"));
}

#[test]
fn while_secrets_are_rotated_the_holder_of_either_is_content() {
    let (old, new) = (secret(VECTORS[0].secret), secret(VECTORS[1].secret));

    let signed = signature(&[old.clone(), new.clone()], "msg_1", 1000, b"{}");

    let headers = headers("msg_1", 1000, &signed);
    assert_eq!(verify(&old, &headers, b"{}", at(1000)), Ok("msg_1"));
    assert_eq!(verify(&new, &headers, b"{}", at(1000)), Ok("msg_1"));
}

#[test]
fn nothing_is_believed_that_was_changed_or_is_old() {
    let secret = secret(VECTORS[0].secret);
    let signed = signature(std::slice::from_ref(&secret), "msg_1", 1000, b"{}");
    let good = headers("msg_1", 1000, &signed);

    let refusal = |headers: &HeaderMap, body: &[u8], now| verify(&secret, headers, body, at(now)).unwrap_err();

    assert_eq!(refusal(&good, b"{ }", 1000), VerifyError::Signature);
    assert_eq!(refusal(&headers("msg_2", 1000, &signed), b"{}", 1000), VerifyError::Signature);
    assert_eq!(refusal(&headers("msg_1", 1001, &signed), b"{}", 1000), VerifyError::Signature);
    assert_eq!(refusal(&good, b"{}", 1301), VerifyError::Timestamp);
    assert_eq!(refusal(&good, b"{}", 699), VerifyError::Timestamp);
    assert_eq!(refusal(&headers("msg_1", i64::MIN, &signed), b"{}", 1000), VerifyError::Timestamp);
    assert_eq!(refusal(&HeaderMap::new(), b"{}", 1000), VerifyError::Header("webhook-id"));
    let mut twice = good.clone();
    twice.append("webhook-signature", signed.parse().unwrap());
    assert_eq!(refusal(&twice, b"{}", 1000), VerifyError::Header("webhook-signature"));
}

#[test]
fn what_was_signed_cannot_be_cut_into_another_id_and_another_body() {
    let secret = secret(VECTORS[0].secret);
    let signed = signature(std::slice::from_ref(&secret), "msg_1", 1000, b"1001.{}");

    let recut = headers("msg_1.1000", 1001, &signed);

    assert_eq!(verify(&secret, &recut, b"{}", at(1000)), Err(VerifyError::Id));
}

#[test]
fn a_secret_that_protects_nobody_is_refused_and_the_refusal_says_why() {
    use SigningSecretError::{Mismatch, Prefix, Private, Public, Symmetric};
    let of = |prefix: &str, bytes: &[u8]| format!("{prefix}{}", BASE64.encode(bytes));
    let refusals = [
        ("".into(), Prefix),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(), Prefix),
        ("whsec_".into(), Symmetric),
        ("whsec_%%%".into(), Symmetric),
        (of("whsec_", &[7; 23]), Symmetric),
        (of("whsec_", &[7; 65]), Symmetric),
        ("whsk_".into(), Private),
        ("whsk_%%%".into(), Private),
        (of("whsk_", &[7; 31]), Private),
        (of("whsk_", &[7; 63]), Private),
        (of("whsk_", &[7; 64]), Mismatch),
        (PUBLIC_KEY.into(), Public),
    ];

    for (bad, why) in refusals {
        assert_eq!(SigningSecret::parse(&SecretString::from(bad.clone())).err(), Some(why), "{bad}");
    }
    for bad in ["", "whpk_", "whpk_%%%", &of("whpk_", &[7; 33]), VECTORS[2].secret] {
        assert_eq!(PublicKey::parse(bad), Err(SigningSecretError::PublicKey), "{bad}");
    }
}

#[test]
fn what_is_generated_is_read_and_no_two_are_the_same() {
    for (generate, scheme) in
        [(SigningSecret::generate as fn() -> SecretString, Scheme::V1), (SigningSecret::generate_ed25519, Scheme::V1a)]
    {
        let (one, other) = (generate(), generate());

        assert_ne!(one.expose_secret(), other.expose_secret());
        assert_eq!(secret(one.expose_secret()).scheme(), scheme);
    }
}

#[test]
fn a_signature_counts_under_the_name_of_its_own_scheme_only() {
    for vector in VECTORS {
        let (secret, (_, bytes)) = (secret(vector.secret), vector.signature.split_once(',').unwrap());
        for name in ["v1", "v1a", "v2", ""].into_iter().filter(|name| *name != secret.scheme().as_str()) {
            let headers = headers(vector.id, vector.timestamp, &format!("{name},{bytes}"));

            let verified = verify(&secret, &headers, vector.body.as_bytes(), at(vector.timestamp));

            assert_eq!(verified, Err(VerifyError::Signature), "{name}");
        }
    }
}
