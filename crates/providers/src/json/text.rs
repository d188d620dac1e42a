//! A body as text that a parser takes.
//!
//! Two things make serde_json refuse a text that a sender may well have signed: bytes that are no UTF-8, and escapes of
//! half a character (`\ud83d` without its second half). Both are overwritten with something of the same length, in a copy,
//! so that a place in the copy is the same place in the body: what is kept as an item's bytes is always the original.

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell},
    ops::Range,
};

use bytes::Bytes;
use memchr::memchr;
use serde_json::value::RawValue;

use super::{Fault, Node, Path, parts::Parts};
use crate::reason;

/// How many elements all lists of a body may have together. Meta documents 1,000 items in a request, and 3 MB of the
/// smallest real ones are about 20,000; 3 MB of `1,1,1,…` would be 1.5 million rejections.
pub(crate) const MAX_ELEMENTS: usize = 50_000;

/// A body made readable.
pub(crate) struct Text<'b> {
    body: &'b Bytes,
    view: Cow<'b, str>,
    is_utf8: bool,
    parts: OnceCell<Parts>,
    elements_left: Cell<usize>,
}

impl<'b> Text<'b> {
    /// Mends what needs mending; copies nothing otherwise.
    pub(crate) fn of(body: &'b Bytes) -> Self {
        let utf8 = std::str::from_utf8(body).map(Cow::Borrowed);
        let is_utf8 = utf8.is_ok();
        let view = mend_surrogates(utf8.unwrap_or_else(|_| Cow::Owned(mend_utf8(body))));
        Self { body, view, is_utf8, parts: OnceCell::new(), elements_left: Cell::new(MAX_ELEMENTS) }
    }

    /// The whole body as one part.
    ///
    /// # Errors
    /// When it is no JSON.
    pub(crate) fn root(&self) -> Result<Node<'_>, Fault> {
        // Skips over the values without looking into them, so no depth is too deep.
        let parsed = serde_json::from_str::<&RawValue>(&self.view);
        parsed.map_err(|error| Fault::at(Path::default(), reason::NOT_JSON, error))?;
        Ok(Node::root(self, self.parts.get_or_init(|| Parts::of(&self.view))))
    }

    /// Whether so many more elements are still few enough.
    pub(super) fn takes(&self, elements: usize) -> bool {
        let left = self.elements_left.get().checked_sub(elements);
        left.inspect(|left| self.elements_left.set(*left)).is_some()
    }

    /// What a part reads.
    pub(super) fn view(&self, part: Range<usize>) -> &str {
        &self.view[part]
    }

    /// The bytes of the body that a part stands for.
    pub(super) fn bytes_of(&self, part: Range<usize>) -> Bytes {
        self.body.slice(part)
    }

    /// How a part is written, if something of it is mended, and it is UTF-8.
    pub(super) fn mended_from(&self, part: Range<usize>) -> Option<&str> {
        let Cow::Owned(view) = &self.view else { return None };
        let written = std::str::from_utf8(&self.body[part.clone()]).ok()?;
        (written != &view[part]).then_some(written)
    }

    /// Whether the bytes of a part are UTF-8 as they were sent.
    pub(super) fn is_utf8(&self, part: Range<usize>) -> bool {
        self.is_utf8 || std::str::from_utf8(&self.body[part]).is_ok()
    }
}

fn mend_utf8(body: &[u8]) -> String {
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

fn mend_surrogates(text: Cow<'_, str>) -> Cow<'_, str> {
    let lone = lone_surrogates(text.as_bytes());
    if lone.is_empty() {
        return text;
    }
    let mut mended = text.into_owned();
    for at in lone {
        mended.replace_range(at..at + ESCAPE_LEN, "\\ufffd");
    }
    Cow::Owned(mended)
}

pub(super) const ESCAPE_LEN: usize = r"\ud83d".len();

/// Where the escapes of half a character are.
fn lone_surrogates(text: &[u8]) -> Vec<usize> {
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(found) = memchr(b'\\', &text[at..]) {
        at += found;
        at += match (code_unit(text, at), code_unit(text, at + ESCAPE_LEN)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 2 * ESCAPE_LEN,
            (Some(0xD800..=0xDFFF), _) => {
                lone.push(at);
                ESCAPE_LEN
            }
            (Some(_), _) => ESCAPE_LEN,
            (None, _) => 2,
        };
        at = at.min(text.len());
    }
    lone
}

/// The number in the escape `\u1234` at this place, if there is one.
pub(super) fn code_unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + ESCAPE_LEN)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(body: &'static [u8]) -> String {
        let body = Bytes::from_static(body);
        let view = Text::of(&body).view.into_owned();
        assert_eq!(view.len(), body.len());
        view
    }

    #[test]
    fn half_a_character_is_mended_and_a_whole_one_left_alone() {
        assert_eq!(view(br#""\ud83d\udc4d""#), r#""\ud83d\udc4d""#);
        assert_eq!(view(br#""\ud83d""#), r#""\ufffd""#);
        assert_eq!(view(br#""\uDC4D\ud83d\ud83d\udc4d""#), r#""\ufffd\ufffd\ud83d\udc4d""#);
    }

    #[test]
    fn an_escaped_backslash_before_a_u_is_no_escape_of_a_character() {
        assert_eq!(view(br#""\\ud83d""#), r#""\\ud83d""#);
        assert_eq!(view(br#""\\\ud83d""#), r#""\\\ufffd""#);
    }

    #[test]
    fn bytes_that_are_no_utf8_and_texts_that_end_in_the_middle_keep_their_length() {
        assert_eq!(view(b"\"caf\xe9 \xc3\xa9\""), "\"caf? é\"");
        for cut in [&b"\"\\"[..], b"\\u", b"\\ud83", b"\\ud83d\\", b"\xf0\x9f\x91"] {
            view(cut);
        }
    }

    #[test]
    fn a_readable_body_is_not_copied() {
        let body = Bytes::from_static(b"{\"a\":\"\\u00e9\"}");
        assert!(matches!(Text::of(&body).view, Cow::Borrowed(_)));
    }
}
