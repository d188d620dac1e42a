//! Bodies that were made by somebody who knows JSON, and has another idea of WhatsApp's.

use proptest::{prelude::*, sample::Index};
use serde_json::Value;

/// Replaces one part of a body, anywhere in it, by something odd.
#[derive(Debug, Clone)]
pub(super) struct Mutation {
    at: Index,
    to: Odd,
}

#[derive(Debug, Clone)]
enum Odd {
    Other(&'static str),
    Without(Index),
    Twice(Index, &'static str),
    Nested(usize),
    Times(usize),
}

const OTHERS: &[&str] = &[
    "null",
    "true",
    "7",
    "-0.0",
    "1e999",
    "123456789012345678901234567890",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud83d\"",
    "\"\\udc4d\\ud83d\"",
    "\"\u{e000}\"",
    "[]",
    "{}",
    "[null, [], {}]",
    r#"{"id": "w", "id": 7}"#,
];

pub(super) fn mutation() -> impl Strategy<Value = Mutation> {
    let other = || prop::sample::select(OTHERS);
    let odd = prop_oneof![
        4 => other().prop_map(Odd::Other),
        1 => any::<Index>().prop_map(Odd::Without),
        1 => (any::<Index>(), other()).prop_map(|(which, other)| Odd::Twice(which, other)),
        1 => prop::sample::select(&[1_usize, 96, 100, 128, 500]).prop_map(Odd::Nested),
        1 => prop::sample::select(&[2_usize, 30]).prop_map(Odd::Times),
    ];
    (any::<Index>(), odd).prop_map(|(at, to)| Mutation { at, to })
}

/// The value as JSON, with each mutation made in turn.
pub(super) fn mutated(mut value: Value, mutations: &[Mutation]) -> String {
    // What is odd may be more than a Value can be, so a placeholder stands for it until all is text.
    let placeholder = |number: usize| format!("the odd part {number}");
    let mut texts: Vec<String> = Vec::new();
    for Mutation { at, to } in mutations {
        let places = places(&value);
        let Some(part) = value.pointer_mut(at.get::<String>(&places)) else { continue };
        texts.push(to.of(part));
        *part = placeholder(texts.len() - 1).into();
    }
    let text = value.to_string();
    let last_to_first = texts.iter().enumerate().rev();
    last_to_first.fold(text, |text, (number, odd)| text.replace(&format!("\"{}\"", placeholder(number)), odd))
}

/// Where the parts of a value are, itself among them, as JSON pointers.
pub(super) fn places(value: &Value) -> Vec<String> {
    let below = |name: String, part: &Value| places(part).into_iter().map(move |place| format!("/{name}{place}"));
    let parts: Vec<_> = match value {
        Value::Array(elements) => (0..).zip(elements).flat_map(|(n, part)| below(n.to_string(), part)).collect(),
        Value::Object(members) => members.iter().flat_map(|(name, part)| below(name.clone(), part)).collect(),
        _ => Vec::new(),
    };
    [String::new()].into_iter().chain(parts).collect()
}

impl Odd {
    fn of(&self, part: &Value) -> String {
        match (self, part) {
            (Self::Without(which), Value::Object(members)) if !members.is_empty() => {
                let gone = which.index(members.len());
                let rest = members.iter().enumerate().filter(|(index, _)| *index != gone);
                format!("{{{}}}", joined(rest.map(|(_, (name, value))| format!("{name:?}:{value}"))))
            }
            (Self::Twice(which, other), Value::Object(members)) if !members.is_empty() => {
                let again = members.keys().nth(which.index(members.len())).map(|name| format!("{name:?}:{other}"));
                format!("{{{}}}", joined(members.iter().map(|(name, value)| format!("{name:?}:{value}")).chain(again)))
            }
            (Self::Times(times), Value::Array(elements)) => {
                let all = std::iter::repeat_n(elements, *times).flatten();
                format!("[{}]", joined(all.map(Value::to_string)))
            }
            (Self::Nested(depth), part) => format!("{}{part}{}", "[".repeat(*depth), "]".repeat(*depth)),
            (Self::Other(other) | Self::Twice(_, other), _) => (*other).to_owned(),
            (Self::Without(_) | Self::Times(_), part) => part.to_string(),
        }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}
