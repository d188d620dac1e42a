//! `source_sequences`: one counter row per source. And the sequence of revisions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use diesel::{
    expression::SqlLiteral,
    sql_types::{Array, BigInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use vocabulary::EndpointId;

use crate::QueryResult;

/// The counters of some sources, held to COMMIT.
#[derive(Debug)]
pub struct Held {
    /// The last number taken, per source.
    pub last: HashMap<String, i64>,
    /// Whether some of them were made just now. Until they were there nobody could hold them, so what was looked up
    /// beside this may have been too early.
    pub made: bool,
}

statement! {
    /// Rows are locked in the order of the select, the same in every transaction: by source.
    Hold { sources: Vec<&'a str> => Array<Text> } -> (Text, BigInt),
    "SELECT source_id, last FROM source_sequences WHERE source_id = ANY(?) ORDER BY source_id FOR NO KEY UPDATE"
}

statement! {
    Make { sources: Vec<&'a str> => Array<Text> } -> (),
    "INSERT INTO source_sequences (source_id) SELECT * FROM unnest(?) AS made (source_id) ORDER BY source_id \
     ON CONFLICT (source_id) DO NOTHING"
}

/// Holds the counters of these sources: from here to COMMIT nobody else adds to what they count.
///
/// # Errors
/// As any query.
pub async fn hold(conn: &AsyncPgConnection, sources: &BTreeSet<&str>) -> QueryResult<Held> {
    let sources: Vec<_> = sources.iter().copied().collect();
    let there = lock(conn, &sources).await?;
    if there.len() == sources.len() {
        return Ok(Held { last: there, made: false });
    }
    let make = Make { sources: sources.clone(), lifetime: std::marker::PhantomData };
    make.execute(&mut &*conn).await?;
    Ok(Held { last: lock(conn, &sources).await?, made: true })
}

async fn lock(conn: &AsyncPgConnection, sources: &[&str]) -> QueryResult<HashMap<String, i64>> {
    let hold = Hold { sources: sources.to_vec(), lifetime: std::marker::PhantomData };
    let rows: Vec<(String, i64)> = hold.load(&mut &*conn).await?;
    Ok(rows.into_iter().collect())
}

statement! {
    Advance { sources: Vec<&'a str> => Array<Text>, to: Vec<i64> => Array<BigInt> } -> (),
    "UPDATE source_sequences s SET last = a.last FROM unnest(?, ?) AS a (source_id, last) WHERE s.source_id = a.source_id"
}

/// Moves counters that are held to the last numbers taken, so that sequence order is commit order, without gaps.
///
/// # Errors
/// As any query.
pub async fn advance(conn: &AsyncPgConnection, to: &BTreeMap<&str, i64>) -> QueryResult<()> {
    let (sources, to) = to.iter().map(|(source, last)| (*source, *last)).unzip();
    let statement = Advance { sources, to, lifetime: std::marker::PhantomData };
    statement.execute(&mut &*conn).await.map(drop)
}

statement! {
    /// The account's sources, and the one of what latchhook itself tells it ([`vocabulary::SourceId::of_notices`]).
    OfAccount { endpoint: &'a str => Text } -> (Text, BigInt),
    "SELECT q.source_id, q.last FROM source_sequences q, endpoints e \
     WHERE e.id = ? AND q.source_id IN (SELECT id FROM sources WHERE account_id = e.account_id \
         UNION ALL SELECT 'latchhook:' || e.account_id) ORDER BY q.source_id"
}

/// The last number of each source whose events an endpoint may be owed. A source that never had one is absent.
///
/// # Errors
/// As any query.
pub async fn of_account(conn: &AsyncPgConnection, endpoint: &EndpointId) -> QueryResult<Vec<(String, i64)>> {
    OfAccount { endpoint: endpoint.as_str(), lifetime: std::marker::PhantomData }.load(&mut &*conn).await
}

pub(crate) fn next_revision() -> SqlLiteral<BigInt> {
    diesel::dsl::sql("nextval('revisions')")
}
