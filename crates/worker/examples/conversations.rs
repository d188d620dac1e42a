//! An app that keeps a table of conversations: with whom, how many messages, and when the last came. A worker of latchhook
//! runs in it, and changes that table in the same transaction as the ledger.
//!
//! ```text
//! latchhook run --roles producer,dispatcher      # everything but the worker, over the same stores
//! DATABASE_URL=… REDIS_URL=… LATCHHOOK_MASTER_KEY=… cargo run -p worker --example conversations
//! psql "$DATABASE_URL" -c 'SELECT * FROM conversations'
//! ```

use std::{env, error::Error, sync::Arc, time::Duration};

use database::{AsyncPgConnection, Database};
use diesel::sql_types::{Text, Timestamptz};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures::{FutureExt, future::BoxFuture};
use queue::{ConsumerSettings, Redis};
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use vocabulary::MasterKey;
use worker::{HandledEvent, Handler, HandlerError, Settings, Sources, Worker};

/// The app's own table, in the database of latchhook.
pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS conversations (
    source_id text NOT NULL,
    contact text NOT NULL,
    messages bigint NOT NULL,
    last_message_at timestamptz NOT NULL,
    PRIMARY KEY (source_id, contact)
)";

/// Adds one message; one that comes late does not turn the time back.
const ADD: &str = "INSERT INTO conversations AS c VALUES ($1, $2, 1, $3)
    ON CONFLICT (source_id, contact) DO UPDATE
    SET messages = c.messages + 1, last_message_at = greatest(c.last_message_at, excluded.last_message_at)";

/// The app's step.
pub(crate) struct Conversations;

#[derive(Deserialize)]
struct Message {
    sender: Option<Sender>,
}

#[derive(Deserialize)]
struct Sender {
    id: String,
}

impl Handler for Conversations {
    fn handle<'a>(
        &'a self,
        conn: &'a AsyncPgConnection,
        event: &'a HandledEvent<'a>,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        async move {
            match contact(event)? {
                Some(contact) => add(conn, event, &contact).await,
                None => Ok(()),
            }
        }
        .boxed()
    }
}

/// Who wrote a new message. Statuses and notices are of nobody.
fn contact(event: &HandledEvent<'_>) -> Result<Option<String>, HandlerError> {
    let Some(message) = event.message.filter(|_| event.event_type == "message_created") else { return Ok(None) };
    let message: Message = serde_json::from_str(message).map_err(|error| HandlerError::Refused(error.to_string()))?;
    Ok(message.sender.map(|sender| sender.id))
}

/// What Postgres says goes on as it is: it comes later, or is refused, as the error is.
async fn add(mut conn: &AsyncPgConnection, event: &HandledEvent<'_>, contact: &str) -> Result<(), HandlerError> {
    diesel::sql_query(ADD)
        .bind::<Text, _>(event.source_id.as_str())
        .bind::<Text, _>(contact)
        .bind::<Timestamptz, _>(event.occurred_at.unwrap_or(event.received_at))
        .execute(&mut conn)
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let prefix = env::var("LATCHHOOK_PREFIX").unwrap_or_else(|_| "latchhook".to_owned());
    let redis = Redis::new(&env::var("REDIS_URL")?, &prefix)?;
    // Two transactions at a time, and what the worker asks between them.
    let database = Database::for_stages(&env::var("DATABASE_URL")?, 6)?;
    let master = Arc::new(MasterKey::parse(&env::var("LATCHHOOK_MASTER_KEY")?.into())?);
    database.connection().await?.batch_execute(TABLE).await?;

    let stop = CancellationToken::new();
    let sources = Sources::new(database.clone(), master, &redis);
    let publishing = tokio::spawn(sources.clone().run(stop.clone()));
    // What a dead app had in hand comes back to the next one after this.
    let consumer = ConsumerSettings { lease: Duration::from_secs(5), ..ConsumerSettings::default() };
    let settings = Settings { consumer, ..Settings::default() };
    let worker = Worker::builder(&redis, database, sources).settings(settings).handler(Conversations).build();
    let working = tokio::spawn(worker.run(stop.clone()));
    println!("conversations are kept");

    signal(SignalKind::terminate())?.recv().await;
    // What is in hand is finished; what is not comes back.
    stop.cancel();
    working.await?;
    publishing.await?;
    Ok(())
}
