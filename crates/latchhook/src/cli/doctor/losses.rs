//! What would be lost, said beforehand. docs/what-redis-may-forget.md has the whole table, with the tests that show it.

use queue::{Inbound, ServerFacts};

use super::{Checkup, failed};

/// What these settings lose when the machine dies. That they should be others is said by the checks of each.
pub(super) fn at_a_crash(facts: &ServerFacts) -> Checkup {
    let loses = match (facts.is_append_only, facts.append_fsync.as_deref()) {
        (false, _) => "everything queued since its last snapshot, as every restart does: there is no log",
        (true, Some("always")) => "nothing that was acknowledged",
        (true, Some("everysec")) => "what was acknowledged in the last 2 seconds and is not committed yet",
        (true, Some(_)) => {
            "what was acknowledged since the system last wrote, often 30 seconds, and is not committed yet"
        }
        (true, None) => "unknown: CONFIG GET is forbidden",
    };
    Checkup::tells("what a machine that loses power takes with it", loses)
}

/// What is queued now and in Redis alone.
pub(super) async fn with_its_memory(inbound: &Inbound) -> Checkup {
    let check = "what a redis that lost its memory would take with it";
    match inbound.pending().await {
        Ok(pending) => Checkup::tells(check, queued(pending.iter().map(|job| u64::from(job.count)).sum())),
        Err(error) => failed(check, error, ""),
    }
}

fn queued(raw_events: u64) -> String {
    match raw_events {
        0 => "no raw event is queued".to_owned(),
        1 => "1 raw event is queued".to_owned(),
        more => format!("{more} raw events are queued"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_says_what_it_loses() {
        let with = |is_append_only, append_fsync: Option<&str>| {
            let facts = ServerFacts {
                name: "redis".into(),
                version: "7.0.15".into(),
                run_id: String::new(),
                used_memory: 0,
                max_memory: None,
                system_memory: 0,
                policy: "noeviction".into(),
                is_append_only,
                append_fsync: append_fsync.map(str::to_owned),
            };
            at_a_crash(&facts).found
        };

        assert_eq!(with(true, Some("always")), "nothing that was acknowledged");
        assert!(with(true, Some("everysec")).contains("2 seconds"));
        assert!(with(true, Some("no")).contains("30 seconds"));
        assert!(with(false, Some("always")).contains("every restart"));
        assert!(with(true, None).contains("unknown"));
    }
}
