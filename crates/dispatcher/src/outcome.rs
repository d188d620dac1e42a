//! What an attempt came to, and what follows from it.
//!
//! The causes are a bounded set of labels: a metric may carry them, and an operator can group abandoned deliveries by them.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use http::StatusCode;

pub use database::attempts::Next;

pub use crate::schedule::Schedule;
use crate::{retry_after::wish, schedule::with_jitter};

/// Retry-After is believed up to a day, jitter included: it is a customer's word, and a slip of the pen must not hold a
/// delivery for a year.
const LONGEST_WISH: Duration = Duration::from_secs(24 * 3600);
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(3600);

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
    /// The endpoint's secrets do not open, are none, or have all ended: nothing was sent.
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

    /// Reads an answer that came whole, or of which the head is enough. `retry_after` are that header's values.
    pub fn of_answer<'v>(
        status: StatusCode,
        retry_after: impl IntoIterator<Item = &'v str>,
        now: DateTime<Utc>,
    ) -> Self {
        if status.is_success() {
            return Self::Delivered;
        }
        let retry_after = if speaks_of_overload(status) { wish(retry_after, now) } else { None };
        Self::Declined { status, retry_after }
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

impl Outcome {
    /// How long the endpoint as a whole is left alone: it has said that it is overloaded (429, 502, 503, 504). A second if it
    /// does not say for how long, an hour at most: what one request was told is not to stop all others for a day.
    pub(crate) fn rest(&self) -> Duration {
        match self {
            Self::Declined { status, retry_after } if speaks_of_overload(*status) => {
                retry_after.unwrap_or_default().clamp(SHORTEST_REST, LONGEST_REST)
            }
            _ => Duration::ZERO,
        }
    }

    /// Whether it says for how long it is overloaded.
    pub(crate) fn asks_for_later(&self) -> bool {
        matches!(self, Self::Declined { retry_after: Some(_), .. })
    }

    /// Whether the endpoint says that it will never be there again (Standard Webhooks 1.0.0: 410 disables it).
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Declined { status: StatusCode::GONE, .. })
    }
}

fn speaks_of_overload(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// Decides what follows from an attempt.
///
/// `attempts` is how many requests were recorded before it, since the delivery was last made due; `random` is from 0 to 1.
/// An answer with one of the statuses of `give_up_on` is the last, wherever in its schedule the delivery is. Else a retry
/// comes up to a tenth of its pause later, at most ten minutes. A customer's wish only ever makes it later: it comes no sooner
/// than asked, and with its jitter a day later at most, or when the schedule has it if that is later still.
pub fn judge(outcome: &Outcome, attempts: u32, schedule: &Schedule, give_up_on: &[i16], random: f64) -> Next {
    let is_last = |status: &StatusCode| give_up_on.iter().any(|last| u16::try_from(*last) == Ok(status.as_u16()));
    let wish = match outcome {
        Outcome::Delivered => return Next::Delivered,
        Outcome::Declined { status, .. } if is_last(status) => return Next::GivenUp,
        Outcome::Declined { retry_after, .. } => retry_after.unwrap_or_default(),
        Outcome::Failed(_) => Duration::ZERO,
    };
    match schedule.pause(attempts) {
        Some(pause) => {
            let asked = with_jitter(wish, random).min(LONGEST_WISH);
            Next::Retry { after: with_jitter(pause, random).max(asked) }
        }
        None => Next::Abandoned,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Outcome {
        let now = "2026-11-06T08:49:37Z".parse().unwrap();
        Outcome::of_answer(StatusCode::from_u16(status).unwrap(), retry_after, now)
    }

    fn after(outcome: &Outcome, attempts: u32, random: f64) -> Option<Duration> {
        match judge(outcome, attempts, &Schedule::default(), &[], random) {
            Next::Retry { after } => Some(after),
            Next::Delivered | Next::Abandoned | Next::GivenUp => None,
        }
    }

    #[test]
    fn two_hundred_and_something_is_delivered_and_nothing_else_is() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judge(&answer(status, None), 9, &Schedule::default(), &[], 0.0), Next::Delivered);
        }
        for status in [100, 301, 302, 307, 304, 400, 401, 404, 410, 429, 500, 503] {
            assert_ne!(judge(&answer(status, None), 0, &Schedule::default(), &[], 0.0), Next::Delivered, "{status}");
        }
    }

    #[test]
    fn the_schedule_of_standard_webhooks_ends_after_ten_attempts_and_seventy_five_hours() {
        let failed = Outcome::Failed(Cause::Timeout);

        let pauses: Vec<_> = (0..9).map(|attempts| after(&failed, attempts, 0.0).unwrap()).collect();

        assert_eq!(pauses[0], Duration::from_secs(5));
        assert_eq!(pauses.iter().sum::<Duration>(), Duration::from_secs(75 * 3600 + 35 * 60 + 5));
        assert_eq!(judge(&failed, 9, &Schedule::default(), &[], 0.0), Next::Abandoned);
        assert_eq!(judge(&failed, u32::MAX, &Schedule::default(), &[], 0.0), Next::Abandoned);
    }

    /// Whatever it asks for, and wherever the delivery stands. What is no answer at all is none of them.
    #[test]
    fn only_an_answer_that_the_endpoint_gives_up_on_is_the_last_before_the_schedule_has_ended() {
        let last = |outcome: &Outcome| judge(outcome, 0, &Schedule::default(), &[400, 422], 0.0) == Next::GivenUp;

        assert!(last(&answer(400, None)) && last(&answer(422, Some("60"))));
        for status in [300, 399, 401, 404, 421, 423, 429, 500] {
            assert!(!last(&answer(status, None)), "{status}");
        }
        assert!(!last(&Outcome::Failed(Cause::Protocol)));
        assert_eq!(judge(&answer(200, None), 0, &Schedule::default(), &[400], 0.0), Next::Delivered);
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
        assert_eq!(seconds("99999999999999999999999", 0), 24 * 3600);
        for nothing in ["-1", "+60", "1.5", "60 s", "soon", "", "Fri, 31 Feb 2026 08:51:37 GMT"] {
            assert_eq!(seconds(nothing, 0), 5, "{nothing:?}");
        }
    }

    #[test]
    fn of_several_wishes_the_latest_counts_in_one_header_or_in_two_and_what_cannot_be_read_costs_none() {
        let now = "2026-11-06T08:49:37Z".parse().unwrap();
        let seconds = |values: &[&'static str]| {
            let outcome = Outcome::of_answer(StatusCode::SERVICE_UNAVAILABLE, values.iter().copied(), now);
            after(&outcome, 0, 0.0).unwrap().as_secs()
        };

        assert_eq!([seconds(&["60", "120"]), seconds(&["120", "60"]), seconds(&["60, 120"])], [120; 3]);
        assert_eq!(seconds(&["60", "Fri, 06 Nov 2026 08:51:37 GMT"]), 120);
        assert_eq!(seconds(&["Friday, 06-Nov-26 08:51:37 GMT, 60, Fri, 06 Nov 2020 08:51:37 GMT"]), 120);
        assert_eq!(seconds(&["soon", "", "120", "-1"]), 120);
        assert_eq!([seconds(&[]), seconds(&["0", "1"]), seconds(&["60", "99999999999"])], [5, 5, 24 * 3600]);
    }

    #[test]
    fn whoever_asks_for_a_day_or_more_is_heard_from_after_a_day_whatever_the_jitter() {
        let hours = |wish, random| after(&answer(503, Some(wish)), 0, random).unwrap().as_secs_f64() / 3600.0;

        assert_eq!([hours("86400", 0.0), hours("86400", 1.0), hours("99999999999", 1.0)], [24.0, 24.0, 24.0]);
        assert_eq!([hours("72000", 0.0), hours("72000", 1.0)], [20.0, 20.0 + 1.0 / 6.0], "jitter as ever below that");
        let last = after(&answer(503, Some("86400")), 8, 1.0);
        assert_eq!(last, Some(Duration::from_secs(24 * 3600 + 600)), "the schedule's own pause has its own");
    }

    #[test]
    fn a_date_is_read_in_each_form_that_http_has() {
        let seconds = |wish| after(&answer(503, Some(wish)), 0, 0.0).unwrap().as_secs();

        assert_eq!(seconds("Fri, 06 Nov 2026 08:51:37 GMT"), 120);
        assert_eq!(seconds("Friday, 06-Nov-26 08:51:37 GMT"), 120);
        assert_eq!(seconds("Fri Nov  6 08:51:37 2026"), 120);
        assert_eq!(seconds("Sun Nov  6 08:49:37 1994"), 5);
        assert_eq!(seconds("Sat, 06 Nov 9999 08:51:37 GMT"), 24 * 3600);
    }

    proptest! {
        #[test]
        fn whatever_a_customer_says_a_retry_comes_no_sooner_than_its_pause_and_a_day_later_at_most_jitter_included(
            status in 300..600_u16,
            value in prop_oneof!["\\PC{0,30}", "-?[0-9]{0,30}", "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} 08:51:37 GMT"],
            attempts in 0..9_u32,
            random in any::<f64>(),
        ) {
            let pause = Schedule::default().0[attempts as usize];

            let after = after(&answer(status, Some(&value)), attempts, random).unwrap();

            prop_assert!(pause <= after && after <= with_jitter(pause, 1.0).max(LONGEST_WISH));
        }
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
