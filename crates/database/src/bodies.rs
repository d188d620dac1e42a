//! `bodies`: what customers are told of an event, once per event and format.

use bytes::Bytes;
use diesel::{
    prelude::*,
    sql_types::{Array, Binary, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use vocabulary::Format;

use crate::{QueryResult, schema::bodies};

statement! {
    Insert {
        events: Vec<Uuid> => Array<SqlUuid>,
        formats: Vec<&'a str> => Array<Text>,
        bodies: Vec<&'a [u8]> => Array<Binary>,
    } -> (),
    "INSERT INTO bodies (event_id, format, body) SELECT * FROM unnest(?, ?, ?)"
}

/// Keeps the snapshots of some new events.
///
/// # Errors
/// As any query.
pub async fn insert(conn: &AsyncPgConnection, bodies: &[(Uuid, Format, Bytes)]) -> QueryResult<()> {
    let statement = Insert {
        events: bodies.iter().map(|(event, ..)| *event).collect(),
        formats: bodies.iter().map(|(_, format, _)| format.as_str()).collect(),
        bodies: bodies.iter().map(|(.., body)| body.as_ref()).collect(),
        lifetime: std::marker::PhantomData,
    };
    statement.execute(&mut &*conn).await.map(drop)
}

/// What an event's deliveries of one format say; `None` where it has no such body.
///
/// # Errors
/// As any query.
pub async fn find(conn: &AsyncPgConnection, event_id: Uuid, format: &str) -> QueryResult<Option<Vec<u8>>> {
    bodies::table.find((event_id, format)).select(bodies::body).first(&mut &*conn).await.optional()
}
