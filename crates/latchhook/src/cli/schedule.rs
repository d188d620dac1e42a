//! When deliveries are tried again, and when they are given up: what `run` is told, and others show.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;
use database::deliveries::DeliveryRow;
use dispatcher::{Schedule, Span};
use serde::Serialize;

use super::tuning::time;

/// The schedule of endpoints without one of their own.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct FleetSchedule {
    /// The pauses before each further attempt of a delivery, where its endpoint has none of its own; after the last one it
    /// is given up
    #[arg(long, env = "LATCHHOOK_RETRY_AFTER", value_name = "TIMES", value_delimiter = ',', value_parser = pause,
          default_value = "5s,5m,30m,2h,5h,10h,14h,20h,24h")]
    retry_after: Vec<Duration>,
}

/// A single time: humantime would add `5s 5m` up.
fn pause(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.contains(char::is_whitespace) {
        return Err("pauses are written with commas between them: 5s,5m,2h".to_owned());
    }
    time(text)
}

impl From<Schedule> for FleetSchedule {
    fn from(schedule: Schedule) -> Self {
        Self { retry_after: schedule.0 }
    }
}

impl FleetSchedule {
    /// The schedule of an endpoint, whose own is in seconds if it has one.
    pub(super) fn of(&self, own: Option<&[i32]>) -> Schedule {
        own.map_or_else(|| Schedule(self.retry_after.clone()), Schedule::of_seconds)
    }

    /// A delivery, and when it is given up.
    pub(super) fn foresee(&self, row: DeliveryRow) -> Foreseen {
        Foreseen { gives_up_at: self.gives_up_at(&row), row }
    }

    /// Nobody can tell of one that is held: its endpoint must be enabled first.
    fn gives_up_at(&self, row: &DeliveryRow) -> Option<DateTime<Utc>> {
        let (due_at, place) = (row.due_at.filter(|_| !row.held)?, row.place?);
        let left = self.of(row.schedule_s.as_deref()).left(place.unsigned_abs());
        due_at.checked_add_signed(TimeDelta::from_std(left.at_most).ok()?)
    }
}

/// A delivery, and what is to be expected of it.
#[derive(Debug, Serialize)]
pub(super) struct Foreseen {
    #[serde(flatten)]
    pub(super) row: DeliveryRow,
    /// While pending: when it is given up at the latest, if every attempt fails; but for what the requests take, and for
    /// what the customer asks for by Retry-After.
    pub(super) gives_up_at: Option<DateTime<Utc>>,
}

/// An attempt of a schedule, if all before it fail.
#[derive(Debug, Serialize)]
pub(super) struct Preview {
    attempt: usize,
    /// From the first attempt, without jitter.
    after_s: f64,
    /// Likewise, with all of it.
    at_most_s: f64,
    #[serde(skip)]
    span: Span,
}

/// Every attempt of a schedule.
pub(super) fn preview(schedule: &Schedule) -> Vec<Preview> {
    let preview = |(place, span): (usize, Span)| {
        let [after_s, at_most_s] = [span.at_least, span.at_most].map(|time| time.as_secs_f64());
        Preview { attempt: place + 1, after_s, at_most_s, span }
    };
    schedule.attempts().enumerate().map(preview).collect()
}

impl Preview {
    /// For people.
    pub(super) fn row(&self) -> serde_json::Value {
        let [after, at_most] = [self.span.at_least, self.span.at_most].map(readable);
        serde_json::json!({"attempt": self.attempt, "after": after, "with_jitter_at_most": at_most})
    }
}

/// A time as people write it: `2h 30m`.
pub(super) fn readable(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// A moment as people read it, to the second.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_without_a_comma_between_them_are_not_added_up() {
        let read = ["5s", " 5m ", "5s 5m", "5s\t5m"].map(pause);

        assert_eq!(read[..2], [Ok(Duration::from_secs(5)), Ok(Duration::from_secs(300))]);
        for refused in &read[2..] {
            assert!(refused.as_ref().is_err_and(|error| error.contains("with commas")), "{refused:?}");
        }
    }
}
