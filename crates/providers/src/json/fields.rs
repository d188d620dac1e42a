//! An object that has been parsed.

use std::{borrow::Cow, fmt::Display};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use vocabulary::{Key, KeyError};

use super::{
    Fault, Json, Path, canonical,
    fault::type_of,
    value::{Member, member},
};
use crate::{reason, single::sha256};

/// The first second that RFC 3339 has no year for.
const YEAR_10000: i64 = 253_402_300_800;

/// An object's members, and what it is called.
pub(crate) struct Fields<'v> {
    members: &'v [Member<'v>],
    path: Path<'v>,
}

impl<'v> Fields<'v> {
    /// Takes a value that must be an object.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn of(value: &'v Json<'v>, path: Path<'v>) -> Result<Self, Fault> {
        match value.as_object() {
            Some(members) => Ok(Self { members, path }),
            None => Err(Fault::wrong_type(path, "an object", type_of(value))),
        }
    }

    /// A member, unless it is missing or `null`.
    pub(crate) fn get(&self, name: &str) -> Option<&'v Json<'v>> {
        member(self.members, name).filter(|value| !value.is_null())
    }

    /// A text.
    ///
    /// # Errors
    /// When it is there and no string.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&'v str>, Fault> {
        self.get(name).map(|value| value.as_str().ok_or_else(|| self.wrong_type(name, "a string"))).transpose()
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// When it is missing or no string.
    pub(crate) fn required_text(&self, name: &str) -> Result<&'v str, Fault> {
        self.text(name)?.ok_or_else(|| self.wrong_type(name, "a string"))
    }

    /// A text that may be missing, but not `null`: a word that decides what the rest is.
    ///
    /// # Errors
    /// When it is there and no string.
    pub(crate) fn word(&self, name: &str) -> Result<Option<&'v str>, Fault> {
        let word = |value: &'v Json<'v>| value.as_str().ok_or_else(|| self.wrong_type(name, "a string"));
        member(self.members, name).map(word).transpose()
    }

    /// A text, or a number as it is written.
    ///
    /// # Errors
    /// When it is there and neither.
    pub(crate) fn text_or_number(&self, name: &str) -> Result<Option<Cow<'v, str>>, Fault> {
        let text = |value: &Json<'v>| value.loose_text().ok_or_else(|| self.wrong_type(name, "a string or a number"));
        self.get(name).map(text).transpose()
    }

    /// A text that only describes: whatever is no text is left out.
    pub(crate) fn loose_text(&self, name: &str) -> Option<Cow<'v, str>> {
        self.get(name).and_then(Json::loose_text)
    }

    /// An id that must be there, and that can be a key.
    ///
    /// # Errors
    /// When it is missing, no string, or cannot be a key.
    pub(crate) fn id(&self, name: &str) -> Result<&'v str, Fault> {
        let id = self.text(name)?.unwrap_or_default();
        usable(id).map(|()| id).map_err(|(reason, what)| self.fault(name, reason, what))
    }

    /// The key that is made of the member `name`.
    ///
    /// # Errors
    /// When the text cannot be a key.
    pub(crate) fn key(&self, name: &str, text: impl Into<String>) -> Result<Key, Fault> {
        new_key(text).map_err(|(reason, what)| self.fault(name, reason, what))
    }

    /// An object inside.
    ///
    /// # Errors
    /// When it is there and no object.
    pub(crate) fn fields<'n>(&self, name: &'n str) -> Result<Option<Fields<'n>>, Fault>
    where
        'v: 'n,
    {
        self.get(name).map(|value| Fields::of(value, self.path.join(name))).transpose()
    }

    /// An object inside that must be there.
    ///
    /// # Errors
    /// When it is missing or no object.
    pub(crate) fn required_fields<'n>(&self, name: &'n str) -> Result<Fields<'n>, Fault>
    where
        'v: 'n,
    {
        self.fields(name)?.ok_or_else(|| self.wrong_type(name, "an object"))
    }

    /// A list inside, empty where there is none.
    ///
    /// # Errors
    /// When it is there and no array.
    pub(crate) fn list(&self, name: &str) -> Result<&'v [Json<'v>], Fault> {
        let elements = |value: &'v Json<'v>| value.as_array().ok_or_else(|| self.wrong_type(name, "an array"));
        Ok(self.get(name).map(elements).transpose()?.unwrap_or_default())
    }

    /// What has other names than these; `None` if there is nothing else.
    pub(crate) fn all_but(&self, names: &[&str]) -> Option<Value> {
        let mut rest: Map<String, Value> =
            self.others(names).map(|(name, value)| (name.to_string(), value.into())).collect();
        rest.retain(|_, value| !value.is_null());
        (!rest.is_empty()).then_some(Value::Object(rest))
    }

    /// The SHA-256 of what it says beside these members, in hexadecimal: what something is known by that has no id. Neither
    /// the order of its members nor white space changes it. Leave out what a retry changes.
    pub(crate) fn hash_of_all_but(&self, names: &[&str]) -> String {
        sha256(canonical(&Json::Object(self.others(names).cloned().collect())))
    }

    fn others(&self, names: &[&str]) -> impl Iterator<Item = &'v Member<'v>> {
        self.members.iter().filter(|(name, _)| !names.contains(&name.as_ref()))
    }

    /// What is wrong with a member.
    pub(crate) fn fault(&self, name: &str, reason: &'static str, what: impl Display) -> Fault {
        Fault::at(self.path.join(name), reason, what)
    }

    /// A member is not what it must be.
    pub(crate) fn wrong_type(&self, name: &str, expected: &str) -> Fault {
        Fault::wrong_type(self.path.join(name), expected, self.get(name).map_or("nothing", type_of))
    }
}

/// A key made of what stands at `path`.
///
/// # Errors
/// When the text cannot be a key, or something in it could not be read: two such texts may read the same.
pub(crate) fn key(path: &Path<'_>, text: impl Into<String>) -> Result<Key, Fault> {
    new_key(text).map_err(|(reason, what)| Fault::at(path, reason, what))
}

/// Why a text cannot be a key: one of [`reason`], and particulars.
type Unusable = (&'static str, String);

fn new_key(text: impl Into<String>) -> Result<Key, Unusable> {
    let key = Key::new(text).map_err(|error| no_key(&error))?;
    readable(key.as_str()).map(|()| key)
}

fn usable(text: &str) -> Result<(), Unusable> {
    Key::check(text).map_err(|error| no_key(&error))?;
    readable(text)
}

fn readable(text: &str) -> Result<(), Unusable> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err((reason::UNUSABLE_ID, "it holds U+FFFD, which stands for what cannot be read".to_owned()));
    }
    Ok(())
}

fn no_key(error: &KeyError) -> Unusable {
    let reason = if *error == KeyError::Empty { reason::MISSING_ID } else { reason::UNUSABLE_ID };
    (reason, error.to_string())
}

/// A time in seconds since 1970, as a number or a string. What no RFC 3339 date can say is no time.
pub(crate) fn unix_time(value: &Json<'_>) -> Option<DateTime<Utc>> {
    let seconds = integer(value).filter(|seconds| (0..YEAR_10000).contains(seconds))?;
    DateTime::from_timestamp(seconds, 0)
}

/// The same in milliseconds.
pub(crate) fn unix_millis(value: &Json<'_>) -> Option<DateTime<Utc>> {
    let millis = integer(value).filter(|millis| (0..YEAR_10000 * 1000).contains(millis))?;
    DateTime::from_timestamp_millis(millis)
}

fn integer(value: &Json<'_>) -> Option<i64> {
    match value {
        Json::Text(text) => text.parse().ok(),
        Json::Number(digits) => digits.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::json::Text;

    fn unix_time(value: &Value) -> Option<DateTime<Utc>> {
        let body = Bytes::from(value.to_string());
        super::unix_time(&Text::of(&body).root().unwrap().value().unwrap())
    }

    #[test]
    fn a_time_is_a_number_or_a_string_and_an_absurd_one_is_none() {
        let at = DateTime::from_timestamp(1_771_000_000, 0);
        assert_eq!(unix_time(&json!("1771000000")), at);
        assert_eq!(unix_time(&json!(1_771_000_000)), at);

        for absurd in
            [json!(""), json!("soon"), json!(-1), json!(1e300), json!(u64::MAX), json!(YEAR_10000), json!([1])]
        {
            assert_eq!(unix_time(&absurd), None, "{absurd}");
        }
    }
}
