//! Catching up: whatever an endpoint is owed is due once it is enabled.

use tests::Pipeline;

use super::CommandLine;

/// More than three chunks, and a lane. Rows of `due` alone: what they are of is not asked here.
pub(super) const OWED: &str = "SET session_replication_role = replica; \
    INSERT INTO due (event_id, endpoint_id, due_at, attempts) SELECT gen_random_uuid(), 'bot', \
        now() + (n - 100) * interval '1 second', n % 2 * 7 FROM generate_series(1, 45000) AS n; \
    INSERT INTO due (event_id, endpoint_id, due_at, lane, sequence) \
        SELECT gen_random_uuid(), 'bot', NULL, 'anna', n FROM generate_series(1, 3) AS n; \
    SET session_replication_role = DEFAULT";

/// More than one statement could write in time: an endpoint that was disabled for days is owed millions. Who waits in a lane
/// keeps waiting for who is before him.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_endpoint_is_owed_is_due_once_it_is_enabled_however_much_it_is() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    latchhook.json("endpoint disable bot --reason 'their server burnt down'").await;
    pipeline.execute(OWED).await;

    let enabled = latchhook.json("endpoint enable bot").await;

    assert_eq!((&enabled["due_now"], &enabled["waiting_in_lane"]), (&45000.into(), &3.into()));
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE due_at > now() OR attempts > 0").await, 0);
    assert_eq!(pipeline.number("SELECT count(*) FROM due WHERE again AND retry").await, 45000);
}
