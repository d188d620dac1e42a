//! One text for all ways of writing the same JSON.

use serde_json::Value;

use super::Json;

/// The value with its keys sorted and no whitespace: two requests that say the same give the same text.
///
/// A number is as it is written, and so is a text with half a character in it: what has no id is known by this, and two
/// that differ must not become one. A sender writes the same in the same way.
pub(crate) fn canonical(value: &Json<'_>) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Json<'_>, text: &mut String) {
    match value {
        Json::Null => text.push_str("null"),
        Json::Bool(is_so) => text.push_str(if *is_so { "true" } else { "false" }),
        Json::Number(written) | Json::Mended(_, written) => text.push_str(written),
        Json::Text(said) => write_text(said, text),
        Json::Array(elements) => enclosed(text, ['[', ']'], elements, write),
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name);
            enclosed(text, ['{', '}'], members, |(name, value), text| {
                write_text(name, text);
                text.push(':');
                write(value, text);
            });
        }
    }
}

fn write_text(said: &str, text: &mut String) {
    text.push_str(&Value::from(said).to_string());
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
    use bytes::Bytes;

    use crate::json::Text;

    fn canonical(json: &'static str) -> String {
        super::canonical(&Text::of(&Bytes::from_static(json.as_bytes())).root().unwrap().value().unwrap())
    }

    #[test]
    fn order_and_whitespace_do_not_matter_and_everything_else_does() {
        let text = canonical(r#"{ "b": [1, 2.5, null, true], "a\n": {"é": "\u00e9"} }"#);

        assert_eq!(text, r#"{"a\n":{"é":"é"},"b":[1,2.5,null,true]}"#);
        assert_ne!(canonical("[1, 2]"), canonical("[2, 1]"));
        assert_ne!(canonical("1"), canonical("\"1\""));
        assert_ne!(canonical(r#"{"a":1,"a":3}"#), canonical(r#"{"a":2,"a":3}"#));
    }

    #[test]
    fn two_numbers_that_one_double_stands_for_are_two_and_so_are_two_halves_of_characters() {
        for (one, other) in [
            ("[36893488147419103233]", "[36893488147419103234]"),
            ("[0.12345678901234567890]", "[0.12345678901234567891]"),
            (r#"["\ud83d"]"#, r#"["\ud83e"]"#),
            (r#"["\ud83d"]"#, r#"["\ufffd"]"#),
            (r#"{"\ud83d":1}"#, r#"{"\ud83e":1}"#),
        ] {
            assert_ne!(canonical(one), canonical(other));
        }
    }
}
