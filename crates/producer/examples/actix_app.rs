//! An app on actix-web that hands what it receives to latchhook through the library.
//!
//! ```text
//! REDIS_URL=redis://127.0.0.1 cargo run -p latchhook-producer --example actix_app
//! curl -i 127.0.0.1:3000/orders -d '{"id": 1}'
//! ```
//!
//! The app has checked its sender in its own way; `orders` is a source that was added with `latchhook source add`.

use std::{env, error::Error};

use actix_web::{
    App, HttpResponse, HttpServer,
    web::{Bytes, Data, post},
};
use chrono::Utc;
use producer::{Producer, ProducerSettings, RawEvent, Redis, SourceId};

struct Orders {
    producer: Producer,
    source: SourceId,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let prefix = env::var("LATCHHOOK_PREFIX").unwrap_or_else(|_| "latchhook".into());
    let redis = Redis::new(&env::var("REDIS_URL")?, &prefix)?;
    let producer = Producer::new(&redis, ProducerSettings::default());
    // One for all workers of the server: what they enqueue at the same moment goes to Redis together.
    let orders = Data::new(Orders { producer: producer.clone(), source: "orders".parse()? });
    let routes = move || App::new().app_data(orders.clone()).route("/orders", post().to(receive_order));

    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let server = HttpServer::new(routes).bind(listen)?;
    for address in server.addrs() {
        println!("listening on http://{address}");
    }
    // It ends by itself at SIGTERM, once those who are being answered have their answers.
    server.run().await?;

    // After the server: everybody who waits for Redis has an answer before the process ends.
    producer.close().await;
    Ok(())
}

/// 202 only once Redis has it; the stamp is its name from then on.
async fn receive_order(orders: Data<Orders>, body: Bytes) -> HttpResponse {
    let (source_id, headers) = (orders.source.clone(), Vec::new());
    let raw_event = RawEvent { source_id, received_at: Utc::now(), headers, body };
    match orders.producer.enqueue(&raw_event).await {
        Ok(stamp) => HttpResponse::Accepted().body(format!("{stamp}\n")),
        Err(error) => HttpResponse::ServiceUnavailable().body(format!("{error}\n")),
    }
}
