//! The key under which a request may be sent twice: `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07).

use axum::http::HeaderMap;

use super::Refusal;

/// Characters. A UUID, which the draft advises, has 36.
const LONGEST: usize = 255;

/// The key of a request, if it has one. The draft has it between quotation marks (a string of RFC 8941); without them, as
/// many clients send it, it is the same key.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| Refusal::BadKey)?.trim();
    let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let is_plain = key.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    let is_key = is_plain && (1..=LONGEST).contains(&key.len()) && values.next().is_none();
    if is_key { Ok(Some(key)) } else { Err(Refusal::BadKey) }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(values: &[&str]) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", HeaderValue::from_str(value).unwrap());
        }
        read(&headers).map(|key| key.map(str::to_owned))
    }

    #[test]
    fn a_key_is_the_same_with_quotation_marks_and_without() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["\"8e03978e-40d5\""]), Ok(Some("8e03978e-40d5".into())));
        assert_eq!(of(&["8e03978e-40d5"]), of(&["\"8e03978e-40d5\""]));
        assert!(of(&[&"k".repeat(LONGEST)]).is_ok());
    }

    #[test]
    fn what_two_servers_could_read_in_two_ways_is_no_key() {
        for bad in ["", "\"\"", "\"", "\"a\\\"b\"", "a\"b", "\"a\", \"b\"", "é", &"k".repeat(LONGEST + 1)] {
            assert_eq!(of(&[bad]), Err(Refusal::BadKey), "{bad}");
        }
        assert_eq!(of(&["a", "a"]), Err(Refusal::BadKey));
    }
}
