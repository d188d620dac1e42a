//! Bytes that were damaged on their way.

use proptest::{prelude::*, sample::Index};

/// Damages a body: overwrites, cuts out, or doubles a few bytes, or puts something odd in between.
#[derive(Debug, Clone)]
pub(super) enum Damage {
    Overwrite(Index, u8),
    CutOut(Index, usize),
    Double(Index, usize),
    PutIn(Index, &'static str),
}

const ODD: &[&str] =
    &["null", "{", "}", "[", "]", ",", ":", "\"", "\\", "\\ud83d", "\\u0000", "1e999", "-1", "{\"id\":1}", "[[[[", "é"];

pub(super) fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Overwrite(at, byte)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, len)| Damage::CutOut(at, len)),
        (any::<Index>(), 1..400_usize).prop_map(|(at, len)| Damage::Double(at, len)),
        (any::<Index>(), prop::sample::select(ODD)).prop_map(|(at, odd)| Damage::PutIn(at, odd)),
    ]
}

pub(super) fn damaged(mut body: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if body.is_empty() {
            break;
        }
        let range = |at: &Index, len: usize| at.index(body.len())..(at.index(body.len()) + len).min(body.len());
        match damage {
            Damage::Overwrite(at, byte) => {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            Damage::CutOut(at, len) => {
                let range = range(at, *len);
                body.drain(range);
            }
            Damage::Double(at, len) => {
                let range = range(at, *len);
                let copy = body[range.clone()].to_vec();
                body.splice(range.start..range.start, copy);
            }
            Damage::PutIn(at, odd) => {
                let at = at.index(body.len());
                body.splice(at..at, odd.bytes());
            }
        }
    }
    body
}
