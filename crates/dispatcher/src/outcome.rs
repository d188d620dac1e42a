//! What an attempt came to, and what follows from it.
//!
//! The causes are a bounded set of labels: a metric may carry them, and an operator can group abandoned deliveries by them.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use http::StatusCode;

pub use database::attempts::Next;

/// Retry-After is believed up to a day: it is a customer's word, and a slip of the pen must not hold a delivery for a year.
const LONGEST_WISH: Duration = Duration::from_secs(24 * 3600);
const LONGEST_JITTER: Duration = Duration::from_secs(600);

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx, with its whole answer inside the deadline.
    Delivered,
    /// Any other answer; a redirect is one of them.
    Declined {
        /// What the customer answered.
        status: StatusCode,
        /// When it wants to hear from us again, where its status makes that a promise to work then: 429, 502, 503, 504.
        retry_after: Option<Duration>,
    },
    /// No answer, or not all of it.
    Failed(Cause),
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The deadline came first, wherever the time went: resolving, connecting, waiting, or an answer that drips.
    Timeout,
    /// The name does not resolve.
    Dns,
    /// The guard refused the URL or an address of it.
    Guard,
    /// Nobody listens there.
    Refused,
    /// No way there.
    Unreachable,
    /// The TLS handshake failed.
    Tls,
    /// The connection ended before the answer did.
    Reset,
    /// The answer is no HTTP.
    Protocol,
    /// The answer is larger than we read.
    TooLarge,
    /// The endpoint's secrets do not open or are none: nothing was sent.
    Secret,
    /// What the endpoint's requests are to carry does not open or cannot be read: nothing was sent.
    Access,
}

impl Cause {
    const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Guard => "guard",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Secret => "secret",
            Self::Access => "access",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Outcome {
    /// Every label that [`Outcome::label`] gives.
    pub const LABELS: [&'static str; 14] = [
        "delivered",
        "status",
        "redirect",
        "timeout",
        "dns",
        "guard",
        "refused",
        "unreachable",
        "tls",
        "reset",
        "protocol",
        "too_large",
        "secret",
        "access",
    ];

    /// Reads an answer that came whole. `retry_after` is the header's value.
    pub fn of_answer(status: StatusCode, retry_after: Option<&str>, now: DateTime<Utc>) -> Self {
        if status.is_success() {
            return Self::Delivered;
        }
        let retry_after = retry_after.filter(|_| matches!(status.as_u16(), 429 | 502 | 503 | 504));
        Self::Declined { status, retry_after: retry_after.and_then(|value| wish(value, now)) }
    }

    /// The outcome in one word of a bounded set; written to `attempts.outcome`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Declined { status, .. } if status.is_redirection() => "redirect",
            Self::Declined { .. } => "status",
            Self::Failed(cause) => cause.label(),
        }
    }
}

/// Retry-After as RFC 9110 has it: seconds, or a date.
fn wish(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(value.trim()).ok()?;
    Some((at.to_utc() - now).to_std().unwrap_or(Duration::ZERO))
}

/// When a delivery that failed is tried again: the pauses between one attempt and the next. When they are used up it is
/// abandoned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(pub Vec<Duration>);

impl Default for Schedule {
    /// Standard Webhooks 1.0.0: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h. Ten attempts in
    /// 75 hours and 35 minutes.
    fn default() -> Self {
        Self([5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400].map(Duration::from_secs).into())
    }
}

/// Decides what follows from an attempt.
///
/// `attempts` is how many requests were recorded before it, since the delivery was last made due; `random` is from 0 to 1.
/// A retry comes up to a tenth of its pause later, at most ten minutes, so that what failed together does not come back
/// together. A customer's wish only ever makes it later, by a day at most.
pub fn judge(outcome: &Outcome, attempts: u32, schedule: &Schedule, random: f64) -> Next {
    let wish = match outcome {
        Outcome::Delivered => return Next::Delivered,
        Outcome::Declined { retry_after, .. } => retry_after.unwrap_or_default().min(LONGEST_WISH),
        Outcome::Failed(_) => Duration::ZERO,
    };
    let Some(pause) = usize::try_from(attempts).ok().and_then(|place| schedule.0.get(place)) else {
        return Next::Abandoned;
    };
    let pause = wish.max(*pause);
    let jitter = (pause / 10).min(LONGEST_JITTER).mul_f64(random.clamp(0.0, 1.0));
    Next::Retry { after: pause + jitter }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Outcome {
        let now = "2026-11-06T08:49:37Z".parse().unwrap();
        Outcome::of_answer(StatusCode::from_u16(status).unwrap(), retry_after, now)
    }

    fn after(outcome: &Outcome, attempts: u32, random: f64) -> Option<Duration> {
        match judge(outcome, attempts, &Schedule::default(), random) {
            Next::Retry { after } => Some(after),
            Next::Delivered | Next::Abandoned => None,
        }
    }

    #[test]
    fn two_hundred_and_something_is_delivered_and_nothing_else_is() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judge(&answer(status, None), 9, &Schedule::default(), 0.0), Next::Delivered);
        }
        for status in [100, 301, 302, 307, 304, 400, 401, 404, 410, 429, 500, 503] {
            assert_ne!(judge(&answer(status, None), 0, &Schedule::default(), 0.0), Next::Delivered, "{status}");
        }
    }

    #[test]
    fn the_schedule_of_standard_webhooks_ends_after_ten_attempts_and_seventy_five_hours() {
        let failed = Outcome::Failed(Cause::Timeout);

        let pauses: Vec<_> = (0..9).map(|attempts| after(&failed, attempts, 0.0).unwrap()).collect();

        assert_eq!(pauses[0], Duration::from_secs(5));
        assert_eq!(pauses.iter().sum::<Duration>(), Duration::from_secs(75 * 3600 + 35 * 60 + 5));
        assert_eq!(judge(&failed, 9, &Schedule::default(), 0.0), Next::Abandoned);
        assert_eq!(judge(&failed, u32::MAX, &Schedule::default(), 0.0), Next::Abandoned);
    }

    #[test]
    fn jitter_only_makes_a_retry_later_and_never_by_more_than_ten_minutes() {
        let failed = Outcome::Failed(Cause::Reset);

        assert_eq!(after(&failed, 0, 1.0), Some(Duration::from_millis(5500)));
        assert_eq!(after(&failed, 8, 1.0), Some(Duration::from_secs(24 * 3600 + 600)));
        assert_eq!(after(&failed, 0, f64::INFINITY), after(&failed, 0, 1.0));
    }

    #[test]
    fn a_customer_who_is_overloaded_may_ask_for_later_but_not_for_sooner_or_for_never() {
        let seconds = |wish, attempts| after(&answer(503, Some(wish)), attempts, 0.0).unwrap().as_secs();

        assert_eq!(seconds("120", 0), 120);
        assert_eq!(seconds("120", 1), 300);
        assert_eq!(seconds("Fri, 06 Nov 2026 08:51:37 GMT", 0), 120);
        assert_eq!(seconds("Fri, 06 Nov 2020 08:51:37 GMT", 0), 5);
        assert_eq!(seconds("99999999999", 0), 24 * 3600);
        assert_eq!(seconds("-1", 0), 5);
        assert_eq!(seconds("soon", 0), 5);
    }

    #[test]
    fn only_statuses_that_speak_of_overload_may_ask() {
        for status in [429, 502, 503, 504] {
            assert_eq!(after(&answer(status, Some("60")), 0, 0.0), Some(Duration::from_secs(60)), "{status}");
        }
        for status in [301, 400, 500] {
            assert_eq!(after(&answer(status, Some("60")), 0, 0.0), Some(Duration::from_secs(5)), "{status}");
        }
    }

    #[test]
    fn every_outcome_has_a_label_of_the_list() {
        use Cause::{Access, Dns, Guard, Protocol, Refused, Reset, Secret, Timeout, Tls, TooLarge, Unreachable};
        let causes = [Timeout, Dns, Guard, Refused, Unreachable, Tls, Reset, Protocol, TooLarge, Secret, Access];
        let mut outcomes = vec![answer(200, None), answer(500, None), answer(302, None)];
        outcomes.extend(causes.map(Outcome::Failed));

        let labels: Vec<_> = outcomes.iter().map(Outcome::label).collect();

        assert_eq!(labels, Outcome::LABELS);
    }
}
