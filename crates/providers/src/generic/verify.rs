//! Whether a request is signed as its source was told.

use std::borrow::Cow;

use chrono::TimeDelta;
use vocabulary::Source;

use super::{
    recipe::{Algorithm, Clock, Form, Place, Recipe, Timestamp},
    template::Filling,
};
use crate::{
    Request, SecretForm,
    public::from_pem,
    signature::{
        Doubt, MALFORMED, MAX_SIGNATURES, MISSING, fresh, fresh_date, fresh_millis, from_any_base64, from_hex, one_of,
        only, only_parameter, same, signed, usable,
    },
};

/// Believes a request, or says why not.
pub(super) fn believe(recipe: &Recipe<'_>, source: &Source, request: &Request<'_>) -> Result<(), Doubt> {
    let secrets = usable(&source.secrets)?;
    let given = recipe.place.value(request)?;
    let signatures = recipe.form.signatures(given)?;
    if matches!(recipe.algorithm, Algorithm::Equal) {
        return one_of(&secrets, |secret| recipe.is_token(secret, &signatures));
    }
    let timestamp = recipe.timestamp.as_ref().map(|timestamp| timestamp.value(recipe, given, request)).transpose()?;
    let id = recipe.id_header.map(|header| only(request.headers, header)).transpose()?.unwrap_or_default();
    let filling = Filling { body: request.body, timestamp: timestamp.unwrap_or_default(), id, url: recipe.url };
    let parts = recipe.signed.fill(&filling).ok_or(MALFORMED)?;
    // One that cannot be read does not cost the others: it may be of a version that is yet to come.
    let signatures: Vec<_> = signatures.into_iter().filter_map(|text| recipe.decode(text)).collect();
    if signatures.is_empty() {
        return Err(MALFORMED);
    }
    one_of(&secrets, |secret| recipe.verifies(secret, &parts, &signatures))?;
    match (&recipe.timestamp, timestamp) {
        (Some(rule), Some(at)) => rule.is_fresh(at, request),
        _ => Ok(()),
    }
}

impl Place<'_> {
    fn value<'r>(&self, request: &Request<'r>) -> Result<&'r str, Doubt> {
        match *self {
            Self::Header(name) => only(request.headers, name),
            Self::Query(name) => only_parameter(request.query, name),
        }
    }
}

impl Form<'_> {
    fn signatures<'r>(&self, given: &'r str) -> Result<Vec<&'r str>, Doubt> {
        let signatures = match *self {
            Self::Bare => vec![given],
            Self::Prefix(prefix) => vec![given.strip_prefix(prefix).ok_or(MALFORMED)?],
            Self::List { name, .. } => self.items(given, name),
        };
        match signatures.len() {
            0 => Err(MISSING),
            1..=MAX_SIGNATURES => Ok(signatures),
            _ => Err(MALFORMED),
        }
    }

    /// The values that have this name in a list.
    fn items<'r>(&self, given: &'r str, wanted: &str) -> Vec<&'r str> {
        let Self::List { separator, assign, .. } = *self else { return Vec::new() };
        let items = given.split(separator).filter_map(|item| item.trim().split_once(assign));
        items.filter(|(name, _)| *name == wanted).map(|(_, value)| value).collect()
    }
}

impl Timestamp<'_> {
    /// The time as it was sent and signed.
    fn value<'r>(&self, recipe: &Recipe<'_>, given: &'r str, request: &Request<'r>) -> Result<&'r str, Doubt> {
        match self.from {
            Ok(header) => only(request.headers, header),
            Err(name) => match recipe.form.items(given, name)[..] {
                [time] => Ok(time),
                _ => Err(MALFORMED),
            },
        }
    }

    fn is_fresh(&self, at: &str, request: &Request<'_>) -> Result<(), Doubt> {
        let tolerance = TimeDelta::seconds(self.tolerance);
        match self.clock {
            Clock::Seconds => fresh(at, request.now, tolerance),
            Clock::Millis => fresh_millis(at, request.now, tolerance),
            Clock::Date => fresh_date(at, request.now, tolerance),
        }
    }
}

impl Recipe<'_> {
    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        if self.is_base64 { from_any_base64(text) } else { from_hex(text) }
    }

    pub(super) fn without_prefix<'t>(&self, secret: &'t str) -> &'t str {
        secret.strip_prefix(self.secret_prefix).unwrap_or(secret)
    }

    /// Whether one of these is the token that a secret stands for. None at all would be anybody's.
    fn is_token(&self, secret: &str, given: &[&str]) -> bool {
        let token = self.without_prefix(secret);
        !token.is_empty() && given.iter().any(|given| same(given, token))
    }

    /// The bytes that a secret stands for. None at all would sign for anybody.
    pub(super) fn bytes_of<'t>(&self, secret: &'t str) -> Option<Cow<'t, [u8]>> {
        let secret = self.without_prefix(secret);
        let bytes = match self.secret_form {
            "base64" => from_any_base64(secret)?.into(),
            "hex" => from_hex(secret)?.into(),
            "pem" => from_pem(secret)?.into(),
            _ => Cow::Borrowed(secret.as_bytes()),
        };
        (!bytes.is_empty()).then_some(bytes)
    }

    /// What can be said of a secret by its form alone.
    pub(super) fn form_of(&self, secret: &str) -> SecretForm {
        match (&self.algorithm, self.bytes_of(secret)) {
            (Algorithm::Equal, _) => SecretForm::Usual,
            (_, None) => SecretForm::Unusable("it is not written as the setting secret_form says"),
            (Algorithm::Hmac(_), Some(_)) => SecretForm::Usual,
            (Algorithm::Public(scheme), Some(key)) => {
                let key = scheme.key_of(&key).unwrap_or(&key);
                SecretForm::must(scheme.takes(key), "it is no public key of the setting algorithm")
            }
        }
    }

    fn verifies(&self, secret: &str, parts: &[&[u8]], signatures: &[Vec<u8>]) -> bool {
        let Some(key) = self.bytes_of(secret) else { return false };
        match self.algorithm {
            Algorithm::Hmac(algorithm) => signatures.iter().any(|tag| signed(algorithm, &key, parts, tag)),
            Algorithm::Public(scheme) => {
                let key = scheme.key_of(&key).unwrap_or(&key);
                signatures.iter().any(|signature| scheme.verifies(key, parts, signature))
            }
            Algorithm::Equal => false,
        }
    }
}
