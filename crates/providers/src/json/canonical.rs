//! One text for all ways of writing the same JSON.

use serde_json::{Map, Value};

/// The value with its keys sorted and no whitespace: two requests that say the same give the same text.
///
/// Sorts by itself, because whether serde_json does depends on features that any crate in the build may switch on.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Array(elements) => format!("[{}]", joined(elements.iter().map(canonical))),
        Value::Object(members) => format!("{{{}}}", joined(sorted(members))),
        scalar => scalar.to_string(),
    }
}

fn sorted(members: &Map<String, Value>) -> impl Iterator<Item = String> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(name, _)| *name);
    members.into_iter().map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_whitespace_do_not_matter_and_everything_else_does() {
        let canonical = |json: &str| canonical(&serde_json::from_str(json).unwrap());

        let text = canonical(r#"{ "b": [1, 2.5, null], "a\n": {"é": "\u00e9"} }"#);

        assert_eq!(text, r#"{"a\n":{"é":"é"},"b":[1,2.5,null]}"#);
        assert_ne!(canonical("[1, 2]"), canonical("[2, 1]"));
        assert_ne!(canonical("1"), canonical("\"1\""));
    }
}
