//! Where the parts of a JSON text lie.
//!
//! The way down to an item leads through half a dozen objects and arrays, each of which holds nearly all of the body. So
//! that not each step reads all of it again, one pass notes where every one of them ends, and a step hops over what it does
//! not enter.
//!
//! Nothing here looks whether the text is JSON: whoever comes here has had it parsed.

use std::borrow::Cow;

use memchr::memchr2;

/// What providers send has fewer brackets, and is not nested as deep. What has more takes a little longer.
const BYTES_TO_A_BRACKET: usize = 32;
const USUAL_DEPTH: usize = 16;

/// Where each object and array of a text ends, in the order in which they begin.
pub(super) struct Brackets(Vec<Bracket>);

/// An object or an array.
#[derive(Clone, Copy)]
struct Bracket {
    /// Its length, from bracket to bracket.
    len: usize,
    /// The first bracket that is neither it nor inside it.
    next: usize,
}

/// A value in a text.
#[derive(Clone, Copy)]
pub(super) struct Part<'t> {
    brackets: &'t Brackets,
    /// Its text, without white space around it.
    pub json: &'t str,
    /// Which bracket it is, if it is one.
    bracket: usize,
}

/// Values that follow each other.
struct Values<'t> {
    brackets: &'t Brackets,
    rest: &'t str,
    /// Which bracket the next one in `rest` is.
    bracket: usize,
}

impl Brackets {
    /// Notes those of a JSON text.
    pub(super) fn of(json: &str) -> Self {
        let bytes = json.as_bytes();
        // Until it ends, a bracket's length is the place where it begins.
        let mut brackets: Vec<Bracket> = Vec::with_capacity(bytes.len() / BYTES_TO_A_BRACKET);
        let (mut open, mut at) = (Vec::with_capacity(USUAL_DEPTH), 0);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => {
                    at += string_len(&bytes[at..]);
                    continue;
                }
                b'{' | b'[' => {
                    open.push(brackets.len());
                    brackets.push(Bracket { len: at, next: 0 });
                }
                b'}' | b']' => {
                    let next = brackets.len();
                    if let Some(bracket) = open.pop().and_then(|place| brackets.get_mut(place)) {
                        *bracket = Bracket { len: at + 1 - bracket.len, next };
                    }
                }
                _ => {}
            }
            at += 1;
        }
        Self(brackets)
    }

    /// The value that is all of the text that these brackets are of.
    pub(super) fn whole<'t>(&'t self, json: &'t str) -> Part<'t> {
        Part { brackets: self, json, bracket: 0 }
    }
}

impl<'t> Part<'t> {
    /// The names and values of an object, in the order in which they stand in it; nothing where it is none. A name is as it
    /// is written: [`text_of`] reads it.
    pub(super) fn members(self) -> Option<impl Iterator<Item = (&'t str, Self)>> {
        let mut values = self.json.starts_with('{').then(|| self.values())?;
        Some(std::iter::from_fn(move || Some((values.next()?.json, values.next()?))))
    }

    /// The values of an array; nothing where it is none.
    pub(super) fn elements(self) -> Option<impl Iterator<Item = Self>> {
        self.json.starts_with('[').then(|| self.values())
    }

    /// What stands between its brackets. In an object, a name is a value as well.
    fn values(self) -> Values<'t> {
        Values { brackets: self.brackets, rest: &self.json[1..], bracket: self.bracket + 1 }
    }
}

impl<'t> Iterator for Values<'t> {
    type Item = Part<'t>;

    fn next(&mut self) -> Option<Part<'t>> {
        let start = self.rest.bytes().position(|byte| !is_between_values(byte))?;
        let (rest, bracket) = (&self.rest[start..], self.bracket);
        let len = match rest.as_bytes()[0] {
            b']' | b'}' => return None,
            b'"' => string_len(rest.as_bytes()),
            b'[' | b'{' => {
                let Bracket { len, next } = *self.brackets.0.get(bracket)?;
                self.bracket = next;
                len
            }
            _ => rest.bytes().position(ends_scalar).unwrap_or(rest.len()),
        };
        let (json, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Part { brackets: self.brackets, json, bracket })
    }
}

fn is_between_values(byte: u8) -> bool {
    matches!(byte, b',' | b':' | b' ' | b'\n' | b'\r' | b'\t')
}

fn ends_scalar(byte: u8) -> bool {
    is_between_values(byte) || matches!(byte, b']' | b'}')
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What `members` and `elements` find, all the way down, in Rust's notation.
    fn walked(part: Part<'_>) -> String {
        if let Some(members) = part.members() {
            return format!(
                "{{{}}}",
                members.map(|(name, part)| format!("{:?}={} ", text_of(name), walked(part))).collect::<String>()
            );
        }
        match part.elements() {
            Some(elements) => format!("[{}]", elements.map(|part| walked(part) + " ").collect::<String>()),
            None => part.json.to_owned(),
        }
    }

    fn walk(json: &str) -> String {
        walked(Brackets::of(json).whole(json))
    }

    #[test]
    fn every_part_is_found_whatever_is_written_between_or_inside_them() {
        assert_eq!(walk("{}"), "{}");
        assert_eq!(walk("[ [ ] , [[]],{ } ]"), "[[] [[] ] {} ]");
        assert_eq!(walk("{\"a\" :\t1 ,\r\n \"b\":[true,null, -0.5e+3]}"), r#"{"a"=1 "b"=[true null -0.5e+3 ] }"#);
        assert_eq!(walk(r#"[{"é":"]}"},"[\"{\\", "\\\\"]"#), r#"[{"é"="]}" } "[\"{\\" "\\\\" ]"#);
    }

    #[test]
    fn a_name_is_what_it_says_however_it_is_written() {
        assert_eq!(walk(r#"{"\u0061\"":1,"a\\":2,"":3}"#), r#"{"a\""=1 "a\\"=2 ""=3 }"#);
    }
}
