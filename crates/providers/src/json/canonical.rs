//! One text for all ways of writing the same JSON.

use serde_json::Value;

/// The value with its keys sorted and no whitespace: two requests that say the same give the same text.
///
/// Sorts by itself, because whether serde_json does depends on features that any crate in the build may switch on.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(elements) => enclosed(text, ['[', ']'], elements, write),
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            enclosed(text, ['{', '}'], members, |(name, value), text| {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(value, text);
            });
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn enclosed<T>(
    text: &mut String,
    [open, close]: [char; 2],
    parts: impl IntoIterator<Item = T>,
    write: impl Fn(T, &mut String),
) {
    text.push(open);
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write(part, text);
    }
    text.push(close);
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
