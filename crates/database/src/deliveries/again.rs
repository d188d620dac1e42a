//! Deliveries that are made due again on a person's word, whatever became of them.

use std::collections::HashSet;

use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{
    in_lanes,
    waiting::{self, MadeDue},
    wanted::DeliveryRow,
};
use crate::{QueryResult, lanes};

statement! {
    /// A lease that somebody holds is left to end: a second request beside the one under way would help nobody. What was never
    /// tried stays a first attempt; all else gives way to those (`again`), however many it is. What was delivered remembers
    /// since when, or what comes of the sending again could not be told from what comes of a delivery that nobody has. Rows of
    /// `due` are locked before those of `deliveries`, as `attempts::record` does, so that the two never wait for each other.
    MakeDue {
        events: Vec<Uuid> => Array<SqlUuid>,
        endpoints: Vec<&'a str> => Array<Text>,
        states: &'a [&'a str] => Array<Text>,
    } -> (SqlUuid, Text),
    "WITH wanted AS MATERIALIZED (SELECT * FROM unnest(?, ?) AS w (event_id, endpoint_id)), \
     locked AS MATERIALIZED (SELECT u.event_id FROM due u JOIN wanted w ON u.event_id = w.event_id AND u.endpoint_id || '' = w.endpoint_id \
         ORDER BY u.event_id, u.endpoint_id FOR UPDATE OF u), \
     ordered AS MATERIALIZED (SELECT d.event_id, d.endpoint_id, CASE d.state WHEN 'delivered' THEN d.finished_at END AS delivered_at \
         FROM deliveries d JOIN wanted USING (event_id, endpoint_id) \
         WHERE (SELECT count(*) FROM locked) >= 0 ORDER BY d.event_id, d.endpoint_id FOR UPDATE OF d), \
     again AS (UPDATE deliveries d SET state = 'pending', finished_at = NULL, abandoned_reason = NULL FROM ordered o \
         WHERE d.event_id = o.event_id AND d.endpoint_id = o.endpoint_id AND d.state = ANY(?) \
         RETURNING d.event_id, d.endpoint_id, d.lane, o.delivered_at) \
     INSERT INTO due AS u (event_id, endpoint_id, due_at, again, lane, sequence, delivered_at) \
     SELECT event_id, endpoint_id, CASE WHEN lane IS NULL THEN now() END, true, lane, CASE WHEN lane IS NOT NULL THEN \
         (SELECT sequence FROM events WHERE id = event_id) END, delivered_at FROM again ORDER BY 1, 2 \
     ON CONFLICT (event_id, endpoint_id) DO UPDATE SET due_at = CASE WHEN u.due_at IS NOT NULL THEN now() END, \
         attempts = 0, again = u.retry, lease = NULL \
     WHERE u.lease IS NULL OR u.due_at <= now() RETURNING event_id, endpoint_id"
}

/// What was made due.
#[derive(Debug, Default)]
pub struct Again<'r> {
    /// Those.
    pub rows: Vec<&'r DeliveryRow>,
    /// How many they are, by what they wait for.
    pub made_due: MadeDue,
}

/// Makes deliveries due again from the start of their schedule, under the same ids, if they are still in one of `states`.
/// A late success of an earlier attempt ends them as ever. Says which, and what they wait for: those that are being sent right
/// now, or have ended otherwise meanwhile, are left alone. What has a lane waits for its turn there.
///
/// # Errors
/// As any query.
pub async fn make_due<'r>(
    conn: &AsyncPgConnection,
    rows: &'r [DeliveryRow],
    states: &[&str],
) -> QueryResult<Again<'r>> {
    let statement = MakeDue {
        events: rows.iter().map(|row| row.event_id).collect(),
        endpoints: rows.iter().map(|row| row.endpoint_id.as_str()).collect(),
        states,
        lifetime: std::marker::PhantomData,
    };
    let lanes = lanes::of(rows.iter().map(|row| (row.endpoint_id.as_str(), row.lane.as_deref())));
    let again = async { RunQueryDsl::load::<(Uuid, String)>(statement, &mut &*conn).await };
    let again = in_lanes(conn, &lanes, again).await?;
    let made_due = waiting::what_they_wait_for(conn, &again).await?;
    let again: HashSet<_> = again.iter().map(|(event_id, endpoint_id)| (*event_id, endpoint_id.as_str())).collect();
    let rows = rows.iter().filter(|row| again.contains(&(row.event_id, row.endpoint_id.as_str()))).collect();
    Ok(Again { rows, made_due })
}
