//! Retries of many that nobody works at any more: whoever did has died, or was interrupted, and what is left is not tried again.

use database::{
    AsyncPgConnection,
    retries::{self, RetryRow},
};

use super::{Checkup, failed};
use crate::cli::schedule::moment;

const CHECK: &str = "no retry of many deliveries has stopped";

/// So many are named.
const NAMED: usize = 5;

pub(super) async fn stopped(conn: &AsyncPgConnection) -> Checkup {
    match retries::stopped(conn).await {
        Ok(stopped) => Checkup::should(CHECK, stopped.is_empty(), found(&stopped), remedy(&stopped)),
        Err(error) => failed(CHECK, error, ""),
    }
}

fn found(stopped: &[RetryRow]) -> String {
    let named = stopped.iter().take(NAMED).map(|RetryRow { id, taken, wanted, next_at, .. }| {
        format!("retry {id} took {taken} of {wanted}, and nothing since {}", moment(*next_at))
    });
    match stopped.len() {
        0 => "none has".to_owned(),
        all if all > NAMED => format!("{}; and {} more", named.collect::<Vec<_>>().join("; "), all - NAMED),
        _ => named.collect::<Vec<_>>().join("; "),
    }
}

fn remedy(stopped: &[RetryRow]) -> String {
    let commands = stopped.iter().take(NAMED).map(|RetryRow { id, .. }| {
        format!("latchhook deliveries retries resume {id} (goes on), or latchhook deliveries retries cancel {id}")
    });
    commands.collect::<Vec<_>>().join("; ")
}
