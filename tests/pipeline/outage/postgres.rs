//! Postgres is away, or takes nothing: workers pause, nothing fails, and what waited is recorded when it is over.

use std::time::Duration;

use super::{installation::Installation, weather::Trouble};

/// As long as a database takes that is restarted, or fails over.
const SHORT: Duration = Duration::from_secs(30);
/// Longer than the 300 s after which apalis's own budget of attempts would have given every job up.
const LONG: Duration = Duration::from_secs(360);
/// Long enough for several breaks, and for the shortest retry that a worker could come up with.
const BRIEF: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn in_30_seconds_without_postgres_no_attempt_is_counted_and_nothing_fails() {
    postgres_is_away_for(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes six minutes: cargo nextest run -p tests --test outage --run-ignored only 6_minutes"]
async fn in_6_minutes_without_postgres_no_attempt_is_counted_and_nothing_fails() {
    postgres_is_away_for(LONG).await;
}

async fn postgres_is_away_for(time: Duration) {
    let mut it = Installation::new().await;
    it.employ();
    let enqueuing = it.keep_enqueuing();
    it.until_recorded(100).await;

    it.postgres.kill();
    Trouble::outage(time).pass(&it, &enqueuing).await;
    assert_eq!(it.look().await.claims_held, 0, "failed work releases at once");
    it.postgres_comes_back().await;

    let (raw_events, events) = enqueuing.stop().await;
    it.must_have_recorded(events, raw_events).await;
}

/// After a failover the address may lead to a server that only reads; so may every connection that was open before.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_only_reads_is_as_good_as_away() {
    let begins = ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"];
    let ends = ["ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"];

    postgres_is_troubled(Trouble::outage(BRIEF), &begins, &ends).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_has_too_many_connections_is_as_good_as_away() {
    let begins = "ALTER ROLE stage CONNECTION LIMIT 0; \
                  SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'stage'";
    let ends = "ALTER ROLE stage CONNECTION LIMIT -1";

    postgres_is_troubled(Trouble::outage(BRIEF), &[begins], &[ends]).await;
}

/// It answers, and nothing can be written: without a pause between tries this would be a hot loop.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_whose_disk_is_full_is_left_alone_for_a_while_again_and_again() {
    let begins = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                  RAISE 'could not extend file \"base/5/16384\": No space left on device' USING ERRCODE = '53100'; END $$; \
                  CREATE TRIGGER no_room BEFORE INSERT ON events EXECUTE FUNCTION no_room()";
    let ends = "DROP TRIGGER no_room ON events";

    postgres_is_troubled(Trouble::refusal(BRIEF), &[begins], &[ends]).await;
}

/// Longer than the two seconds that a worker waits for a lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_locks_for_long_holds_the_work_up_and_fails_none() {
    let begins = "BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE";

    postgres_is_troubled(Trouble::refusal(BRIEF), &[begins], &["ROLLBACK"]).await;
}

async fn postgres_is_troubled(trouble: Trouble, begins: &[&str], ends: &[&str]) {
    let mut it = Installation::new().await;
    it.employ();
    let enqueuing = it.keep_enqueuing();
    it.until_recorded(20).await;

    for statement in begins {
        it.execute(statement).await;
    }
    it.enqueue(1000).await;
    trouble.pass(&it, &enqueuing).await;
    for statement in ends {
        it.execute(statement).await;
    }

    let (raw_events, events) = enqueuing.stop().await;
    it.must_have_recorded(events + 1000, raw_events + 1000).await;
}
