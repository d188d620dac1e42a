//! What can be said of a secret by its form alone, before anything was signed with it.

/// What can be said of a secret by its form alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretForm {
    /// As its provider gives them, as far as anybody knows.
    Usual,
    /// It would do, but its provider's begin otherwise: most likely something else was copied.
    Unusual(&'static str),
    /// Nothing that its provider signs would ever be genuine by it.
    Unusable(&'static str),
}

impl SecretForm {
    /// Of a secret that is what must be, or of which this is wrong.
    pub(crate) fn must(be: bool, wrong: &'static str) -> Self {
        if be { Self::Usual } else { Self::Unusable(wrong) }
    }

    /// Of a secret that is what should be, or of which this is odd.
    pub(crate) fn should(be: bool, odd: &'static str) -> Self {
        if be { Self::Usual } else { Self::Unusual(odd) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        Provider,
        testing::{source_of, with_settings},
    };

    const HMAC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ED25519: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    /// SendGrid's libraries.
    const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
    const HEX: &str = "d5c8d4e1a6c1b0f2d5c8d4e1a6c1b0f2d5c8d4e1a6c1b0f2d5c8d4e1a6c1b0f2";

    fn of(provider: Provider, secret: &str) -> SecretForm {
        provider.secret_form(&source_of(provider, secret).settings, &secret.to_owned().into())
    }

    fn is_unusable(form: SecretForm) -> bool {
        matches!(form, SecretForm::Unusable(_))
    }

    #[test]
    fn a_secret_as_its_provider_gives_it_is_nothing_to_speak_of() {
        let usual = [
            (Provider::StandardWebhooks, HMAC),
            (Provider::StandardWebhooks, &HMAC[6..]),
            (Provider::StandardWebhooks, ED25519),
            (Provider::GitLab, HMAC),
            (Provider::GitLab, "what I have chosen"),
            (Provider::Discord, HEX),
            (Provider::SendGrid, P256),
            (Provider::Telegram, "a-token_of_1"),
            (Provider::Stripe, HMAC),
            (Provider::Paddle, "pdl_ntfset_01hkdbbs"),
            (Provider::GitHub, "anything at all"),
            (Provider::WhatsApp, "anything at all"),
        ];

        for (provider, secret) in usual {
            assert_eq!(of(provider, secret), SecretForm::Usual, "{provider} {secret}");
        }
    }

    #[test]
    fn a_secret_by_which_nothing_would_ever_be_genuine_is_known_by_its_form() {
        let unusable = [
            (Provider::StandardWebhooks, "whsec_"),
            (Provider::StandardWebhooks, "whsec_no base64"),
            (Provider::StandardWebhooks, "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            (Provider::StandardWebhooks, "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            (Provider::GitLab, "whsec_no base64"),
            (Provider::Discord, &HEX[2..]),
            (Provider::Discord, "MTIzNDU2.the.token-of-the-bot"),
            (Provider::SendGrid, &P256[4..]),
            (Provider::SendGrid, "-----BEGIN PUBLIC KEY-----"),
            (Provider::Telegram, "123456:the-token-of-the-bot"),
            (Provider::Telegram, ""),
        ];

        for (provider, secret) in unusable {
            assert!(is_unusable(of(provider, secret)), "{provider} {secret}");
        }
    }

    #[test]
    fn a_secret_that_only_looks_like_another_thing_would_do() {
        for (provider, secret) in [(Provider::Stripe, "sk_live_51H"), (Provider::Paddle, "pdl_live_apikey_01")] {
            assert!(matches!(of(provider, secret), SecretForm::Unusual(_)), "{provider} {secret}");
        }
    }

    #[test]
    fn where_settings_say_how_a_secret_is_written_it_must_be_written_so() {
        let form = |algorithm: &str, written: &str, secret: &str| {
            let settings =
                json!({"algorithm": algorithm, "signature_header": "x-tag", "key_hash": true, "secret_form": written});
            let source = with_settings(source_of(Provider::Generic, secret), &settings);
            Provider::Generic.secret_form(&source.settings, &source.secrets[0])
        };

        assert_eq!(form("hmac-sha256", "literal", "?"), SecretForm::Usual);
        assert_eq!([form("hmac-sha256", "hex", HEX), form("ed25519", "hex", HEX)], [SecretForm::Usual; 2]);
        assert_eq!(form("ecdsa-p256", "base64", P256), SecretForm::Usual);
        for (algorithm, written, secret) in [
            ("hmac-sha256", "hex", "?"),
            ("hmac-sha256", "base64", "?"),
            ("ed25519", "hex", &HEX[2..]),
            ("ed25519", "base64", P256),
            ("ecdsa-p256", "pem", P256),
            ("rsa-sha256", "hex", HEX),
        ] {
            assert!(is_unusable(form(algorithm, written, secret)), "{algorithm} {written} {secret}");
        }
    }
}
