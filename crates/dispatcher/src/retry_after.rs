//! Retry-After, as customers write it.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

/// What is wished for: the latest of all that is, since nobody can tell which of several headers was meant. A proxy may have put
/// several into one, with commas between (RFC 9110, 5.2). The commas of dates do not matter: nobody reads what day of the week
/// it is.
pub(crate) fn wish<'v>(values: impl IntoIterator<Item = &'v str>, now: DateTime<Utc>) -> Option<Duration> {
    let members = values.into_iter().flat_map(|value| value.split(','));
    members.filter_map(|member| one(member.trim(), now)).max()
}

/// Seconds, or a date (RFC 9110, 10.2.3). More seconds than there are numbers for are many.
fn one(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    Some((date(value)? - now).to_std().unwrap_or(Duration::ZERO))
}

/// A date in one of the three forms that RFC 9110 has everybody accept (5.6.7), without its day of the week where a comma
/// follows that.
fn date(value: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc2822(value) {
        return Some(at.to_utc());
    }
    let obsolete = ["%d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    obsolete.iter().find_map(|form| NaiveDateTime::parse_from_str(value, form).ok()).map(|at| at.and_utc())
}
