//! Which answers are a last word.

use std::{fmt, ops::Range, str::FromStr};

use serde::Serialize;

/// What speaks of the request itself (RFC 9110, 15.5), and may so be said of this delivery for ever.
const MAY_BE_LAST: Range<u16> = 400..500;

/// What is in that range, and asks by its own meaning for another attempt.
const NEVER_LAST: [(u16, &str); 4] = [
    (408, "408 says that this request came too slowly (RFC 9110, 15.5.9): the next may not"),
    (410, "410 disables the endpoint, and what it is owed is held (Standard Webhooks 1.0.0)"),
    (425, "425 asks for the same request later (RFC 8470, 5.2)"),
    (429, "429 asks for fewer requests, and not for none (RFC 6585, 4): the endpoint rests"),
];

/// The answers after which a delivery is given up at once: statuses from 400 to 499, in their order and each once, but for
/// 408, 410, 425 and 429.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct GiveUpOn(Vec<u16>);

/// Why a list names no such answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GiveUpOnError {
    /// Nothing that a server answers.
    #[error(
        "{0:?} is no status: write some from 400 to 499 with commas (400,404,422), or 4xx for all that may be given"
    )]
    Word(String),
    /// Of another kind.
    #[error(
        "{0} is not from 400 to 499: only those say that the request itself is wrong; what else fails may pass, and is tried again"
    )]
    Kind(u16),
    /// One that asks for another attempt.
    #[error("{0}")]
    NeverLast(&'static str),
}

impl GiveUpOn {
    /// Takes statuses, in any order.
    ///
    /// # Errors
    /// When there is none, or one that cannot be a last word.
    pub fn of(statuses: impl IntoIterator<Item = u16>) -> Result<Self, GiveUpOnError> {
        let mut statuses = statuses.into_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
        if statuses.is_empty() {
            return Err(GiveUpOnError::Word(String::new()));
        }
        statuses.sort_unstable();
        statuses.dedup();
        Ok(Self(statuses))
    }

    /// The statuses, in their order.
    pub fn statuses(&self) -> &[u16] {
        &self.0
    }

    fn all() -> impl Iterator<Item = u16> {
        MAY_BE_LAST.filter(|status| checked(*status).is_ok())
    }
}

fn checked(status: u16) -> Result<u16, GiveUpOnError> {
    if let Some((_, why)) = NEVER_LAST.iter().find(|(never, _)| *never == status) {
        return Err(GiveUpOnError::NeverLast(why));
    }
    if MAY_BE_LAST.contains(&status) { Ok(status) } else { Err(GiveUpOnError::Kind(status)) }
}

impl FromStr for GiveUpOn {
    type Err = GiveUpOnError;

    /// Reads a list with commas: `400,404,422`, or `4xx` for all that may be given.
    fn from_str(text: &str) -> Result<Self, GiveUpOnError> {
        let mut statuses = Vec::new();
        for word in text.split(',').map(str::trim) {
            match word {
                "4xx" => statuses.extend(Self::all()),
                _ => statuses.push(word.parse().map_err(|_| GiveUpOnError::Word(word.to_owned()))?),
            }
        }
        Self::of(statuses)
    }
}

impl fmt::Display for GiveUpOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.iter().copied().eq(Self::all()) {
            return f.write_str("4xx");
        }
        let statuses: Vec<_> = self.0.iter().map(u16::to_string).collect();
        f.write_str(&statuses.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GiveUpOn, GiveUpOnError> {
        text.parse()
    }

    #[test]
    fn statuses_are_kept_in_their_order_and_each_once() {
        let given = read("422, 400,404,400").unwrap();

        assert_eq!((given.statuses(), given.to_string().as_str()), (&[400, 404, 422][..], "400,404,422"));
    }

    #[test]
    fn four_xx_is_every_status_that_may_be_given() {
        let all = read("4xx").unwrap();

        assert_eq!((all.statuses().len(), all.to_string().as_str()), (96, "4xx"));
        assert!([400, 401, 409, 411, 499].iter().all(|status| all.statuses().contains(status)));
        assert!([408, 410, 425, 429].iter().all(|status| !all.statuses().contains(status)));
        assert_eq!(read("404,4xx").unwrap(), all);
    }

    #[test]
    fn what_cannot_be_a_last_word_is_refused_with_the_reason() {
        for (text, reason) in [
            ("408", "came too slowly"),
            ("404,410", "disables the endpoint"),
            ("425", "asks for the same request later"),
            ("429", "the endpoint rests"),
            ("500", "500 is not from 400 to 499"),
            ("399", "399 is not from 400 to 499"),
            ("200", "may pass, and is tried again"),
            ("", "\"\" is no status: write some from 400 to 499 with commas"),
            ("404,", "\"\" is no status"),
            ("5xx", "\"5xx\" is no status"),
            ("-404", "\"-404\" is no status"),
            ("99999999", "\"99999999\" is no status"),
        ] {
            let refused = read(text).unwrap_err().to_string();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}
