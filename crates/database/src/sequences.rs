//! `source_sequences`: one counter row per source. And the sequence of revisions.

use std::collections::{BTreeMap, HashMap};

use diesel::{
    expression::SqlLiteral,
    sql_types::{Array, BigInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::QueryResult;

statement! {
    /// Rows are locked in the order of the select, the same in every transaction: by source.
    Advance { sources: Vec<&'a str> => Array<Text>, by: Vec<i64> => Array<BigInt> } -> (Text, BigInt),
    "INSERT INTO source_sequences AS s (source_id, last) \
     SELECT * FROM unnest(?, ?) AS wanted (source_id, by) ORDER BY source_id \
     ON CONFLICT (source_id) DO UPDATE SET last = s.last + excluded.last RETURNING source_id, last"
}

/// Takes the next numbers of some sources, as many as each asks for, and holds the counters to COMMIT, so that sequence
/// order is commit order, without gaps. Gives the last number taken, per source.
///
/// # Errors
/// As any query.
pub async fn advance(conn: &AsyncPgConnection, by: &BTreeMap<&str, i64>) -> QueryResult<HashMap<String, i64>> {
    let statement = Advance {
        sources: by.keys().copied().collect(),
        by: by.values().copied().collect(),
        lifetime: std::marker::PhantomData,
    };
    let rows: Vec<(String, i64)> = statement.load(&mut &*conn).await?;
    Ok(rows.into_iter().collect())
}

pub(crate) fn next_revision() -> SqlLiteral<BigInt> {
    diesel::dsl::sql("nextval('revisions')")
}
