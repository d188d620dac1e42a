//! JSON that has been parsed.

use std::borrow::Cow;

use serde_json::{Number, Value};

/// Any JSON. Other than a [`Value`], it copies no text that has no escapes, and its members are found by looking at each:
/// an item has few members, which are looked at once, and little of it is kept.
#[derive(Debug, Default, Clone)]
pub(crate) enum Json<'t> {
    #[default]
    Null,
    Bool(bool),
    /// As it is written: an id of twenty digits is another than its neighbour, and one double stands for both.
    Number(&'t str),
    Text(Cow<'t, str>),
    /// A text with half a character in it, as it can be read, and as it is written: two of them may read the same.
    Mended(String, &'t str),
    Array(Vec<Self>),
    Object(Vec<Member<'t>>),
}

/// A name and its value. Of two members of one name the later one counts.
pub(crate) type Member<'t> = (Cow<'t, str>, Json<'t>);

impl<'t> Json<'t> {
    /// A member, if it is an object and has one of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        member(self.as_object()?, name)
    }

    /// What a JSON pointer (RFC 6901) points to.
    pub(crate) fn pointer(&self, pointer: &str) -> Option<&Self> {
        let mut steps = pointer.split('/');
        let is_pointer = steps.next() == Some("");
        is_pointer.then(|| steps.try_fold(self, |json, step| json.step(&step.replace("~1", "/").replace("~0", "~"))))?
    }

    fn step(&self, step: &str) -> Option<&Self> {
        match self {
            Self::Array(elements) if step == "0" || !step.starts_with(['0', '+']) => {
                elements.get(step.parse::<usize>().ok()?)
            }
            _ => self.get(step),
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Mended(text, _) => Some(text),
            _ => None,
        }
    }

    /// A string as it is, a number as it is written; nothing else is a text.
    pub(crate) fn loose_text(&self) -> Option<Cow<'t, str>> {
        match self {
            Self::Number(digits) => Some(Cow::Borrowed(digits)),
            Self::Text(text) => Some(text.clone()),
            Self::Mended(text, _) => Some(Cow::Owned(text.clone())),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(elements) = self { Some(elements) } else { None }
    }

    pub(crate) fn as_object(&self) -> Option<&[Member<'t>]> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// The member of that name.
pub(super) fn member<'j, 't>(members: &'j [Member<'t>], name: &str) -> Option<&'j Json<'t>> {
    members.iter().rfind(|(known, _)| known == name).map(|(_, value)| value)
}

/// What a number is worth. Of one that was read there is always something: see `Node::value`.
pub(super) fn number(digits: &str) -> Option<Number> {
    digits.parse().ok()
}

impl From<&Json<'_>> for Value {
    fn from(json: &Json<'_>) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(is_so) => Self::Bool(*is_so),
            Json::Number(digits) => number(digits).map_or(Self::Null, Self::Number),
            Json::Text(text) => Self::String(text.to_string()),
            Json::Mended(text, _) => Self::String(text.clone()),
            Json::Array(elements) => elements.iter().map(Self::from).collect(),
            Json::Object(members) => {
                members.iter().map(|(name, value)| (name.to_string(), Self::from(value))).collect()
            }
        }
    }
}
