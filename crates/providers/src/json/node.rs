//! A part of a body that has not been parsed yet.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, value::RawValue};
use vocabulary::Rejection;

use super::{Fault, Text, text::MAX_ELEMENTS};
use crate::reason;

/// How deeply a part may be nested. serde_json itself gives up at 128; what we keep of a part is later read as part of
/// something larger, and needs room for that.
const MAX_DEPTH: usize = 100;

/// Characters of a name that a path shows.
const MAX_NAME: usize = 64;

/// A part of a body: where its text is, and what it is called.
#[derive(Clone)]
pub(crate) struct Node<'t> {
    text: &'t Text<'t>,
    json: &'t str,
    path: String,
}

/// An object whose members have not been parsed yet. Of two members of one name the later one counts.
pub(crate) struct Object<'t> {
    node: Node<'t>,
    members: BTreeMap<String, &'t RawValue>,
}

impl<'t> Node<'t> {
    pub(super) fn root(text: &'t Text<'t>, json: &'t str) -> Result<Self, Fault> {
        // Skips over the values without looking into them, so no depth is too deep.
        let raw: &RawValue = serde_json::from_str(json).map_err(|error| Fault::at("", reason::NOT_JSON, error))?;
        Ok(Self { text, json: raw.get(), path: String::new() })
    }

    fn child(&self, raw: &'t RawValue, path: String) -> Self {
        Self { text: self.text, json: raw.get(), path }
    }

    /// What it is called: `entry[0].changes[1]`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Its bytes as they were sent, a slice of the body.
    pub(crate) fn raw(&self) -> Bytes {
        self.text.bytes_of(self.json)
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
        let members = serde_json::from_str(self.json).map_err(|_| self.wrong_type("an object"))?;
        Ok(Object { node: self.clone(), members })
    }

    /// Its elements.
    ///
    /// # Errors
    /// When it is no array, or the lists of the body are too long altogether.
    pub(crate) fn elements(&self) -> Result<Vec<Self>, Fault> {
        let elements = self.peek()?;
        if !self.text.takes(elements.len()) {
            let what = format_args!("with {} more there would be over {MAX_ELEMENTS}", elements.len());
            return Err(Fault::at(&self.path, reason::TOO_MANY, what));
        }
        Ok(elements.collect())
    }

    /// Its elements, to be looked at beside the reading: they do not count towards how many a body may have.
    ///
    /// # Errors
    /// When it is no array.
    pub(crate) fn peek(&self) -> Result<impl ExactSizeIterator<Item = Self>, Fault> {
        let elements: Vec<&RawValue> = serde_json::from_str(self.json).map_err(|_| self.wrong_type("an array"))?;
        let numbered = elements.into_iter().enumerate();
        Ok(numbered.map(|(index, raw)| self.child(raw, format!("{}[{index}]", self.path))))
    }

    /// All of it, parsed.
    ///
    /// # Errors
    /// When it is nested too deeply, is no UTF-8, or holds a number out of range.
    pub(crate) fn value(&self) -> Result<Value, Fault> {
        if !self.text.is_utf8(self.json) {
            return Err(Fault::at(&self.path, reason::NOT_UTF8, "some of its bytes are not UTF-8"));
        }
        parse(self.json, &self.path)
    }

    /// It as a text.
    ///
    /// # Errors
    /// When it is no string.
    pub(crate) fn text(&self) -> Result<String, Fault> {
        serde_json::from_str(self.json).map_err(|_| self.wrong_type("a string"))
    }

    /// Whether it is an array.
    pub(crate) fn is_array(&self) -> bool {
        self.json.starts_with('[')
    }

    fn wrong_type(&self, expected: &str) -> Fault {
        let found = match self.json.as_bytes().first() {
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
        let raw = self.members.get(name).filter(|raw| raw.get() != "null")?;
        Some(self.node.child(raw, self.path_of(name)))
    }

    /// A member that must be there.
    ///
    /// # Errors
    /// When it is missing or `null`.
    pub(crate) fn require(&self, name: &str, expected: &str) -> Result<Node<'t>, Fault> {
        self.get(name).ok_or_else(|| Fault::wrong_type(&self.path_of(name), expected, "nothing"))
    }

    /// The names of its members, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    fn path_of(&self, name: &str) -> String {
        // Every element below carries its path, so nobody's name may make it long.
        let end = name.char_indices().nth(MAX_NAME).map_or(name.len(), |(end, _)| end);
        let name = &name[..end];
        if self.node.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.node.path) }
    }
}

/// Parses a text. Its path is only for the fault.
///
/// # Errors
/// When it is no JSON, is nested too deeply, or holds a number out of range.
pub(crate) fn parse(json: &str, path: &str) -> Result<Value, Fault> {
    if is_deeper_than(MAX_DEPTH, json) {
        return Err(Fault::at(path, reason::TOO_DEEP, format_args!("nested more than {MAX_DEPTH} deep")));
    }
    // Of a part whose syntax is known to be right, only a number can still be wrong.
    serde_json::from_str(json).map_err(|error| Fault::at(path, reason::UNREADABLE_NUMBER, error))
}

fn is_deeper_than(limit: usize, json: &str) -> bool {
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

        assert_eq!((c.path(), &c.raw()[..]), ("b[1].c", &b"2"[..]));
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
