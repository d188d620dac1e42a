//! A body, read as far as pointers lead into it.

use std::{cell::OnceCell, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::number::Decimal;

/// Something that JSON can say and no text can hold, such as half of a surrogate pair; or a number with an exponent beyond
/// all measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// A value inside a body. What it holds is read when it is first asked for, once.
#[derive(Debug)]
pub struct View<'b> {
    json: &'b str,
    inside: OnceCell<Inside<'b>>,
}

/// A value that was read.
pub(super) enum Found {
    Null,
    Bool(bool),
    Number(Decimal),
    Text(String),
    /// An object or an array: like nothing that a filter can name.
    Composite,
}

#[derive(Debug)]
enum Inside<'b> {
    Members(Vec<(String, View<'b>)>),
    Elements(Vec<View<'b>>),
    Nothing,
    Unreadable,
}

impl<'b> View<'b> {
    /// Looks at a body. However deep it is: nothing in it is looked into yet.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn of(body: &'b [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(body).map(Self::at)
    }

    fn at(json: &'b RawValue) -> Self {
        Self { json: json.get(), inside: OnceCell::new() }
    }

    /// It, as JSON.
    pub fn json(&self) -> &'b str {
        self.json
    }

    /// It, if it can be compared with something.
    pub(super) fn read(&self) -> Result<Found, Unreadable> {
        let found = match self.json.as_bytes().first() {
            Some(b'{' | b'[') => Some(Found::Composite),
            Some(b'"') => serde_json::from_str(self.json).ok().map(Found::Text),
            Some(b't' | b'f') => Some(Found::Bool(self.json == "true")),
            Some(b'n') => Some(Found::Null),
            _ => Decimal::of(self.json).map(Found::Number),
        };
        found.ok_or(Unreadable)
    }

    /// Of two members of one name the later one counts.
    fn get(&self, token: &str) -> Result<Option<&Self>, Unreadable> {
        match self.inside.get_or_init(|| Inside::of(self.json)) {
            Inside::Members(members) => Ok(members.iter().rfind(|(name, _)| name == token).map(|(_, member)| member)),
            Inside::Elements(elements) => Ok(index(token).and_then(|index| elements.get(index))),
            Inside::Nothing => Ok(None),
            Inside::Unreadable => Err(Unreadable),
        }
    }
}

impl<'b> Inside<'b> {
    fn of(json: &'b str) -> Self {
        let read = match json.as_bytes().first() {
            Some(b'{') => serde_json::from_str(json).map(|Members(members)| {
                Self::Members(members.into_iter().map(|(name, member)| (name, View::at(member))).collect())
            }),
            Some(b'[') => serde_json::from_str(json)
                .map(|elements: Vec<&RawValue>| Self::Elements(elements.into_iter().map(View::at).collect())),
            _ => Ok(Self::Nothing),
        };
        read.unwrap_or(Self::Unreadable)
    }
}

/// RFC 6901, 4: digits without leading zeros. `-`, the element behind the last, is never there.
fn index(token: &str) -> Option<usize> {
    let is_index = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    is_index.then(|| token.parse().ok()).flatten()
}

/// An object's members in the order in which they were written, each of them unparsed.
pub(super) struct Members<'b>(pub(super) Vec<(String, &'b RawValue)>);

impl<'b> Deserialize<'b> for Members<'b> {
    fn deserialize<D: Deserializer<'b>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'b> Visitor<'b> for InOrder {
    type Value = Members<'b>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<Members<'b>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// Where a value is: RFC 6901.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(into = "String")]
pub(super) struct Pointer {
    written: String,
    tokens: Vec<String>,
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.written
    }
}

impl Pointer {
    /// Reads `/data/message/kind`; `None` when it is no pointer.
    pub(super) fn parse(written: &str) -> Option<Self> {
        let rest = match written.strip_prefix('/') {
            None if written.is_empty() => return Some(Self { written: String::new(), tokens: Vec::new() }),
            rest => rest?,
        };
        let tokens = rest.split('/').map(unescaped).collect::<Option<_>>()?;
        Some(Self { written: written.to_owned(), tokens })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.written
    }

    /// What a body has there.
    pub(super) fn find<'v, 'b>(&self, body: &'v View<'b>) -> Result<Option<&'v View<'b>>, Unreadable> {
        let mut at = body;
        for token in &self.tokens {
            match at.get(token)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }
}

/// RFC 6901, 3: `~1` is a slash, `~0` a tilde, and no tilde stands for itself.
fn unescaped(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = part.split_at_checked(1)?;
        text.push(match escaped {
            "0" => '~',
            "1" => '/',
            _ => return None,
        });
        text.push_str(rest);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pointer: &str, body: &str) -> Result<Option<String>, Unreadable> {
        let view = View::of(body.as_bytes()).unwrap();
        let found = Pointer::parse(pointer).unwrap().find(&view)?;
        Ok(found.map(|found| found.json().to_owned()))
    }

    /// RFC 6901, 5.
    #[test]
    fn pointers_lead_where_the_rfc_says() {
        let body = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;

        for (pointer, there) in [
            ("", body),
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(found(pointer, body), Ok(Some(there.to_owned())), "{pointer}");
        }
        for nowhere in
            ["/foo/2", "/foo/-", "/foo/01", "/foo/+1", "/foo/", "/foo/0/x", "/bar", "/foo/99999999999999999999"]
        {
            assert_eq!(found(nowhere, body), Ok(None), "{nowhere}");
        }
        for none in ["foo", "/m~n", "/~", "/~2", "#/foo"] {
            assert_eq!(Pointer::parse(none), None, "{none}");
        }
    }

    #[test]
    fn what_cannot_be_read_stops_only_those_who_come_by() {
        let body = r#"{"a": {"\ud800": 1, "b": 2}, "c": "\udc00", "d": {"e": "\u0000"}}"#;

        assert_eq!(found("/a/b", body), Err(Unreadable));
        assert_eq!(found("/c", body), Ok(Some(r#""\udc00""#.to_owned())));
        assert_eq!(found("/d/e", body), Ok(Some(r#""\u0000""#.to_owned())));
    }

    #[test]
    fn of_two_members_of_one_name_the_later_counts() {
        assert_eq!(found("/a", r#"{"a": 1, "a": 2}"#), Ok(Some("2".to_owned())));
    }

    #[test]
    fn no_body_is_too_deep_to_be_looked_at() {
        let body = format!(r#"{{"deep": {}{}, "kind": 1}}"#, "[".repeat(100_000), "]".repeat(100_000));

        assert_eq!(found("/kind", &body), Ok(Some("1".to_owned())));
        assert_eq!(found("/deep/0/0/1", &body), Ok(None));
    }
}
