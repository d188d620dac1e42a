//! Where the parts of a JSON text lie.
//!
//! The way down to an item leads through half a dozen objects and arrays, each of which holds nearly all of the body. So
//! that not each step reads all of it again, one pass notes where every value begins and ends, and a step hops from one to
//! the next.
//!
//! Nothing here looks whether the text is JSON: whoever comes here has had it parsed.

use std::{borrow::Cow, ops::Range};

use memchr::memchr2;

use super::text::{ESCAPE_LEN, code_unit};

/// Providers that leave no white space send a value, names too, for each 9 to 12 bytes, and nest less deep. Whoever sends
/// more of them, or nests deeper, takes a little longer.
const BYTES_TO_A_VALUE: usize = 8;
const USUAL_DEPTH: usize = 16;

/// Whoever indents a text sends much white space.
const INDENT: &[u8] = b"        ";

/// Where each value of a text lies, in the order in which they begin. In an object, a name is a value as well.
pub(super) struct Parts(Vec<Part>);

/// A value. There may be one for each two bytes of a body, so it is kept short: no body has 4 GiB, for Redis keeps none of
/// more than 512 MiB.
#[derive(Clone, Copy)]
struct Part {
    start: u32,
    end: u32,
    /// The first that is neither it nor inside it.
    next: u32,
    /// The one that it lies in; itself, if it is the whole.
    above: u32,
    /// How many values lie before it in that.
    nth: u32,
}

/// The parts of a text that is read to its middle.
struct Reading {
    parts: Vec<Part>,
    /// What has begun and not ended: its place, and how many values it has so far.
    open: Vec<(u32, u32)>,
}

impl Reading {
    /// A value, or the bracket that it begins with.
    fn begins(&mut self, start: usize, len: usize) -> usize {
        let place = self.parts.len() as u32;
        let (above, nth) = self.open.last_mut().map_or((place, 0), |(above, values)| {
            *values += 1;
            (*above, *values - 1)
        });
        self.parts.push(Part { start: start as u32, end: (start + len) as u32, next: place + 1, above, nth });
        len
    }

    fn opens(&mut self, start: usize) -> usize {
        self.begins(start, 1);
        self.open.push((self.parts.len() as u32 - 1, 0));
        1
    }

    fn closes(&mut self, bracket: usize) -> usize {
        let next = self.parts.len() as u32;
        if let Some(closed) = self.open.pop().and_then(|(place, _)| self.parts.get_mut(place as usize)) {
            (closed.end, closed.next) = (bracket as u32 + 1, next);
        }
        1
    }
}

impl Parts {
    /// Notes those of a JSON text.
    pub(super) fn of(json: &str) -> Self {
        let (bytes, mut at) = (json.as_bytes(), 0);
        let parts = Vec::with_capacity(bytes.len() / BYTES_TO_A_VALUE + 1);
        let mut reading = Reading { parts, open: Vec::with_capacity(USUAL_DEPTH) };
        while let Some(byte) = bytes.get(at) {
            at += match byte {
                b' ' if bytes[at..].starts_with(INDENT) => INDENT.len(),
                b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => 1,
                b'{' | b'[' => reading.opens(at),
                b'}' | b']' => reading.closes(at),
                b'"' => reading.begins(at, string_len(&bytes[at..])),
                _ => reading.begins(at, scalar_len(&bytes[at..])),
            };
        }
        Self(reading.parts)
    }

    /// Where the value at this place lies in the text: from its first byte to behind its last.
    pub(super) fn range(&self, place: usize) -> Range<usize> {
        self.0.get(place).map_or(0..0, |part| part.start as usize..part.end as usize)
    }

    /// The places of the values that an object or an array holds.
    pub(super) fn inside(&self, place: usize) -> impl Iterator<Item = usize> {
        let end = self.0.get(place).map_or(0, |part| part.next as usize);
        let mut next = place + 1;
        std::iter::from_fn(move || {
            let place = next;
            next = self.0.get(place).filter(|_| place < end)?.next as usize;
            Some(place)
        })
    }

    /// The place of what a value lies in, and how many lie before it there. Nothing for the whole.
    pub(super) fn above(&self, place: usize) -> Option<(usize, usize)> {
        let Part { above, nth, .. } = *self.0.get(place)?;
        (above as usize != place).then_some((above as usize, nth as usize))
    }
}

/// The length of the number, or of the word, with which a text begins.
fn scalar_len(text: &[u8]) -> usize {
    let is_end = |byte: &u8| matches!(byte, b',' | b':' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
    text.iter().position(is_end).unwrap_or(text.len())
}

/// The length of the string with which a text begins, quotes included.
fn string_len(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if text[at] == b'"' {
            return at + 1;
        }
        // Whatever an escape begins with is no quote that ends the string.
        at += 2;
    }
    text.len()
}

/// What a string says.
pub(super) fn text_of(json: &str) -> Cow<'_, str> {
    let written = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(json);
    if written.contains('\\') { serde_json::from_str(json).map_or(written.into(), Cow::Owned) } else { written.into() }
}

/// What a string says with its first characters, as many as are wanted: what is behind them is not read.
pub(super) fn start_of_text(json: &str, characters: usize) -> String {
    let written = &json[1..json.len() - 1];
    let end = (0..characters).fold(0, |end, _| end + character_len(&written[end..]));
    text_of(&format!("\"{}\"", &written[..end])).into_owned()
}

/// The length of the character with which a string goes on, as it is written. Of half a one no escape is left: see `Text`.
fn character_len(written: &str) -> usize {
    match code_unit(written.as_bytes(), 0) {
        Some(0xD800..=0xDFFF) => 2 * ESCAPE_LEN,
        Some(_) => ESCAPE_LEN,
        None if written.starts_with('\\') => 2,
        None => written.chars().next().map_or(0, char::len_utf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `inside` finds, all the way down; a name and its value are two.
    fn walked(json: &str, parts: &Parts, place: usize) -> String {
        let text = &json[parts.range(place)];
        let inside = |place| parts.inside(place).map(|place| walked(json, parts, place) + " ").collect::<String>();
        match text.as_bytes()[0] {
            b'{' => format!("{{{}}}", inside(place)),
            b'[' => format!("[{}]", inside(place)),
            _ => text.to_owned(),
        }
    }

    fn walk(json: &str) -> String {
        walked(json, &Parts::of(json), 0)
    }

    #[test]
    fn every_part_is_found_whatever_is_written_between_or_inside_them() {
        assert_eq!(walk("{}"), "{}");
        assert_eq!(walk("[ [ ] , [[]],{ } ]"), "[[] [[] ] {} ]");
        assert_eq!(walk("{\"a\" :\t1 ,\r\n \"b\":[true,null, -0.5e+3]}"), r#"{"a" 1 "b" [true null -0.5e+3 ] }"#);
        assert_eq!(walk(r#"[{"é":"]}"},"[\"{\\", "\\\\"]"#), r#"[{"é" "]}" } "[\"{\\" "\\\\" ]"#);
        assert_eq!(walk(" [1 ]\n"), "[1 ]");
    }

    #[test]
    fn each_part_knows_what_it_lies_in_and_how_many_lie_before_it() {
        let json = r#"[0, {"a": [1, 2], "b": 3}]"#;
        let parts = Parts::of(json);
        let above = |text: &str| {
            let place = (0..json.len()).find(|place| &json[parts.range(*place)] == text).unwrap();
            parts.above(place).map(|(above, nth)| (&json[parts.range(above)], nth))
        };

        let of_three = above("3");

        assert_eq!(of_three, Some((r#"{"a": [1, 2], "b": 3}"#, 3)));
        assert_eq!([above("2"), above(r#""b""#)], [Some(("[1, 2]", 1)), Some((r#"{"a": [1, 2], "b": 3}"#, 2))]);
        assert_eq!([above("0"), above(json)], [Some((json, 0)), None]);
    }

    #[test]
    fn a_name_is_what_it_says_however_it_is_written() {
        let names = [r#""\u0061\"""#, r#""a\\""#, r#""""#].map(text_of);

        assert_eq!(names, ["a\"", "a\\", ""]);
    }

    #[test]
    fn a_text_is_cut_between_two_characters_however_they_are_written() {
        let json = r#""aé\u00e9\ud83d\udc4d👍\n\\z""#;
        let whole = "aéé👍👍\n\\z";

        for characters in 0..10 {
            let start: String = whole.chars().take(characters).collect();
            assert_eq!(start_of_text(json, characters), start);
        }
    }
}
