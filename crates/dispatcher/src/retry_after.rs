//! Retry-After, as customers write it.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

/// Seconds, or a date (RFC 9110, 10.2.3). More seconds than there are numbers for are many.
pub(crate) fn wish(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    Some((date(value)? - now).to_std().unwrap_or(Duration::ZERO))
}

/// A date in one of the three forms that RFC 9110 has everybody accept (5.6.7).
fn date(value: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc2822(value) {
        return Some(at.to_utc());
    }
    let obsolete = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    obsolete.iter().find_map(|form| NaiveDateTime::parse_from_str(value, form).ok()).map(|at| at.and_utc())
}
