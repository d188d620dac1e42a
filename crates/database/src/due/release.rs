//! Leases that are given back: nothing was sent under them, so they have cost nobody anything.

use std::{marker::PhantomData, time::Duration};

use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{Leased, microseconds};
use crate::QueryResult;

statement! {
    /// What the gate gave for it goes back with the lease: the token of who is limited, and a probe leaves the circuit to the
    /// next, after the same pause. Gates are locked in the order of their endpoints, as [`crate::gates::note`] does.
    Release {
        pause_us: i64 => BigInt,
        events: Vec<Uuid> => Array<SqlUuid>,
        endpoints: Vec<&'a str> => Array<Text>,
        leases: Vec<i64> => Array<BigInt>,
        probes: Vec<Option<bool>> => Array<Nullable<Bool>>,
    } -> (),
    "WITH asked (due_at) AS (SELECT now() + ? * interval '1 microsecond'), \
     given AS MATERIALIZED (SELECT * FROM unnest(?, ?, ?, ?) AS g (event_id, endpoint_id, lease, is_probe)), \
     back AS (UPDATE due d SET lease = NULL, due_at = a.due_at FROM given g CROSS JOIN asked a \
         WHERE d.event_id = g.event_id AND d.endpoint_id || '' = g.endpoint_id AND d.lease = g.lease \
         RETURNING g.endpoint_id, g.is_probe), \
     passed AS MATERIALIZED (SELECT endpoint_id, count(*) AS leases, bool_or(is_probe) AS probed \
         FROM back WHERE is_probe IS NOT NULL GROUP BY endpoint_id), \
     held AS MATERIALIZED (SELECT g.endpoint_id, p.leases, p.probed, e.max_per_second AS most \
         FROM passed p JOIN gates g USING (endpoint_id) JOIN endpoints e ON e.id = g.endpoint_id \
         ORDER BY g.endpoint_id FOR UPDATE OF g) \
     UPDATE gates g SET is_probed = g.is_probed AND NOT h.probed, \
         rests_until = CASE WHEN g.is_probed AND h.probed THEN (SELECT due_at FROM asked) ELSE g.rests_until END, \
         tokens = CASE WHEN h.most IS NULL THEN g.tokens ELSE least(greatest(1, h.most), g.tokens + h.leases) END \
     FROM held h WHERE g.endpoint_id = h.endpoint_id"
}

/// Gives back leases under which nothing was sent: due after a pause, for whoever comes first then. Whoever has the lease now
/// keeps it, if another has.
///
/// # Errors
/// As any query.
pub async fn release<B>(conn: &AsyncPgConnection, unused: &[Leased<B>], pause: Duration) -> QueryResult<()> {
    let statement = Release {
        pause_us: microseconds(pause),
        events: unused.iter().map(|leased| leased.event_id).collect(),
        endpoints: unused.iter().map(|leased| leased.endpoint_id.as_str()).collect(),
        leases: unused.iter().map(|leased| leased.lease).collect(),
        probes: unused.iter().map(|leased| leased.gate.map(|gate| gate.is_probe)).collect(),
        lifetime: PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop)
}
