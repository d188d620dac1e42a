//! `audit`: promises 1 to 4, checked on what stands in Postgres.
//!
//! Each check is one statement, so it sees one moment and holds while the stages go on working. It gives the ids of what
//! breaks it; none is what it should give. What Postgres alone cannot know (which numbers the queue gave, what is still
//! pending there) is compared by the caller with [`incarnations`] and [`gaps`].

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde::Serialize;
use vocabulary::Incarnation;

use crate::QueryResult;

/// How many offending ids a finding names; the rest are counted.
pub const NAMED: usize = 20;

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which promise it is part of.
    pub promise: u8,
    /// What must be true.
    pub check: &'static str,
    /// Of how many it is not.
    pub breaches: u64,
    /// The first [`NAMED`] of them.
    pub offenders: Vec<String>,
}

struct Check {
    promise: u8,
    must: &'static str,
    /// Selects one text, `offender`, for each breach.
    breaches: &'static str,
}

// `textsend` gives text in the client's encoding, which is always UTF-8 here, for a third of what `convert_to` costs.
const CHECKS: [Check; 18] = [
    Check {
        promise: 1,
        must: "the ledger has its unique constraint",
        breaches: "SELECT 'events.key_hash' AS offender WHERE NOT EXISTS (SELECT FROM pg_index i \
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = 'events'::regclass \
            AND i.indisunique AND i.indisvalid AND i.indnatts = 1 AND i.indpred IS NULL AND a.attname = 'key_hash')",
    },
    Check {
        promise: 1,
        must: "one event for each source and key",
        // By its hash, which the next check holds against source and key: an index has it sorted already.
        breaches: "SELECT source_id || ' ' || key AS offender FROM events WHERE key_hash IN \
            (SELECT key_hash FROM events GROUP BY 1 HAVING count(*) > 1) GROUP BY source_id, key",
    },
    Check {
        promise: 1,
        must: "an event's key_hash is the hash of its source and key",
        breaches: "SELECT id::text AS offender FROM events WHERE key_hash <> sha256(int8send(3) || 'key' \
            || int8send(octet_length(source_id)) || textsend(source_id) \
            || int8send(octet_length(key)) || textsend(key) || int8send(0))",
    },
    Check {
        promise: 2,
        must: "items = committed + duplicates + quarantined",
        breaches: "SELECT incarnation || '-' || number AS offender FROM receipts WHERE ended_at IS NOT NULL \
            AND (items < committed + quarantined OR committed < 0 OR quarantined < 0)",
    },
    Check {
        promise: 2,
        must: "what a receipt says is committed stands in the ledger",
        breaches: "SELECT incarnation || '-' || number AS offender FROM receipts r FULL JOIN \
            (SELECT incarnation, number, count(*) AS recorded FROM events GROUP BY 1, 2) e USING (incarnation, number) \
            WHERE r.items IS NULL OR (r.ended_at IS NOT NULL AND r.committed <> coalesce(e.recorded, 0))",
    },
    Check {
        promise: 2,
        must: "what a receipt says is quarantined is open or discarded",
        breaches: "SELECT incarnation || '-' || number AS offender FROM receipts r FULL JOIN \
            (SELECT incarnation, number, count(*) AS kept FROM quarantine WHERE resolution IS DISTINCT FROM 'settled' \
            GROUP BY 1, 2) q USING (incarnation, number) \
            WHERE r.items IS NULL OR (r.ended_at IS NOT NULL AND r.quarantined <> coalesce(q.kept, 0))",
    },
    Check {
        promise: 2,
        must: "what is quarantined is kept whole",
        breaches: "SELECT q.id::text AS offender FROM quarantine q \
            LEFT JOIN quarantined_raw_events r USING (incarnation, number) WHERE q.closed_at IS NULL AND r.body IS NULL",
    },
    Check {
        promise: 2,
        must: "the events of a source are numbered without gaps",
        breaches: "WITH placed AS (SELECT id, sequence, \
            coalesce(lag(sequence) OVER (PARTITION BY source_id ORDER BY sequence), 0) AS before FROM events) \
            SELECT id::text AS offender FROM placed WHERE sequence IS DISTINCT FROM before + 1 \
            UNION ALL SELECT source_id FROM source_sequences s FULL JOIN \
            (SELECT source_id, max(sequence) AS highest FROM events GROUP BY 1) e USING (source_id) \
            WHERE coalesce(s.last, 0) <> coalesce(e.highest, 0)",
    },
    Check {
        promise: 3,
        must: "what an event owes is what was written for it",
        breaches: "SELECT coalesce(e.id, d.event_id)::text AS offender FROM events e FULL JOIN \
            (SELECT event_id, count(*) AS written FROM deliveries GROUP BY 1) d ON d.event_id = e.id \
            WHERE coalesce(e.deliveries_owed, 0) <> coalesce(d.written, 0)",
    },
    Check {
        promise: 3,
        must: "a delivery is due exactly while it is pending",
        breaches: "SELECT event_id || ' ' || endpoint_id AS offender FROM due FULL JOIN \
            (SELECT event_id, endpoint_id, state FROM deliveries WHERE state = 'pending') d USING (event_id, endpoint_id) \
            WHERE d.state IS NULL OR due.attempts IS NULL",
    },
    Check {
        promise: 3,
        must: "one delivery of each lane is due",
        breaches: "SELECT endpoint_id || ' ' || lane AS offender FROM due WHERE lane IS NOT NULL \
            GROUP BY endpoint_id, lane HAVING count(due_at) <> 1",
    },
    Check {
        promise: 3,
        must: "what is owed can be told",
        breaches: "SELECT d.webhook_id AS offender FROM deliveries d \
            LEFT JOIN bodies b ON b.event_id = d.event_id AND b.format = d.format \
            WHERE d.state = 'pending' AND b.body IS NULL",
    },
    Check {
        promise: 3,
        must: "no lease has ended unnoticed for five minutes",
        // One that waits behind others of its endpoint, or behind its gate, has not been passed over, and a disabled
        // endpoint's are held.
        breaches: "SELECT d.event_id || ' ' || d.endpoint_id AS offender FROM due d \
            JOIN endpoints e ON e.id = d.endpoint_id AND e.enabled \
            WHERE d.lease IS NOT NULL AND d.due_at < now() - interval '5 minutes' AND NOT EXISTS (SELECT FROM due earlier \
            WHERE earlier.endpoint_id = d.endpoint_id AND earlier.retry = d.retry AND earlier.due_at < d.due_at) \
            AND NOT EXISTS (SELECT FROM gates g WHERE g.endpoint_id = d.endpoint_id)",
    },
    Check {
        promise: 4,
        must: "a webhook id is the hash of source, key and endpoint",
        breaches: "SELECT d.webhook_id AS offender FROM deliveries d JOIN events e ON e.id = d.event_id \
            WHERE d.webhook_id <> 'msg_' || encode(substring(sha256(int8send(7) || 'webhook' \
            || int8send(octet_length(e.source_id)) || textsend(e.source_id) \
            || int8send(octet_length(e.key)) || textsend(e.key) \
            || int8send(octet_length(d.endpoint_id)) || textsend(d.endpoint_id)) FOR 20), 'hex')",
    },
    Check {
        promise: 4,
        must: "every attempt carried the delivery's webhook id",
        breaches: "SELECT DISTINCT a.webhook_id AS offender FROM attempts a LEFT JOIN deliveries d \
            USING (event_id, endpoint_id) WHERE a.webhook_id IS DISTINCT FROM d.webhook_id",
    },
    Check {
        promise: 4,
        must: "every attempt carried the event's body, byte for byte",
        breaches: "SELECT DISTINCT a.webhook_id AS offender FROM attempts a \
            LEFT JOIN deliveries d USING (event_id, endpoint_id) \
            LEFT JOIN bodies b ON b.event_id = a.event_id AND b.format = d.format \
            WHERE a.body_hash IS DISTINCT FROM sha256(b.body)",
    },
    Check {
        promise: 4,
        must: "what counts as delivered was answered with success",
        breaches: "SELECT d.webhook_id AS offender FROM deliveries d WHERE d.state = 'delivered' AND NOT EXISTS \
            (SELECT FROM attempts a WHERE a.event_id = d.event_id AND a.endpoint_id = d.endpoint_id \
            AND a.outcome = 'delivered')",
    },
    Check {
        promise: 4,
        must: "what was answered with success is not called abandoned",
        // What is abandoned has an index of its own, and is little: its attempts are looked up.
        breaches: "SELECT d.webhook_id AS offender FROM deliveries d WHERE d.abandoned_at IS NOT NULL AND EXISTS \
            (SELECT FROM attempts a WHERE a.event_id = d.event_id AND a.endpoint_id = d.endpoint_id \
            AND a.outcome = 'delivered')",
    },
];

#[derive(QueryableByName)]
struct Breach {
    #[diesel(sql_type = BigInt)]
    total: i64,
    #[diesel(sql_type = Text)]
    offender: String,
}

/// Lets this connection work for longer, in more memory, and on more cores than a stage's may. Once, before the rest.
///
/// Every check reads whole tables and gives next to nothing back, which the planner cannot know: it would use one core for
/// fear of the rows that cores hand each other. And every table is written in the order of its primary key, so they are
/// joined as they are read, in that order: for two thirds of what hashing a million rows costs, and in no memory.
///
/// # Errors
/// As any query.
pub async fn prepare(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    let settings = "SET statement_timeout = '15min'; SET work_mem = '128MB'; \
                    SET max_parallel_workers_per_gather = 4; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; \
                    SET enable_hashjoin = off; SET random_page_cost = 1.1";
    conn.batch_execute(settings).await
}

/// Makes every check, one after another.
///
/// # Errors
/// As any query.
pub async fn check(conn: &AsyncPgConnection) -> QueryResult<Vec<Finding>> {
    let mut findings = Vec::with_capacity(CHECKS.len());
    for check in &CHECKS {
        findings.push(check.make(conn).await?);
    }
    Ok(findings)
}

impl Check {
    async fn make(&self, conn: &AsyncPgConnection) -> QueryResult<Finding> {
        // Materialized, or the planner takes LIMIT for a reason to look rows up one by one in the order asked for.
        let query = format!(
            "WITH breaches AS MATERIALIZED ({}) \
             SELECT count(*) OVER () AS total, offender FROM breaches ORDER BY offender LIMIT {NAMED}",
            self.breaches
        );
        let breaches: Vec<Breach> = diesel::sql_query(query).load(&mut &*conn).await?;
        Ok(Finding {
            promise: self.promise,
            check: self.must,
            breaches: breaches.iter().map(|breach| breach.total.cast_unsigned()).next().unwrap_or(0),
            offenders: breaches.into_iter().map(|breach| breach.offender).collect(),
        })
    }
}

/// What stands in Postgres, counted at one moment. Items are those of raw events that have ended.
#[derive(Debug, Clone, Serialize, QueryableByName)]
pub struct Sums {
    /// Raw events that have ended.
    #[diesel(sql_type = BigInt)]
    pub raw_events: i64,
    /// Raw events some of whose items still wait.
    #[diesel(sql_type = BigInt)]
    pub raw_events_waiting: i64,
    /// What they held.
    #[diesel(sql_type = BigInt)]
    pub items: i64,
    /// Items that the ledger has by them.
    #[diesel(sql_type = BigInt)]
    pub committed: i64,
    /// Items that the ledger had already.
    #[diesel(sql_type = BigInt)]
    pub duplicates: i64,
    /// Items in quarantine, open or discarded.
    #[diesel(sql_type = BigInt)]
    pub quarantined: i64,
    /// Rows of the ledger.
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    /// Deliveries that were written.
    #[diesel(sql_type = BigInt)]
    pub deliveries: i64,
    /// Those of them that are owed.
    #[diesel(sql_type = BigInt)]
    pub pending: i64,
    /// Those of them that a customer has.
    #[diesel(sql_type = BigInt)]
    pub delivered: i64,
    /// Those of them that were visibly given up.
    #[diesel(sql_type = BigInt)]
    pub abandoned: i64,
    /// Requests that were made.
    #[diesel(sql_type = BigInt)]
    pub attempts: i64,
    /// Requests that a customer answered with success; more than `delivered` when some heard twice.
    #[diesel(sql_type = BigInt)]
    pub successes: i64,
}

/// Counts.
///
/// # Errors
/// As any query.
pub async fn sums(conn: &AsyncPgConnection) -> QueryResult<Sums> {
    let query = "SELECT r.*, w.*, e.*, d.*, a.* FROM \
        (SELECT count(*) AS raw_events, coalesce(sum(items), 0)::bigint AS items, \
            coalesce(sum(committed), 0)::bigint AS committed, coalesce(sum(quarantined), 0)::bigint AS quarantined, \
            coalesce(sum(items - committed - quarantined), 0)::bigint AS duplicates \
            FROM receipts WHERE ended_at IS NOT NULL) r, \
        (SELECT count(*) AS raw_events_waiting FROM receipts WHERE ended_at IS NULL) w, \
        (SELECT count(*) AS events FROM events) e, \
        (SELECT count(*) AS deliveries, count(*) FILTER (WHERE state = 'pending') AS pending, \
            count(*) FILTER (WHERE state = 'delivered') AS delivered, \
            count(*) FILTER (WHERE state = 'abandoned') AS abandoned FROM deliveries) d, \
        (SELECT count(*) AS attempts, count(*) FILTER (WHERE outcome = 'delivered') AS successes FROM attempts) a";
    diesel::sql_query(query).get_result(&mut &*conn).await
}

#[derive(QueryableByName)]
struct Highest {
    #[diesel(sql_type = Text)]
    incarnation: String,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Every incarnation of the queue that left a receipt, and the highest number among them. Jobs that others put into the
/// queue have none.
///
/// # Errors
/// As any query.
pub async fn incarnations(conn: &AsyncPgConnection) -> QueryResult<Vec<(Incarnation, u64)>> {
    let query = "SELECT incarnation, max(number) AS number FROM receipts WHERE NOT starts_with(incarnation, $1) \
                 GROUP BY 1 ORDER BY 1";
    let rows: Vec<Highest> = diesel::sql_query(query).bind::<Text, _>(Incarnation::FOREIGN).load(&mut &*conn).await?;
    Ok(rows.into_iter().map(|row| (Incarnation::new(&row.incarnation), row.number.cast_unsigned())).collect())
}

#[derive(QueryableByName)]
struct Gap {
    #[diesel(sql_type = BigInt)]
    first: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
}

/// The numbers from 1 to `last` without a receipt that has ended, as ranges (first, last).
///
/// One pass over the primary key: each receipt is compared with the one before it, which is linear where an anti-join
/// with `generate_series` would build a table of all numbers first.
///
/// # Errors
/// As any query.
pub async fn gaps(conn: &AsyncPgConnection, incarnation: &Incarnation, last: u64) -> QueryResult<Vec<(u64, u64)>> {
    let query = "SELECT before + 1 AS first, number - 1 AS last FROM \
        (SELECT number, lag(number, 1, 0::bigint) OVER (ORDER BY number) AS before FROM \
            (SELECT number FROM receipts WHERE incarnation = $1 AND number <= $2 AND ended_at IS NOT NULL \
            UNION ALL SELECT $2 + 1) AS numbers) AS pairs WHERE number > before + 1 ORDER BY 1";
    let query = diesel::sql_query(query).bind::<Text, _>(incarnation.as_str()).bind::<BigInt, _>(last.cast_signed());
    let rows: Vec<Gap> = query.load(&mut &*conn).await?;
    Ok(rows.into_iter().map(|gap| (gap.first.cast_unsigned(), gap.last.cast_unsigned())).collect())
}
