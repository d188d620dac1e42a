//! `--since`: a moment (`2026-11-23T20:00:00Z`), or how long ago (`90s`, `15m`, `6h`, `2d`).

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};

/// Where a window of time begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// At this moment.
    At(DateTime<Utc>),
    /// This long before now.
    Ago(TimeDelta),
}

/// Why a text is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither a moment (2026-11-23T20:00:00Z) nor how long ago (90s, 15m, 6h, 2d)")]
pub(super) struct SinceError;

impl Since {
    /// The moment that it means now.
    pub(super) fn as_of(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(moment) => moment,
            Self::Ago(span) => now.checked_sub_signed(span).unwrap_or(DateTime::<Utc>::MIN_UTC),
        }
    }
}

impl FromStr for Since {
    type Err = SinceError;

    fn from_str(text: &str) -> Result<Self, SinceError> {
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(moment.to_utc()));
        }
        let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(SinceError)?;
        let count = count.parse::<u32>().map_err(|_| SinceError)?.into();
        let span = match unit {
            "s" => TimeDelta::try_seconds(count),
            "m" => TimeDelta::try_minutes(count),
            "h" => TimeDelta::try_hours(count),
            "d" => TimeDelta::try_days(count),
            _ => None,
        };
        span.map(Self::Ago).ok_or(SinceError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_at_a_moment_or_some_time_ago() {
        let now = DateTime::from_timestamp(1_771_000_000, 0).unwrap();
        let begins = |text: &str| text.parse::<Since>().map(|since| since.as_of(now).timestamp());

        assert_eq!(begins("90s"), Ok(1_770_999_910));
        assert_eq!(begins("15m"), Ok(1_770_999_100));
        assert_eq!(begins("6h"), Ok(1_770_978_400));
        assert_eq!(begins("2d"), Ok(1_770_827_200));
        assert_eq!(begins("2026-02-13T17:26:40+01:00"), Ok(1_771_000_000));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["", "d", "-1d", "1w", "1.5h", "yesterday", "2026-02-13", "5é"] {
            assert_eq!(bad.parse::<Since>(), Err(SinceError), "{bad:?}");
        }
    }
}
