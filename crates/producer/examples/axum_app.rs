//! An app that has an HTTP server of its own, and hands what it receives to latchhook through the library.
//!
//! ```text
//! REDIS_URL=redis://127.0.0.1 cargo run -p latchhook-producer --example axum_app
//! curl -i 127.0.0.1:3000/orders -d '{"id": 1}'
//! ```
//!
//! The app has checked its sender in its own way; `orders` is a source that was added with `latchhook source add`.

use std::{env, error::Error};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use chrono::Utc;
use producer::{Producer, ProducerSettings, RawEvent, Redis, SourceId};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[derive(Clone)]
struct App {
    producer: Producer,
    orders: SourceId,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let prefix = env::var("LATCHHOOK_PREFIX").unwrap_or_else(|_| "latchhook".into());
    let redis = Redis::new(&env::var("REDIS_URL")?, &prefix)?;
    let producer = Producer::new(&redis, ProducerSettings::default());
    let app = App { producer: producer.clone(), orders: "orders".parse()? };
    let routes = Router::new().route("/orders", post(receive_order)).with_state(app);

    let mut told_to_stop = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".into())).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async move {
        told_to_stop.recv().await;
    };
    axum::serve(listener, routes).with_graceful_shutdown(stop).await?;

    // After the server: everybody who waits for Redis has an answer before the process ends.
    producer.close().await;
    Ok(())
}

/// 202 only once Redis has it; the stamp is its name from then on.
async fn receive_order(State(app): State<App>, body: Bytes) -> Result<(StatusCode, String), (StatusCode, String)> {
    let raw_event = RawEvent { source_id: app.orders, received_at: Utc::now(), headers: Vec::new(), body };
    match app.producer.enqueue(&raw_event).await {
        Ok(stamp) => Ok((StatusCode::ACCEPTED, format!("{stamp}\n"))),
        Err(error) => Err((StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))),
    }
}
