//! The headers that an app says came with a raw event: an object of strings in its line.

use std::fmt;

use axum::http::HeaderValue;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

/// As they stand there, with all that is there twice: a map would keep one of them and say nothing.
#[derive(Debug, Default)]
pub(super) struct LineHeaders(Vec<(String, String)>);

impl LineHeaders {
    /// Those of these names, the names in lower case; or what is wrong with one of them. What is wrong with the others is
    /// nobody's trouble.
    pub(super) fn kept(&self, names: &[&str]) -> Result<Vec<(String, String)>, String> {
        let kept = names.iter().filter_map(|name| self.one(&name.to_ascii_lowercase()).transpose());
        kept.collect()
    }

    fn one(&self, name: &str) -> Result<Option<(String, String)>, String> {
        let mut values = self.0.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(format!("header {name} is there twice (case does not count): send it once"));
        }
        match value.chars().find(|char| !is_in_values(*char)) {
            Some(char) => {
                Err(format!("header {name} has the character U+{:04X}, which no HTTP header has", u32::from(char)))
            }
            None => Ok(Some((name.to_owned(), value.clone()))),
        }
    }
}

/// RFC 9110, 5.5: visible ASCII, spaces and tabs, and the bytes above, which the providers' door reads as ISO-8859-1 too.
fn is_in_values(char: char) -> bool {
    u8::try_from(char).is_ok_and(|byte| HeaderValue::from_bytes(&[byte]).is_ok())
}

impl<'de> Deserialize<'de> for LineHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = LineHeaders;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LineHeaders, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(LineHeaders(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> Result<Vec<(String, String)>, String> {
        serde_json::from_str::<LineHeaders>(text).unwrap().kept(&["X-Id", "x-kind"])
    }

    #[test]
    fn a_header_that_is_needed_is_there_once_or_the_line_is_refused() {
        let refused =
            [r#"{"x-id": "1", "x-id": "2"}"#, r#"{"X-ID": "A", "x-id": "A"}"#].map(|text| kept(text).unwrap_err());

        assert_eq!(refused, ["header x-id is there twice (case does not count): send it once"; 2]);
        assert_eq!(kept(r#"{"x-id": "1", "other": "2", "other": "3"}"#).unwrap(), [("x-id".into(), "1".into())]);
    }

    #[test]
    fn a_header_that_is_needed_has_a_value_that_a_request_could_have_brought() {
        for (value, char) in
            [("nul\\u0000x", "U+0000"), ("a\\r\\nb", "U+000D"), ("\\u007f", "U+007F"), ("\u{142}", "U+0142")]
        {
            let error = kept(&format!("{{\"other\": \"{value}\", \"x-kind\": \"{value}\"}}")).unwrap_err();
            assert_eq!(error, format!("header x-kind has the character {char}, which no HTTP header has"));
        }
        let whole = kept("{\"x-id\": \"caf\u{e9}\\t~ \", \"other\": \"\\u0000\"}").unwrap();
        assert_eq!(whole, [("x-id".into(), "caf\u{e9}\t~ ".into())]);
    }
}
