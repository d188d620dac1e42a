//! A request as the sender would send it, made of what its source was told.

use chrono::{DateTime, SecondsFormat, Utc};
use form_urlencoded::Serializer;
use http::HeaderName;
use serde_json::{Value, json};

use super::{
    recipe::{Algorithm, Clock, Form, Known, Place, Recipe, Timestamp},
    template::Filling,
};
use crate::{
    Sample,
    request::Signed,
    signature::{sign, to_base64, to_hex},
};

const KIND: &str = "latchhook.sample";

/// `None` where the secret, or what it comes to, cannot be sent or used.
pub(super) fn of(recipe: &Recipe<'_>, secret: &str, sample: &Sample<'_>) -> Option<Signed> {
    let body = body(recipe, sample.id);
    let time = recipe.timestamp.as_ref().map(|timestamp| timestamp.written(sample.now)).unwrap_or_default();
    let proof = recipe.form.around(&recipe.proof(secret, body.as_bytes(), &time, sample.id)?, recipe, &time);
    let mut signed = Signed::json(body, &[])?;
    let timestamp = recipe.timestamp.as_ref().and_then(|timestamp| timestamp.from.ok());
    let mut headers = vec![(recipe.id_header, sample.id), (timestamp, &time)];
    headers.push((recipe.key.header(), sample.id));
    headers.push((recipe.kind.as_ref().and_then(Known::header), KIND));
    match recipe.place {
        Place::Header(name) => headers.push((Some(name), &proof)),
        Place::Query(name) => {
            signed.query = format!("?{}", Serializer::new(String::new()).append_pair(name, &proof).finish());
        }
    }
    for (name, value) in headers.into_iter().filter_map(|(name, value)| Some((name?, value))) {
        signed.headers.insert(name.parse::<HeaderName>().ok()?, value.parse().ok()?);
    }
    Some(signed)
}

/// The last part of the key comes last: where its pointer is that of the kind or leads through it, the event is known by its id,
/// whatever its kind is then.
fn body(recipe: &Recipe<'_>, id: &str) -> String {
    let mut body = json!({"latchhook_sample": id, "says": "A sample, sent by latchhook source test"});
    for pointer in pointers(Some(&recipe.key)) {
        put(&mut body, pointer, id);
    }
    for pointer in pointers(recipe.kind.as_ref()) {
        put(&mut body, pointer, KIND);
    }
    if let Some(pointer) = pointers(Some(&recipe.key)).last() {
        put(&mut body, pointer, id);
    }
    body.to_string()
}

fn pointers<'r>(known: Option<&'r Known<'_>>) -> &'r [&'r str] {
    if let Some(Known::Pointers(pointers)) = known { pointers } else { &[] }
}

/// Puts a text where a JSON pointer points to. What it leads through becomes an object.
fn put(body: &mut Value, pointer: &str, text: &str) {
    let mut place = body;
    for step in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[step.replace("~1", "/").replace("~0", "~")];
    }
    *place = text.into();
}

impl Timestamp<'_> {
    fn written(&self, now: DateTime<Utc>) -> String {
        match self.clock {
            Clock::Seconds => now.timestamp().to_string(),
            Clock::Millis => now.timestamp_millis().to_string(),
            Clock::Date => now.to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }
}

impl Recipe<'_> {
    /// The signature, or the token that stands for one.
    fn proof(&self, secret: &str, body: &[u8], timestamp: &str, id: &str) -> Option<String> {
        match self.algorithm {
            Algorithm::Hmac(algorithm) => {
                let parts = self.signed.fill(&Filling { body, timestamp, id, url: self.url })?;
                let tag = sign(algorithm, &self.bytes_of(secret)?, &parts);
                Some(if self.is_base64 { to_base64(&tag) } else { to_hex(&tag) })
            }
            Algorithm::Equal => Some(self.without_prefix(secret).to_owned()),
            Algorithm::Public(_) => None,
        }
    }
}

impl Form<'_> {
    fn around(&self, proof: &str, recipe: &Recipe<'_>, time: &str) -> String {
        match *self {
            Self::Bare => proof.to_owned(),
            Self::Prefix(prefix) => format!("{prefix}{proof}"),
            Self::List { separator, assign, name } => {
                let time_name = recipe.timestamp.as_ref().and_then(|timestamp| timestamp.from.err());
                let time = time_name.map(|name| format!("{name}{assign}{time}{separator}"));
                format!("{}{name}{assign}{proof}", time.unwrap_or_default())
            }
        }
    }
}
