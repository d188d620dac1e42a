//! Settings that have been read, and go together.

use serde_json::{Map, Value};

use super::template::{Part, Template};
use crate::{SettingsError, public::Scheme};

/// What a source was told.
pub(super) struct Recipe<'s> {
    pub algorithm: Algorithm,
    pub signed: Template<'s>,
    pub place: Place<'s>,
    pub form: Form<'s>,
    pub is_base64: bool,
    pub timestamp: Option<Timestamp<'s>>,
    pub id_header: Option<&'s str>,
    pub url: &'s str,
    pub secret_form: &'s str,
    pub secret_prefix: &'s str,
    pub key: Known<'s>,
    pub kind: Option<Known<'s>>,
}

/// How it is signed.
#[derive(Clone, Copy)]
pub(super) enum Algorithm {
    Hmac(ring::hmac::Algorithm),
    Public(Scheme),
    /// Not at all: a token is sent.
    Equal,
}

/// Where something is that came beside the body.
pub(super) enum Place<'s> {
    Header(&'s str),
    Query(&'s str),
}

/// What stands around a signature.
pub(super) enum Form<'s> {
    Bare,
    Prefix(&'s str),
    List { separator: &'s str, assign: &'s str, name: &'s str },
}

/// The time of signing.
pub(super) struct Timestamp<'s> {
    /// The header, or the name in the list of signatures.
    pub from: Result<&'s str, &'s str>,
    pub clock: Clock,
    /// Seconds.
    pub tolerance: i64,
}

/// How that time is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    /// RFC 3339.
    Date,
}

/// Where an event says what it is known by, or of what kind it is.
pub(super) enum Known<'s> {
    Header(&'s str),
    /// All of these together.
    Pointers(Vec<&'s str>),
    Hash,
}

/// Says with a sentence what does not go together.
type Unfit = String;

impl<'s> Recipe<'s> {
    /// Reads settings whose values are of their types.
    ///
    /// # Errors
    /// Names the setting that is missing, or does not go with the others, and says why.
    pub(super) fn of(settings: &'s Map<String, Value>) -> Result<Self, SettingsError> {
        Given(settings).recipe().map_err(SettingsError::Unfit)
    }
}

struct Given<'s>(&'s Map<String, Value>);

impl<'s> Given<'s> {
    fn recipe(&self) -> Result<Recipe<'s>, Unfit> {
        let algorithm = self.algorithm()?;
        let signed = self.signed(algorithm)?;
        Ok(Recipe {
            algorithm,
            place: self.place()?,
            form: self.form()?,
            is_base64: self.text("encoding") == Some("base64"),
            timestamp: self.timestamp(&signed)?,
            id_header: self.goes_with(&signed, Part::Id, "id_header", "{id}")?,
            url: self.goes_with(&signed, Part::Url, "url", "{url}")?.unwrap_or_default(),
            secret_form: self.secret_form(algorithm)?,
            secret_prefix: self.text("secret_prefix").unwrap_or_default(),
            key: self.key()?,
            kind: self.one_of("kind_header", "kind_pointer")?,
            signed,
        })
    }

    fn text(&self, name: &str) -> Option<&'s str> {
        self.0.get(name).and_then(Value::as_str)
    }

    fn algorithm(&self) -> Result<Algorithm, Unfit> {
        Ok(match self.text("algorithm").unwrap_or_default() {
            "hmac-sha256" => Algorithm::Hmac(ring::hmac::HMAC_SHA256),
            "hmac-sha1" => Algorithm::Hmac(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            "hmac-sha512" => Algorithm::Hmac(ring::hmac::HMAC_SHA512),
            "ed25519" => Algorithm::Public(Scheme::Ed25519),
            "ecdsa-p256" => Algorithm::Public(Scheme::P256),
            "rsa-sha256" => Algorithm::Public(Scheme::Rsa),
            "equal" => Algorithm::Equal,
            _ => return Err("algorithm must say how requests are signed".into()),
        })
    }

    fn signed(&self, algorithm: Algorithm) -> Result<Template<'s>, Unfit> {
        if matches!(algorithm, Algorithm::Equal) {
            let useless = ["signed", "encoding", "secret_form"].into_iter().find(|name| self.0.contains_key(*name));
            return match useless {
                Some(name) => Err(format!("{name} goes with a signature: algorithm equal has none")),
                None => Template::read("", false),
            };
        }
        let signed = Template::read(self.text("signed").unwrap_or("{body}"), self.clock() == Clock::Date)?;
        if signed.has(Part::Body) {
            Ok(signed)
        } else {
            Err("signed must hold {body}: else whoever has seen a signature can send any body with it".into())
        }
    }

    fn clock(&self) -> Clock {
        match self.text("timestamp_form") {
            Some("unix_ms") => Clock::Millis,
            Some("rfc3339") => Clock::Date,
            _ => Clock::Seconds,
        }
    }

    fn place(&self) -> Result<Place<'s>, Unfit> {
        match (self.text("signature_header"), self.text("signature_query")) {
            (Some(name), None) => Ok(Place::Header(name)),
            (None, Some(name)) => Ok(Place::Query(name)),
            _ => Err("either signature_header or signature_query must say where the signature is".into()),
        }
    }

    fn form(&self) -> Result<Form<'s>, Unfit> {
        let form = self.text("form").unwrap_or("bare");
        for (name, its_form) in [
            ("prefix", "prefix"),
            ("list_separator", "list"),
            ("list_assign", "list"),
            ("list_name", "list"),
            ("timestamp_name", "list"),
        ] {
            if self.0.contains_key(name) && form != its_form {
                return Err(format!("{name} goes with form {its_form}, and form is {form}"));
            }
        }
        let needed = |name: &str| self.text(name).ok_or_else(|| format!("form {form} needs the setting {name}"));
        match form {
            "prefix" => Ok(Form::Prefix(needed("prefix")?)),
            "list" => Ok(Form::List {
                separator: needed("list_separator")?,
                assign: needed("list_assign")?,
                name: needed("list_name")?,
            }),
            _ => Ok(Form::Bare),
        }
    }

    /// A time that is not signed can be changed by whoever sends the request again.
    fn timestamp(&self, signed: &Template<'_>) -> Result<Option<Timestamp<'s>>, Unfit> {
        let from = match (self.text("timestamp_header"), self.text("timestamp_name")) {
            (Some(_), Some(_)) => return Err("timestamp_header and timestamp_name cannot both say the time".into()),
            (Some(header), None) => Some(Ok(header)),
            (None, name) => name.map(Err),
        };
        match (from, signed.has(Part::Timestamp)) {
            (None, true) => {
                Err("signed has {timestamp}: timestamp_header or timestamp_name must say where it is".into())
            }
            (Some(_), false) => Err("signed must hold {timestamp}: a time that is not signed proves nothing".into()),
            (None, false) => {
                match ["tolerance", "timestamp_form"].into_iter().find(|name| self.0.contains_key(*name)) {
                    Some(name) => Err(format!("{name} goes with timestamp_header or timestamp_name")),
                    None => Ok(None),
                }
            }
            (Some(from), true) => Ok(Some(Timestamp {
                from,
                clock: self.clock(),
                tolerance: self.0.get("tolerance").and_then(Value::as_i64).unwrap_or(300),
            })),
        }
    }

    fn goes_with(
        &self,
        signed: &Template<'_>,
        part: Part<'_>,
        name: &str,
        place: &str,
    ) -> Result<Option<&'s str>, Unfit> {
        match (self.text(name), signed.has(part)) {
            (None, true) => Err(format!("signed has {place}, which needs the setting {name}")),
            (Some(_), false) => Err(format!("{name} goes with {place} in signed")),
            (given, _) => Ok(given),
        }
    }

    fn secret_form(&self, algorithm: Algorithm) -> Result<&'s str, Unfit> {
        match (algorithm, self.text("secret_form")) {
            (Algorithm::Public(_), Some("literal")) => {
                Err("secret_form must be base64, hex or pem for a public key".into())
            }
            (Algorithm::Public(_), form) => Ok(form.unwrap_or("base64")),
            (_, Some("pem")) => Err("secret_form pem goes with a public key".into()),
            (_, form) => Ok(form.unwrap_or("literal")),
        }
    }

    fn key(&self) -> Result<Known<'s>, Unfit> {
        let hash = self.0.contains_key("key_hash").then_some(Known::Hash);
        let key = match (self.one_of("key_header", "key_pointer")?, hash) {
            (Some(key), None) | (None, Some(key)) => key,
            (None, None) => {
                return Err(
                    "key_header or key_pointer must say what an event is known by; or key_hash, if it has no id".into(),
                );
            }
            (Some(_), Some(_)) => return Err("key_hash goes without key_header and key_pointer".into()),
        };
        let changing = ["signature_header", "timestamp_header"]
            .into_iter()
            .find(|name| matches!(key, Known::Header(header) if self.text(name) == Some(header)));
        match changing {
            Some(name) => {
                Err(format!("key_header must be another than {name}, which changes when the same is sent again"))
            }
            None => Ok(key),
        }
    }

    fn one_of(&self, header: &str, pointer: &str) -> Result<Option<Known<'s>>, Unfit> {
        match (self.text(header), self.texts(pointer)) {
            (Some(_), Some(_)) => Err(format!("{header} and {pointer} cannot both be given")),
            (header, pointers) => Ok(header.map(Known::Header).or(pointers.map(Known::Pointers))),
        }
    }

    /// One text, or a list of them.
    fn texts(&self, name: &str) -> Option<Vec<&'s str>> {
        match self.0.get(name)? {
            Value::Array(texts) => texts.iter().map(Value::as_str).collect(),
            text => text.as_str().map(|text| vec![text]),
        }
    }
}
