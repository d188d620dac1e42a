//! A part of a body that has not been parsed yet.

use std::{borrow::Cow, collections::BTreeMap, fmt::Display, rc::Rc};

use bytes::Bytes;
use serde_json::Value;
use vocabulary::Rejection;

use super::{
    Fault, Json, Path, Text,
    parts::{Part, text_of},
    text::MAX_ELEMENTS,
    value::number,
};
use crate::reason;

/// How deeply a part may be nested. serde_json itself gives up at 128; what we keep of a part is later read as part of
/// something larger, and needs room for that.
const MAX_DEPTH: usize = 100;

/// A part of a body: where its text is, and what it is called.
#[derive(Clone)]
pub(crate) struct Node<'t> {
    text: &'t Text<'t>,
    part: Part<'t>,
    path: Path<'t>,
}

/// An object whose members have not been parsed yet. Of two members of one name the later one counts.
pub(crate) struct Object<'t> {
    text: &'t Text<'t>,
    path: Rc<Path<'t>>,
    members: Vec<(Cow<'t, str>, Part<'t>)>,
}

impl<'t> Node<'t> {
    pub(super) fn root(text: &'t Text<'t>, part: Part<'t>) -> Self {
        Self { text, part, path: Path::default() }
    }

    /// What it is called: `entry[0].changes[1]`.
    pub(crate) fn path(&self) -> &Path<'t> {
        &self.path
    }

    /// Its bytes as they were sent, a slice of the body.
    pub(crate) fn raw(&self) -> Bytes {
        self.text.bytes_of(self.part.json)
    }

    /// Rejects it, and nothing around it.
    pub(crate) fn reject(&self, fault: Fault) -> Rejection {
        fault.rejects_item(self.raw())
    }

    /// Its members.
    ///
    /// # Errors
    /// When it is no object.
    pub(crate) fn object(&self) -> Result<Object<'t>, Fault> {
        let members = self.part.members().ok_or_else(|| self.wrong_type("an object"))?;
        let members = members.map(|(name, part)| (text_of(name), part)).collect();
        Ok(Object { text: self.text, path: Rc::new(self.path.clone()), members })
    }

    /// Its elements.
    ///
    /// # Errors
    /// When it is no array, or the lists of the body are too long altogether.
    pub(crate) fn elements(&self) -> Result<Vec<Self>, Fault> {
        let count = self.peek()?.count();
        if !self.text.takes(count) {
            let what = format_args!("with {count} more there would be over {MAX_ELEMENTS}");
            return Err(Fault::at(&self.path, reason::TOO_MANY, what));
        }
        Ok(self.peek()?.collect())
    }

    /// Its elements, to be looked at beside the reading: they do not count towards how many a body may have.
    ///
    /// # Errors
    /// When it is no array.
    pub(crate) fn peek(&self) -> Result<impl Iterator<Item = Self>, Fault> {
        let elements = self.part.elements().ok_or_else(|| self.wrong_type("an array"))?;
        let (text, path) = (self.text, Rc::new(self.path.clone()));
        Ok(elements.enumerate().map(move |(index, part)| Self { text, part, path: Path::element(&path, index) }))
    }

    /// All of it, parsed.
    ///
    /// # Errors
    /// When it is nested too deeply, is no UTF-8, or holds a number out of range.
    pub(crate) fn value(&self) -> Result<Json<'t>, Fault> {
        if !self.text.is_utf8(self.part.json) {
            return Err(Fault::at(&self.path, reason::NOT_UTF8, "some of its bytes are not UTF-8"));
        }
        must_be_shallow(self.part.json, &self.path)?;
        self.json(self.part)
    }

    /// A part of it, parsed. The syntax is known to be right.
    fn json(&self, part: Part<'t>) -> Result<Json<'t>, Fault> {
        if let Some(members) = part.members() {
            let members = members.map(|(name, part)| Ok((self.name(name), self.json(part)?)));
            return members.collect::<Result<_, _>>().map(Json::Object);
        }
        if let Some(elements) = part.elements() {
            return elements.map(|part| self.json(part)).collect::<Result<_, _>>().map(Json::Array);
        }
        match part.json {
            "null" => Ok(Json::Null),
            "true" => Ok(Json::Bool(true)),
            "false" => Ok(Json::Bool(false)),
            text if text.starts_with('"') => Ok(self.string(text)),
            digits if number(digits).is_some() => Ok(Json::Number(digits)),
            _ => Err(Fault::at(&self.path, reason::UNREADABLE_NUMBER, "number out of range")),
        }
    }

    fn string(&self, json: &'t str) -> Json<'t> {
        let text = text_of(json);
        match self.text.mended_from(json) {
            Some(written) => Json::Mended(text.into_owned(), written),
            None => Json::Text(text),
        }
    }

    /// A name as it reads; of one with half a character in it, as it is written: two of them may read the same.
    fn name(&self, json: &'t str) -> Cow<'t, str> {
        self.text.mended_from(json).map_or_else(|| text_of(json), Cow::Borrowed)
    }

    /// It as a text.
    ///
    /// # Errors
    /// When it is no string.
    pub(crate) fn text(&self) -> Result<String, Fault> {
        serde_json::from_str(self.part.json).map_err(|_| self.wrong_type("a string"))
    }

    /// Whether it is an array.
    pub(crate) fn is_array(&self) -> bool {
        self.part.json.starts_with('[')
    }

    fn wrong_type(&self, expected: &str) -> Fault {
        let found = match self.part.json.as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "nothing",
            _ => "a number",
        };
        Fault::wrong_type(&self.path, expected, found)
    }
}

impl<'t> Object<'t> {
    /// A member, unless it is missing or `null`.
    pub(crate) fn get(&self, name: &str) -> Option<Node<'t>> {
        let (name, part) = self.members.iter().rfind(|(known, _)| known == name)?;
        self.node(name, *part)
    }

    /// A member that must be there.
    ///
    /// # Errors
    /// When it is missing or `null`.
    pub(crate) fn require(&self, name: &str, expected: &str) -> Result<Node<'t>, Fault> {
        self.get(name).ok_or_else(|| Fault::wrong_type(Path::member(&self.path, name), expected, "nothing"))
    }

    /// All that can be got, sorted by name.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, Node<'t>)> {
        let members: BTreeMap<_, _> = self.members.iter().map(|(name, part)| (name, *part)).collect();
        members.into_iter().filter_map(|(name, part)| Some((name.as_ref(), self.node(name, part)?)))
    }

    fn node(&self, name: &Cow<'t, str>, part: Part<'t>) -> Option<Node<'t>> {
        let path = || Path::member(&self.path, name.clone());
        (part.json != "null").then(|| Node { text: self.text, part, path: path() })
    }
}

/// What a text that is JSON says. Its path is only for the fault.
///
/// # Errors
/// When it is no JSON, is nested too deeply, or holds a number out of range.
pub(crate) fn parse(json: &str, path: impl Display) -> Result<Value, Fault> {
    must_be_shallow(json, &path)?;
    serde_json::from_str(json).map_err(|error| Fault::at(path, reason::NOT_JSON, error))
}

fn must_be_shallow(json: &str, path: impl Display) -> Result<(), Fault> {
    let what = format_args!("nested more than {MAX_DEPTH} deep");
    if is_deeper_than(MAX_DEPTH, json) { Err(Fault::at(path, reason::TOO_DEEP, what)) } else { Ok(()) }
}

fn is_deeper_than(limit: usize, json: &str) -> bool {
    // Nearly nothing opens so many brackets at all, and they are counted much faster than followed.
    if json.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() <= limit {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    json.bytes().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > limit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_can_be_reached_however_deep_its_neighbour_is() {
        let body = Bytes::from(format!(r#"{{"a": {}{}, "b": [1, {{"c": 2}}]}}"#, "[".repeat(500), "]".repeat(500)));
        let text = Text::of(&body);
        let root = text.root().unwrap().object().unwrap();

        let c = root.get("b").unwrap().elements().unwrap()[1].object().unwrap().get("c").unwrap();

        assert_eq!((&c.path().to_string()[..], &c.raw()[..]), ("b[1].c", &b"2"[..]));
        assert_eq!(root.get("a").unwrap().value().unwrap_err().reason, reason::TOO_DEEP);
    }

    #[test]
    fn brackets_inside_strings_are_not_counted() {
        let json = format!(r#"["\"{}", "\\"]"#, "[".repeat(500));
        assert!(parse(&json, "").is_ok());
    }

    #[test]
    fn of_two_members_of_one_name_the_later_counts_and_null_is_nothing() {
        let body = Bytes::from_static(br#"{"a": 1, "a": 2, "b": null}"#);
        let text = Text::of(&body);
        let root = text.root().unwrap().object().unwrap();

        assert_eq!(root.get("a").unwrap().raw(), "2");
        assert!(root.get("b").is_none());
    }
}
