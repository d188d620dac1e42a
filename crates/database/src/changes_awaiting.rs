//! `changes_awaiting`: edits, revokes and reactions that came before the message they change.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, Binary, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use vocabulary::{Change, Key};

use crate::QueryResult;

/// A change that waits for its message.
#[derive(Debug, Clone)]
pub struct Awaiting {
    /// Whose message.
    pub source_id: String,
    /// The message's external id.
    pub target: String,
    /// The key of the event that said it.
    pub key: Key,
    /// When it was said, by the provider's clock.
    pub said_at: Option<DateTime<Utc>>,
    /// What it changes.
    pub change: Change,
}

statement! {
    Put {
        sources: Vec<&'a str> => Array<Text>,
        targets: Vec<&'a str> => Array<Text>,
        keys: Vec<&'a str> => Array<Text>,
        said: Vec<Option<DateTime<Utc>>> => Array<Nullable<Timestamptz>>,
        changes: Vec<Vec<u8>> => Array<Binary>,
    } -> (),
    "INSERT INTO changes_awaiting SELECT * FROM unnest(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
}

/// Keeps changes until their messages come.
///
/// # Errors
/// As any query.
pub async fn put(conn: &AsyncPgConnection, awaiting: &[Awaiting]) -> QueryResult<()> {
    if awaiting.is_empty() {
        return Ok(());
    }
    let changes = awaiting.iter().map(|row| serde_json::to_vec(&row.change)).collect::<Result<_, _>>();
    let statement = Put {
        sources: awaiting.iter().map(|row| row.source_id.as_str()).collect(),
        targets: awaiting.iter().map(|row| row.target.as_str()).collect(),
        keys: awaiting.iter().map(|row| row.key.as_str()).collect(),
        said: awaiting.iter().map(|row| row.said_at).collect(),
        changes: changes.map_err(|error| crate::QueryError::SerializationError(error.into()))?,
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop)
}

statement! {
    /// Mostly nothing waits at all, and then nothing is looked for.
    Take { sources: Vec<&'a str> => Array<Text>, targets: Vec<&'a str> => Array<Text> }
        -> (Text, Text, Text, Nullable<Timestamptz>, Binary),
    "DELETE FROM changes_awaiting a USING unnest(?, ?) AS come (source_id, target) \
     WHERE EXISTS (SELECT FROM changes_awaiting) AND a.source_id = come.source_id AND a.target = come.target \
     RETURNING a.source_id, a.target, a.key, a.said_at, a.change"
}

/// Takes out the changes that waited for these (source, external id), which have come.
///
/// # Errors
/// As any query, or when a change is not what latchhook wrote.
pub async fn take(conn: &AsyncPgConnection, come: &[(&str, &str)]) -> QueryResult<Vec<Awaiting>> {
    type Row = (String, String, String, Option<DateTime<Utc>>, Vec<u8>);
    let bad = |error: Box<dyn std::error::Error + Send + Sync>| crate::QueryError::DeserializationError(error);
    let (sources, targets) = come.iter().copied().unzip();
    let rows: Vec<Row> = Take { sources, targets, lifetime: std::marker::PhantomData }.load(&mut &*conn).await?;
    let read = |(source_id, target, key, said_at, change): Row| {
        let change = serde_json::from_slice(&change).map_err(|error| bad(error.into()))?;
        let key = Key::new(key).map_err(|error| bad(error.into()))?;
        Ok(Awaiting { source_id, target, key, said_at, change })
    };
    rows.into_iter().map(read).collect()
}
