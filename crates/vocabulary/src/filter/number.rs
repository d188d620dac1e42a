//! A JSON number, compared by its value: every digit counts, however many there are, so ids of 20 digits stay apart.

use serde::Serialize;
use serde_json::value::RawValue;

/// A number, kept as it was written.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Number {
    written: Box<RawValue>,
    #[serde(skip)]
    value: Decimal,
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Number {
    /// Takes a number; nothing else.
    pub(super) fn of(json: &RawValue) -> Option<Self> {
        Some(Self { written: json.to_owned(), value: Decimal::of(json.get())? })
    }

    pub(super) fn value(&self) -> &Decimal {
        &self.value
    }
}

/// A value in the one way in which it can be written without a zero at either end: ± digits × 10^exponent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Reads a JSON number; `None` when it is none, or has an exponent beyond all measure.
    pub(super) fn of(json: &str) -> Option<Self> {
        let (mantissa, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
        let unsigned = mantissa.strip_prefix('-');
        let (whole, fraction) =
            unsigned.unwrap_or(mantissa).split_once('.').unwrap_or((unsigned.unwrap_or(mantissa), ""));
        let written = format!("{whole}{fraction}");
        if written.is_empty() || !written.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let all = written.trim_start_matches('0');
        let digits = all.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits: String::new(), exponent: 0 });
        }
        let zeros = i64::try_from(all.len() - digits.len()).ok()?;
        let places = i64::try_from(fraction.len()).ok()?;
        let exponent = exponent.parse::<i64>().ok()?.checked_add(zeros)?.checked_sub(places)?;
        Some(Self { is_negative: unsigned.is_some(), digits: digits.to_owned(), exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(one: &str, other: &str) -> bool {
        Decimal::of(one).unwrap() == Decimal::of(other).unwrap()
    }

    #[test]
    fn numbers_are_the_same_by_their_value_however_they_are_written() {
        for same in ["100", "100.0", "1e2", "1E+2", "1000e-1", "0.1e3", "100.000e0"] {
            assert!(is("100", same), "{same}");
        }
        for zero in ["0", "-0", "0.0", "-0e7"] {
            assert!(is("0", zero), "{zero}");
        }
        for other in ["10", "-100", "100.0000000000000000001", "1e3"] {
            assert!(!is("100", other), "{other}");
        }
    }

    #[test]
    fn every_digit_counts() {
        assert!(!is("9007199254740993", "9007199254740992"));
        assert!(!is("123456789012345678901234567890", "123456789012345678901234567891"));
        assert!(!is("0.1", "0.1000000000000000055511151231257827"));
    }

    #[test]
    fn what_is_no_number_or_has_an_exponent_beyond_all_measure_has_no_value() {
        for none in ["1e99999999999999999999", "1e-9223372036854775808.5", "\"1\"", "true", "null", "[1]", "{}", ""] {
            assert_eq!(Decimal::of(none), None, "{none}");
        }
    }
}
