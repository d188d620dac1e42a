//! A part of a body that has not been parsed yet.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use vocabulary::Rejection;

use super::{
    Fault, Json, Path, Text,
    parts::{Parts, start_of_text, text_of},
    path::{MAX_NAME, Step},
    text::MAX_ELEMENTS,
    value::number,
};
use crate::reason;

/// How deeply a part may be nested. serde_json itself gives up at 128; what we keep of a part is later read as part of
/// something larger, and needs room for that.
const MAX_DEPTH: usize = 100;

/// A part of a body: where its text is.
#[derive(Clone, Copy)]
pub(crate) struct Node<'t> {
    text: &'t Text<'t>,
    parts: &'t Parts,
    place: usize,
}

/// An object whose members have not been parsed yet. Of two members of one name the later one counts.
pub(crate) struct Object<'t> {
    node: Node<'t>,
    members: Vec<(Cow<'t, str>, Node<'t>)>,
}

impl<'t> Node<'t> {
    /// The whole of a text.
    pub(super) fn root(text: &'t Text<'t>, parts: &'t Parts) -> Self {
        Self { text, parts, place: 0 }
    }

    /// What it is called: `entry[0].changes[1]`.
    pub(crate) fn path(self) -> Path<'t> {
        Path::Part(self)
    }

    /// What it lies in, and what it is called there, which is looked up for each fault in it; nothing for the whole.
    pub(super) fn above(self) -> Option<(Self, Step<'t>)> {
        let (above, nth) = self.parts.above(self.place)?;
        let above = self.at(above);
        // A member's name stands right before it.
        let name = || start_of_text(self.at(self.place - 1).json(), MAX_NAME);
        let step = if above.is_array() { Step::Element(nth) } else { Step::Member(name().into()) };
        Some((above, step))
    }

    /// Its bytes as they were sent, a slice of the body.
    pub(crate) fn raw(self) -> Bytes {
        self.text.bytes_of(self.parts.range(self.place))
    }

    /// Rejects it, and nothing around it.
    pub(crate) fn reject(self, fault: Fault) -> Rejection {
        fault.rejects_item(self.raw())
    }

    /// Its members.
    ///
    /// # Errors
    /// When it is no object.
    pub(crate) fn object(self) -> Result<Object<'t>, Fault> {
        if !self.json().starts_with('{') {
            return Err(self.wrong_type("an object"));
        }
        let mut members = Vec::with_capacity(self.inside().count() / 2);
        members.extend(self.members().map(|(name, value)| (text_of(name.json()), value)));
        Ok(Object { node: self, members })
    }

    /// Its elements.
    ///
    /// # Errors
    /// When it is no array, or the lists of the body are too long altogether.
    pub(crate) fn elements(self) -> Result<impl Iterator<Item = Self>, Fault> {
        let count = self.peek()?.count();
        if !self.text.takes(count) {
            let what = format_args!("with {count} more there would be over {MAX_ELEMENTS}");
            return Err(Fault::at(self.path(), reason::TOO_MANY, what));
        }
        self.peek()
    }

    /// Its elements, to be looked at beside the reading: they do not count towards how many a body may have.
    ///
    /// # Errors
    /// When it is no array.
    pub(crate) fn peek(self) -> Result<impl Iterator<Item = Self>, Fault> {
        if self.is_array() { Ok(self.inside()) } else { Err(self.wrong_type("an array")) }
    }

    fn json(self) -> &'t str {
        self.text.view(self.parts.range(self.place))
    }

    fn at(self, place: usize) -> Self {
        Self { place, ..self }
    }

    /// What stands between its brackets.
    fn inside(self) -> impl Iterator<Item = Self> {
        self.parts.inside(self.place).map(move |place| self.at(place))
    }

    /// The names and values of an object.
    fn members(self) -> impl Iterator<Item = (Self, Self)> {
        let mut values = self.inside();
        std::iter::from_fn(move || Some((values.next()?, values.next()?)))
    }

    /// All of it, parsed.
    ///
    /// # Errors
    /// When it is nested too deeply, is no UTF-8, or holds a number out of range.
    pub(crate) fn value(self) -> Result<Json<'t>, Fault> {
        if !self.text.is_utf8(self.parts.range(self.place)) {
            return Err(Fault::at(self.path(), reason::NOT_UTF8, "some of its bytes are not UTF-8"));
        }
        self.parse(MAX_DEPTH).map_err(|reason| match reason {
            reason::TOO_DEEP => Fault::at(self.path(), reason, format_args!("nested more than {MAX_DEPTH} deep")),
            _ => Fault::at(self.path(), reason, "number out of range"),
        })
    }

    /// It, parsed, if it is not nested deeper than this; else the reason why not. The syntax is known to be right.
    fn parse(self, depth: usize) -> Result<Json<'t>, &'static str> {
        let json = self.json();
        Ok(match json.as_bytes().first() {
            Some(b'{') => {
                let depth = depth.checked_sub(1).ok_or(reason::TOO_DEEP)?;
                let mut members = Vec::with_capacity(self.inside().count() / 2);
                for (name, value) in self.members() {
                    members.push((name.name(), value.parse(depth)?));
                }
                Json::Object(members)
            }
            Some(b'[') => {
                let depth = depth.checked_sub(1).ok_or(reason::TOO_DEEP)?;
                let mut elements = Vec::with_capacity(self.inside().count());
                for element in self.inside() {
                    elements.push(element.parse(depth)?);
                }
                Json::Array(elements)
            }
            Some(b'"') => self.string(),
            Some(b'n') => Json::Null,
            Some(b't') => Json::Bool(true),
            Some(b'f') => Json::Bool(false),
            _ => Json::Number(number(json).map(|_| json).ok_or(reason::UNREADABLE_NUMBER)?),
        })
    }

    fn string(self) -> Json<'t> {
        let text = text_of(self.json());
        match self.mended_from() {
            Some(written) => Json::Mended(text.into_owned(), written),
            None => Json::Text(text),
        }
    }

    /// A name as it reads; of one with half a character in it, as it is written: two of them may read the same.
    fn name(self) -> Cow<'t, str> {
        self.mended_from().map_or_else(|| text_of(self.json()), Cow::Borrowed)
    }

    fn mended_from(self) -> Option<&'t str> {
        self.text.mended_from(self.parts.range(self.place))
    }

    /// It as a text.
    ///
    /// # Errors
    /// When it is no string.
    pub(crate) fn text(self) -> Result<Cow<'t, str>, Fault> {
        if self.json().starts_with('"') { Ok(text_of(self.json())) } else { Err(self.wrong_type("a string")) }
    }

    /// Whether it is an array.
    pub(crate) fn is_array(self) -> bool {
        self.json().starts_with('[')
    }

    fn is_null(self) -> bool {
        self.json() == "null"
    }

    fn wrong_type(self, expected: &str) -> Fault {
        let found = match self.json().as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "nothing",
            _ => "a number",
        };
        Fault::wrong_type(self.path(), expected, found)
    }
}

impl<'t> Object<'t> {
    /// A member, unless it is missing or `null`.
    pub(crate) fn get(&self, name: &str) -> Option<Node<'t>> {
        let (_, member) = self.members.iter().rfind(|(known, _)| known == name)?;
        (!member.is_null()).then_some(*member)
    }

    /// A member that must be there.
    ///
    /// # Errors
    /// When it is missing or `null`.
    pub(crate) fn require(&self, name: &str, expected: &str) -> Result<Node<'t>, Fault> {
        self.get(name).ok_or_else(|| Fault::wrong_type(self.node.path().join(name), expected, "nothing"))
    }

    /// All that can be got whose names are such, sorted by name.
    pub(crate) fn members(&self, is_wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, Node<'t>)> {
        let wanted = self.members.iter().filter(|(name, _)| is_wanted(name));
        let members: BTreeMap<_, _> = wanted.map(|(name, member)| (name.as_ref(), *member)).collect();
        members.into_iter().filter(|(_, member)| !member.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_can_be_reached_however_deep_its_neighbour_is() {
        let body = Bytes::from(format!(r#"{{"a": {}{}, "b": [1, {{"c": 2}}]}}"#, "[".repeat(500), "]".repeat(500)));
        let text = Text::of(&body);
        let root = text.root().unwrap().object().unwrap();

        let c = root.get("b").unwrap().elements().unwrap().nth(1).unwrap().object().unwrap().get("c").unwrap();

        assert_eq!((&c.path().to_string()[..], &c.raw()[..]), ("b[1].c", &b"2"[..]));
        assert_eq!(root.get("a").unwrap().value().unwrap_err().reason, reason::TOO_DEEP);
    }

    /// Why a text is not read, if it is not.
    fn fault(json: String) -> Option<Fault> {
        let body = Bytes::from(json);
        Text::of(&body).root().unwrap().value().err()
    }

    #[test]
    fn brackets_inside_strings_are_not_counted() {
        assert_eq!(fault(format!(r#"["\"{}", "\\"]"#, "[".repeat(500))), None);
    }

    #[test]
    fn a_part_may_be_nested_a_hundred_deep_and_no_deeper() {
        let arrays = |depth| "[".repeat(depth) + &"]".repeat(depth);
        let objects = |depth| r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);

        let within = [arrays(100), objects(100), format!("[{0},{0}]", arrays(99))];
        let beyond = [arrays(101), objects(101), format!("[{},{}]", arrays(99), objects(100))];

        assert_eq!(within.map(fault), [None, None, None]);
        let too_deep = Fault::at("the body", reason::TOO_DEEP, "nested more than 100 deep");
        assert_eq!(beyond.map(fault), [0; 3].map(|_| Some(too_deep.clone())));
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
