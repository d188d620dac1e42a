//! What becomes true of a group of events: one statement, which is one transaction.

use std::collections::HashMap;

use anyhow::Context;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;
use vocabulary::{KeyHash, WebhookId};

use super::{
    columns::{Id, Time},
    item::Item,
    told::Told,
};

/// What latchhook inserts, into the same columns, the row in `due` that it leases from the start with the others. latchhook
/// holds the counter of the source first, and numbers the events itself; here the number is put into the body by Postgres,
/// which alone knows it.
const INSERT: &str = "\
    WITH given AS MATERIALIZED ( \
        SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[], $5::int8[], $6::int8[], $7::timestamptz[], \
            $8::timestamptz[], $9::uuid[], $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[]) \
        AS g (id, key_hash, source_id, key, number, behind, occurred_at, received_at, message_id, content, state, head, tail)), \
    counted AS ( \
        INSERT INTO source_sequences AS s (source_id, last) SELECT source_id, count(*) FROM given GROUP BY 1 ORDER BY 1 \
        ON CONFLICT (source_id) DO UPDATE SET last = s.last + excluded.last RETURNING source_id, last), \
    numbered AS MATERIALIZED ( \
        SELECT g.*, c.last - g.behind AS sequence FROM given g JOIN counted c USING (source_id)), \
    known AS ( \
        INSERT INTO events (id, key_hash, source_id, key, kind, event_type, sequence, deliveries_owed, incarnation, number, \
            occurred_at, received_at) \
        SELECT id, key_hash, source_id, key, 'text', 'message_created', sequence, $14::int4, 'ceiling', number, occurred_at, \
            received_at FROM numbered), \
    shown AS ( \
        INSERT INTO messages (id, source_id, external_id, direction, kind, content, state, provider_timestamp) \
        SELECT message_id, source_id, key, 'incoming', 'text', content, state, occurred_at FROM given), \
    told AS ( \
        INSERT INTO bodies (event_id, body) \
        SELECT id, head || convert_to(sequence::text, 'UTF8') || tail FROM numbered), \
    owed AS MATERIALIZED ( \
        SELECT * FROM unnest($15::uuid[], $16::text[], $17::text[]) AS o (event_id, endpoint_id, webhook_id)), \
    kept AS ( \
        INSERT INTO deliveries (event_id, endpoint_id, webhook_id) SELECT event_id, endpoint_id, webhook_id FROM owed), \
    leased AS ( \
        INSERT INTO due (event_id, endpoint_id, due_at, lease) \
        SELECT event_id, endpoint_id, now() + interval '5 minutes', 1 FROM owed) \
    SELECT id, sequence FROM numbered";

/// As latchhook's sessions are, as far as it makes a difference to speed.
const SESSION: &str = "SET jit = off; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan";

/// A connection that inserts.
pub(super) struct Ledger {
    client: Client,
    insert: Statement,
}

/// An event that Redis did not know.
pub(super) struct Event<'a> {
    pub id: Uuid,
    pub message_id: Uuid,
    pub source: &'a str,
    pub item: &'a Item<'a>,
    pub hash: KeyHash,
    /// Which raw event brings it.
    pub number: i64,
    pub received_at: i64,
    pub state: Vec<u8>,
    pub told: Told,
    /// To each customer's endpoint.
    pub webhook_ids: Vec<WebhookId>,
}

/// Connects; the connection lives on this thread until its client is dropped.
///
/// # Errors
/// When nobody answers there.
pub(super) async fn connect(database: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(database, NoTls).await.context("cannot reach Postgres")?;
    tokio::spawn(connection);
    client.batch_execute(SESSION).await?;
    Ok(client)
}

impl Ledger {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers there, or the schema is another.
    pub(super) async fn connect(database: &str) -> anyhow::Result<Self> {
        let client = connect(database).await?;
        let insert = client.prepare(INSERT).await?;
        Ok(Self { client, insert })
    }

    /// Inserts what is new, and gives the numbers that those have in their sources.
    ///
    /// # Errors
    /// When Postgres is gone, or refuses.
    pub(super) async fn insert(
        &self,
        events: &[Event<'_>],
        endpoints: &[String],
    ) -> anyhow::Result<HashMap<Uuid, i64>> {
        fn column<'e, T>(events: &'e [Event<'_>], of: impl Fn(&'e Event<'_>) -> T) -> Vec<T> {
            events.iter().map(of).collect()
        }
        let owed =
            || events.iter().flat_map(|event| event.webhook_ids.iter().zip(endpoints).map(move |owed| (event, owed)));
        let rows = self
            .client
            .query(
                &self.insert,
                &[
                    &column(events, |event| Id(event.id)),
                    &column(events, |event| event.hash.as_slice()),
                    &column(events, |event| event.source),
                    &column(events, |event| event.item.wamid.as_ref()),
                    &column(events, |event| event.number),
                    &behind(events),
                    &column(events, |event| Time(event.item.sent_at * 1_000_000)),
                    &column(events, |event| Time(event.received_at)),
                    &column(events, |event| Id(event.message_id)),
                    &column(events, |event| event.item.text.as_bytes()),
                    &column(events, |event| event.state.as_slice()),
                    &column(events, |event| event.told.head.as_slice()),
                    &column(events, |event| event.told.tail.as_slice()),
                    &i32::try_from(endpoints.len())?,
                    &owed().map(|(event, _)| Id(event.id)).collect::<Vec<_>>(),
                    &owed().map(|(_, (_, endpoint))| endpoint.as_str()).collect::<Vec<_>>(),
                    &owed().map(|(_, (webhook_id, _))| webhook_id.as_str()).collect::<Vec<_>>(),
                ],
            )
            .await?;
        rows.iter().map(|row| Ok((row.try_get::<_, Id>(0)?.0, row.try_get(1)?))).collect()
    }
}

/// How many events of the same source come after each.
fn behind(events: &[Event<'_>]) -> Vec<i64> {
    let mut seen: HashMap<&str, i64> = HashMap::new();
    let mut behind: Vec<_> = events
        .iter()
        .rev()
        .map(|event| {
            let next = seen.entry(event.source).or_default();
            *next += 1;
            *next - 1
        })
        .collect();
    behind.reverse();
    behind
}
