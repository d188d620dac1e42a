//! Operational webhooks: what latchhook itself tells an account.
//!
//! A notice is an event like any other: in the ledger, with a receipt, owed to the account's endpoints that want its type,
//! under ids that tell it from others. Its source is none that anybody could add ([`SourceId::of_notices`]), and it has come
//! through no queue.

use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use database::{
    AsyncPgConnection, QueryError, bodies,
    deliveries::{self, NewDelivery},
    endpoints::{self, EndpointRow},
    events::{self, NewEvent},
    receipts::{self, Receipt},
    sequences,
};
use serde_json::json;
use uuid::Uuid;
use vocabulary::{AccountId, EndpointId, EventTypes, Format, Incarnation, Key, KeyHash, SourceId, Stamp, WebhookId};

/// What an account is told when one of its endpoints is disabled by latchhook.
pub const ENDPOINT_DISABLED: &str = "latchhook.endpoint_disabled";

/// Tells an account that one of its endpoints is sent to no more. In the transaction that disables it. Says how many of its
/// endpoints are told.
pub(crate) async fn tell_disabled(
    conn: &AsyncPgConnection,
    account: &AccountId,
    disabled: &EndpointId,
    reason: &str,
) -> Result<usize, QueryError> {
    let wants = |row: &EndpointRow| {
        let types = EventTypes::from_names(row.event_types.clone());
        types.is_ok_and(|types| types.want(ENDPOINT_DISABLED))
    };
    let enabled = endpoints::enabled_of(conn, account).await?;
    let to: Vec<EndpointId> = enabled.iter().filter(|row| wants(row)).filter_map(|row| row.id.parse().ok()).collect();
    let told = json!({ "id": disabled, "reason": reason, "catch_up": format!("latchhook endpoint enable {disabled}") });
    let (source, event_id) = (SourceId::of_notices(account), Uuid::now_v7());
    let key = Key::new(format!("endpoint_disabled:{disabled}:{event_id}")).map_err(serialization)?;
    tell(conn, &source, &key, event_id, account, told, &to).await?;
    Ok(to.len())
}

/// The counter first, as whoever adds to a source: see `worker`'s transaction.
async fn tell(
    conn: &AsyncPgConnection,
    source: &SourceId,
    key: &Key,
    event_id: Uuid,
    account: &AccountId,
    told: serde_json::Value,
    to: &[EndpointId],
) -> Result<(), QueryError> {
    let held = sequences::hold(conn, &[source.as_str()].into()).await?;
    let sequence = held.last.get(source.as_str()).copied().unwrap_or_default() + 1;
    sequences::advance(conn, &[(source.as_str(), sequence)].into()).await?;
    let now = Utc::now();
    let body = json!({
        "type": ENDPOINT_DISABLED,
        "timestamp": now.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        "data": {
            "event_id": event_id, "source_id": source, "account_id": account, "key": key, "sequence": sequence,
            "endpoint": told,
        },
    });
    let stamp = Stamp { incarnation: Incarnation::foreign(event_id.to_string().as_bytes()), number: 1 };
    let event = NewEvent {
        id: event_id,
        key_hash: KeyHash::of(source, key),
        source_id: source.as_str(),
        key: key.as_str(),
        kind: "endpoint_disabled",
        stamp: &stamp,
        occurred_at: Some(now),
        received_at: now,
        sequence,
        event_type: Some(ENDPOINT_DISABLED),
        deliveries_owed: i32::try_from(to.len()).unwrap_or(i32::MAX),
    };
    events::insert(conn, &mut [event]).await?;
    bodies::insert(conn, &[(event_id, Format::Full, body.to_string().into())]).await?;
    let owed = to.iter().map(|endpoint_id| NewDelivery {
        event_id,
        endpoint_id: endpoint_id.clone(),
        webhook_id: WebhookId::of(source, key, endpoint_id),
        format: Format::Full,
        lease: None,
        lane: None,
        sequence,
    });
    deliveries::owe(conn, &owed.collect::<Vec<_>>(), Duration::ZERO).await?;
    let (stamp, source_id) = (&stamp, source.as_str());
    receipts::put(conn, &[Receipt { stamp, source_id, items: 1, committed: 1, quarantined: 0, ended: true }]).await
}

fn serialization(error: impl std::error::Error + Send + Sync + 'static) -> QueryError {
    QueryError::SerializationError(error.into())
}
