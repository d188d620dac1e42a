//! Receives webhooks: verifies each, records it once, answers. With axum, tokio-postgres and the library of Standard
//! Webhooks.
//!
//!     WEBHOOK_SECRET=whsec_… DATABASE_URL=postgres://… cargo run

use std::{env, error::Error, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use standardwebhooks::Webhook;
use tokio::{net::TcpListener, sync::Mutex};
use tokio_postgres::{Client, NoTls};

const LARGEST: usize = 72 << 20;
const TABLES: &str = "CREATE TABLE IF NOT EXISTS webhooks (id text PRIMARY KEY); \
                      CREATE TABLE IF NOT EXISTS inbox (type text, data text)";

struct Receiver {
    webhook: Webhook,
    // One connection is enough to show it; a pool serves more requests at once.
    database: Mutex<Client>,
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    // The bytes as they came (JSON that was parsed and written again has others), and not older than five minutes.
    if receiver.webhook.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let id = headers["webhook-id"].to_str().unwrap_or_default();
    match receiver.record(id, &body).await {
        Ok(true) => println!("recorded {id}"),
        Ok(false) => println!("had {id} already"),
        Err(error) => {
            println!("not recorded {id}: {error}");
            return StatusCode::SERVICE_UNAVAILABLE;
        }
    }
    StatusCode::NO_CONTENT
}

impl Receiver {
    /// Says whether it is new. The id and what it changes are committed together, or neither is.
    async fn record(&self, id: &str, body: &[u8]) -> Result<bool, Box<dyn Error + Send + Sync>> {
        let event: Event<'_> = serde_json::from_slice(body)?;
        let mut database = self.database.lock().await;
        let transaction = database.transaction().await?;
        let seen = "INSERT INTO webhooks (id) VALUES ($1) ON CONFLICT DO NOTHING";
        let is_new = transaction.execute(seen, &[&id]).await? == 1;
        if is_new {
            // Here goes your own change. What takes long is done later, from what is recorded here.
            let change = "INSERT INTO inbox (type, data) VALUES ($1, $2)";
            transaction.execute(change, &[&event.r#type, &event.data.get()]).await?;
        }
        transaction.commit().await?;
        Ok(is_new)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = env::var("WEBHOOK_SECRET").unwrap_or_default();
    // An empty one would believe everybody: `whsec_` and 24 bytes in base64 are the shortest.
    if secret.len() < 38 {
        return Err("WEBHOOK_SECRET is not what `endpoint add` printed".into());
    }
    let (database, connection) = tokio_postgres::connect(&env::var("DATABASE_URL")?, NoTls).await?;
    tokio::spawn(connection);
    database.batch_execute(TABLES).await?;
    let receiver = Receiver { webhook: Webhook::new(&secret)?, database: Mutex::new(database) };
    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let routes = Router::new().fallback(post(receive)).layer(DefaultBodyLimit::max(LARGEST));
    Ok(axum::serve(listener, routes.with_state(Arc::new(receiver))).await?)
}
