//! Deliveries that are given up on a person's word, before their schedules end.
//!
//! What somebody has a lease on may be at its customer's door: it is left alone, and ends as it would have, or is abandoned
//! by a later word. Whose lease has ended with nothing recorded is abandoned, or what a disabled endpoint is owed could not
//! be; but its dispatcher may have sent it before it died, so its row says that. Should the dispatcher live, a late success
//! counts as ever: whoever is known to have it is never called abandoned. So what was delivered, and is only sent again, is
//! delivered as before.

use diesel::sql_types::{Array, Bool, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{in_lanes, wanted::DeliveryRow};
use crate::{QueryResult, lanes};

/// What stands behind the reason of a delivery that was leased, and of which nothing was recorded.
const UNRECORDED: &str = " (its last lease ended unrecorded: its customer may have it)";

/// A reason as it was given, without what stands behind it here and there.
pub fn as_given(reason: &str) -> &str {
    reason.strip_suffix(UNRECORDED).unwrap_or(reason)
}

/// All that a reason may have been kept as.
pub(super) fn as_kept(reason: &str) -> [String; 2] {
    [reason.to_owned(), format!("{reason}{UNRECORDED}")]
}

statement! {
    /// Locks rows in the order in which `make_due` does. Who waits here for a dispatcher that is leasing, or recording, sees
    /// what it has done.
    Abandon {
        events: Vec<Uuid> => Array<SqlUuid>,
        endpoints: Vec<&'a str> => Array<Text>,
        reason: &'a str => Text,
        unrecorded: &'a str => Text,
    } -> (Text, Bool, Bool),
    "WITH wanted AS MATERIALIZED (SELECT * FROM unnest(?, ?) AS w (event_id, endpoint_id)), \
     locked AS MATERIALIZED (SELECT u.event_id, u.endpoint_id, u.lease IS NOT NULL AS was_leased, u.delivered_at \
         FROM due u JOIN wanted w ON u.event_id = w.event_id AND u.endpoint_id || '' = w.endpoint_id \
         WHERE u.lease IS NULL OR u.due_at <= now() ORDER BY u.event_id, u.endpoint_id FOR UPDATE OF u), \
     ordered AS MATERIALIZED (SELECT d.event_id FROM deliveries d JOIN locked USING (event_id, endpoint_id) \
         ORDER BY d.event_id, d.endpoint_id FOR UPDATE OF d), \
     gone AS (DELETE FROM due u USING locked l WHERE u.event_id = l.event_id AND u.endpoint_id || '' = l.endpoint_id \
         AND (SELECT count(*) FROM ordered) >= 0 RETURNING l.event_id, l.endpoint_id, l.was_leased, l.delivered_at) \
     UPDATE deliveries d SET state = CASE WHEN g.delivered_at IS NULL THEN 'abandoned' ELSE 'delivered' END, \
         finished_at = coalesce(g.delivered_at, now()), \
         abandoned_reason = CASE WHEN g.delivered_at IS NULL THEN ? || CASE WHEN g.was_leased THEN ? ELSE '' END END \
     FROM gone g WHERE d.event_id = g.event_id AND d.endpoint_id = g.endpoint_id \
     RETURNING d.webhook_id, g.delivered_at IS NOT NULL, g.was_leased AND g.delivered_at IS NULL"
}

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// Which.
    pub webhook_id: String,
    /// Whether its customer has it since before it was sent again: it is delivered, as of then, and not abandoned.
    pub is_delivered: bool,
    /// Whether it is abandoned, and its last lease had ended with nothing recorded: its customer may have it.
    pub is_unrecorded: bool,
}

/// Gives up those of these deliveries that are pending, and that nobody has a lease on; the next of their lanes are due then.
/// In the transaction of the caller, who writes down on whose word.
///
/// # Errors
/// As any query.
pub async fn abandon(conn: &AsyncPgConnection, rows: &[DeliveryRow], reason: &str) -> QueryResult<Vec<Abandoned>> {
    let statement = Abandon {
        events: rows.iter().map(|row| row.event_id).collect(),
        endpoints: rows.iter().map(|row| row.endpoint_id.as_str()).collect(),
        reason,
        unrecorded: UNRECORDED,
        lifetime: std::marker::PhantomData,
    };
    let lanes = lanes::of(rows.iter().map(|row| (row.endpoint_id.as_str(), row.lane.as_deref())));
    let abandoned = async { RunQueryDsl::load::<(String, bool, bool)>(statement, &mut &*conn).await };
    let abandoned = in_lanes(conn, &lanes, abandoned).await?;
    let abandoned = abandoned.into_iter().map(|(webhook_id, is_delivered, is_unrecorded)| Abandoned {
        webhook_id,
        is_delivered,
        is_unrecorded,
    });
    Ok(abandoned.collect())
}
