//! `endpoints`: customers' URLs. Secrets go in and come out sealed; this file opens and seals them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, Binary, Bool, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use vocabulary::{AccountId, EndpointId, EventTypes, MasterKey};

use crate::{QueryResult, error::OpenError, schema::endpoints};

/// An endpoint as it is kept, without its secrets: what people may see.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = endpoints)]
pub struct EndpointRow {
    /// Its name in commands.
    pub id: String,
    /// Who owns it.
    pub account_id: String,
    /// Where deliveries go.
    pub url: String,
    /// What it wants to hear of.
    pub event_types: Vec<String>,
    /// Whether it is sent to; its deliveries are held otherwise.
    pub enabled: bool,
    /// Why not.
    pub disabled_reason: Option<String>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
}

/// An endpoint to be added.
#[derive(Debug)]
pub struct NewEndpoint<'a> {
    /// Its name in commands.
    pub id: &'a EndpointId,
    /// Who owns it.
    pub account_id: &'a AccountId,
    /// Where deliveries go; checked by the guard before it comes here.
    pub url: &'a str,
    /// Each of them signs every attempt.
    pub secrets: &'a [SecretString],
    /// What it wants to hear of.
    pub event_types: &'a EventTypes,
}

fn place(id: &str) -> String {
    format!("endpoint:{id}")
}

/// Opens an endpoint's secrets as a row holds them.
///
/// # Errors
/// When one does not open under this master key.
pub fn open_secrets(master: &MasterKey, id: &str, sealed: &[Vec<u8>]) -> Result<Vec<SecretString>, OpenError> {
    let place = place(id);
    sealed.iter().map(|secret| crate::error::open_text(master, &place, secret)).collect()
}

/// Adds an endpoint, or gives the one of that id this URL and these event types. Its secrets stay as they were (`rotate`
/// changes them), so that setting up twice does not break a customer's verification. Says whether it is new.
///
/// # Errors
/// As any query; a foreign key violation when there is no such account.
pub async fn put(conn: &AsyncPgConnection, master: &MasterKey, new: &NewEndpoint<'_>) -> QueryResult<bool> {
    let seal = |secret: &SecretString| master.seal(&place(new.id.as_str()), secret.expose_secret().as_bytes());
    let changing = (
        endpoints::url.eq(new.url),
        endpoints::event_types.eq(new.event_types.names()),
        endpoints::revision.eq(crate::sequences::next_revision()),
    );
    let added = diesel::insert_into(endpoints::table)
        .values((
            endpoints::id.eq(new.id.as_str()),
            endpoints::account_id.eq(new.account_id.as_str()),
            endpoints::secrets.eq(new.secrets.iter().map(seal).collect::<Vec<_>>()),
            changing.clone(),
        ))
        .on_conflict_do_nothing()
        .execute(&mut &*conn)
        .await?;
    if added == 0 {
        diesel::update(endpoints::table.find(new.id.as_str())).set(changing).execute(&mut &*conn).await?;
    }
    Ok(added == 1)
}

/// All of them, by id, without secrets.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection) -> QueryResult<Vec<EndpointRow>> {
    endpoints::table.order(endpoints::id).select(EndpointRow::as_select()).load(&mut &*conn).await
}

/// Where an endpoint's deliveries go, and what signs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where to POST.
    pub url: String,
    /// What signs, sealed: see [`open_secrets`].
    pub secrets: Vec<Vec<u8>>,
}

statement! {
    /// Disabled endpoints too: what they are owed is held, not dropped.
    Subscriptions { source_ids: &'a [&'a str] => Array<Text> } -> (Text, Text, Array<Text>, Bool, Text, Array<Binary>),
    "SELECT s.id, e.id, e.event_types, e.enabled, e.url, e.secrets \
     FROM sources s JOIN endpoints e ON e.account_id = s.account_id WHERE s.id = ANY(?) ORDER BY e.id"
}

/// An endpoint that may want a source's events.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Whose events.
    pub source_id: String,
    /// Who may want them.
    pub endpoint_id: EndpointId,
    /// Which of them.
    pub event_types: EventTypes,
    /// Whether it is sent to just now; what a disabled one is owed is held.
    pub enabled: bool,
    /// Where to, and what signs it.
    pub target: Arc<Target>,
}

/// Who may want the events of these sources: the endpoints of their accounts.
///
/// # Errors
/// As any query, or when a row holds what latchhook would not have written.
pub async fn subscriptions(conn: &AsyncPgConnection, source_ids: &[&str]) -> Result<Vec<Subscription>, OpenError> {
    let query = Subscriptions { source_ids, lifetime: std::marker::PhantomData };
    type Row = (String, String, Vec<String>, bool, String, Vec<Vec<u8>>);
    let rows: Vec<Row> = query.load(&mut &*conn).await?;
    let read = |(source_id, endpoint_id, names, enabled, url, secrets): Row| {
        let (endpoint_id, event_types) = (endpoint_id.parse()?, EventTypes::from_names(names)?);
        let target = Arc::new(Target { url, secrets });
        Ok(Subscription { source_id, endpoint_id, event_types, enabled, target })
    };
    rows.into_iter().map(read).collect()
}

/// Enables an endpoint (`None`) or disables it for a reason; says whether there is one of that id.
///
/// # Errors
/// As any query.
pub async fn set_disabled(conn: &AsyncPgConnection, id: &EndpointId, reason: Option<&str>) -> QueryResult<bool> {
    let changed = diesel::update(endpoints::table.find(id.as_str()))
        .set((
            endpoints::enabled.eq(reason.is_none()),
            endpoints::disabled_reason.eq(reason),
            endpoints::revision.eq(crate::sequences::next_revision()),
        ))
        .execute(&mut &*conn)
        .await?;
    Ok(changed == 1)
}

/// Opens the secrets of all endpoints and forgets them again: whether this master key is the right one. Says how many
/// endpoints there are.
///
/// # Errors
/// As any query, or when a secret does not open.
pub async fn open_all(conn: &AsyncPgConnection, master: &MasterKey) -> Result<usize, OpenError> {
    let rows: Vec<(String, Vec<Vec<u8>>)> =
        endpoints::table.select((endpoints::id, endpoints::secrets)).load(&mut &*conn).await?;
    for (id, sealed) in &rows {
        open_secrets(master, id, sealed)?;
    }
    Ok(rows.len())
}
