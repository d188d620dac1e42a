//! `endpoints`: customers' URLs. Secrets go in and come out sealed; this file opens and seals them.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, Binary, Bool, Integer, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use vocabulary::{AccountId, EndpointId, EventTypes, Format, IdError, MasterKey, OrderedBy, SourceId, Terms};

use crate::{
    QueryError, QueryResult, due,
    error::OpenError,
    gates,
    schema::{self, endpoints},
};

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
    /// When the secret at the same place ends; `None`, or none there: never.
    pub secret_ends: Vec<Option<DateTime<Utc>>>,
    /// Whose events it wants; `None` are those of all sources of its account.
    pub source_ids: Option<Vec<String>>,
    /// Which body it is told.
    pub format: String,
    /// The pauses between attempts, in seconds; `None` is the dispatcher's schedule.
    pub schedule_s: Option<Vec<i32>>,
    /// Requests at the same time, of the whole fleet.
    pub max_in_flight: Option<i32>,
    /// Requests per second, of the whole fleet.
    pub max_per_second: Option<f64>,
    /// What its deliveries are ordered by.
    pub ordered_by: Option<String>,
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
    /// What it asks for.
    pub terms: &'a Terms,
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

/// Adds an endpoint, or gives the one of that id this URL and these terms. Its secrets stay as they were (`rotate`
/// changes them), so that setting up twice does not break a customer's verification. Says whether it is new.
///
/// # Errors
/// As any query; a foreign key violation when there is no such account.
pub async fn put(conn: &AsyncPgConnection, master: &MasterKey, new: &NewEndpoint<'_>) -> QueryResult<bool> {
    let seal = |secret: &SecretString| master.seal(&place(new.id.as_str()), secret.expose_secret().as_bytes());
    let terms = new.terms;
    let sources: Option<Vec<_>> = terms.sources.as_ref().map(|ids| ids.iter().map(SourceId::as_str).collect());
    let changing = (
        endpoints::url.eq(new.url),
        endpoints::event_types.eq(terms.event_types.names()),
        endpoints::source_ids.eq(sources),
        endpoints::format.eq(terms.format.as_str()),
        endpoints::schedule_s.eq(terms.schedule.as_deref().map(seconds)),
        endpoints::max_in_flight.eq(terms.max_in_flight.map(|most| i32::try_from(most).unwrap_or(i32::MAX))),
        endpoints::max_per_second.eq(terms.max_per_second),
        endpoints::ordered_by.eq(terms.ordered_by.map(OrderedBy::as_str)),
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
    if terms.max_in_flight.is_some() || terms.max_per_second.is_some() {
        let gate = schema::gates::endpoint_id.eq(new.id.as_str());
        let insert = diesel::insert_into(schema::gates::table).values(gate).on_conflict_do_nothing();
        insert.execute(&mut &*conn).await?;
    }
    Ok(added == 1)
}

fn seconds(pauses: &[Duration]) -> Vec<i32> {
    pauses.iter().map(|pause| i32::try_from(pause.as_secs()).unwrap_or(i32::MAX)).collect()
}

/// All of them, by id, without secrets.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection) -> QueryResult<Vec<EndpointRow>> {
    endpoints::table.order(endpoints::id).select(EndpointRow::as_select()).load(&mut &*conn).await
}

/// The secrets of an endpoint that sign at `now`; `None` where there is no such endpoint.
///
/// # Errors
/// As any query, or when a secret does not open.
pub async fn signing(
    conn: &AsyncPgConnection,
    master: &MasterKey,
    id: &EndpointId,
    now: DateTime<Utc>,
) -> Result<Option<Vec<SecretString>>, OpenError> {
    type Row = (Vec<Vec<u8>>, Vec<Option<DateTime<Utc>>>);
    let query = endpoints::table.find(id.as_str()).select((endpoints::secrets, endpoints::secret_ends));
    let row: Option<Row> = query.first(&mut &*conn).await.optional()?;
    let Some((sealed, ends)) = row else { return Ok(None) };
    let ends = ends.into_iter().chain(std::iter::repeat(None));
    let in_force = sealed.into_iter().zip(ends).filter(|(_, ends)| ends.is_none_or(|ends| ends > now));
    open_secrets(master, id.as_str(), &in_force.map(|(sealed, _)| sealed).collect::<Vec<_>>()).map(Some)
}

/// Where an endpoint's deliveries go, how, and what signs them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Where to POST.
    pub url: String,
    /// What signs, sealed: see [`open_secrets`].
    pub secrets: Vec<Vec<u8>>,
    /// When the secret at the same place stops signing; `None`, or none there: never.
    pub secret_ends: Vec<Option<DateTime<Utc>>>,
    /// What else its requests carry, sealed.
    pub access: Option<Vec<u8>>,
    /// The pauses between attempts, in seconds; `None` is the dispatcher's schedule.
    pub schedule_s: Option<Vec<i32>>,
}

statement! {
    /// Disabled endpoints too: what they are owed is held, not dropped.
    Subscriptions { source_ids: &'a [&'a str] => Array<Text> } -> (
        Text, Text, Array<Text>, Text, Bool, Nullable<Text>, Text, Array<Binary>, Array<Nullable<Timestamptz>>,
        Nullable<Binary>, Nullable<Array<Integer>>
    ),
    "SELECT s.id, e.id, e.event_types, e.format, \
         e.enabled AND e.ordered_by IS NULL AND NOT EXISTS (SELECT FROM gates g WHERE g.endpoint_id = e.id), e.ordered_by, \
         e.url, e.secrets, e.secret_ends, e.access, e.schedule_s \
     FROM sources s JOIN endpoints e ON e.account_id = s.account_id \
     WHERE s.id = ANY(?) AND (e.source_ids IS NULL OR s.id = ANY(e.source_ids)) ORDER BY e.id"
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
    /// Which body it is told.
    pub format: Format,
    /// Whether what it is owed may be handed over: what a disabled one is owed is held, and where there is a gate or an order
    /// it is for a lease to decide.
    pub may_be_handed_over: bool,
    /// What its deliveries are ordered by.
    pub ordered_by: Option<OrderedBy>,
    /// Where to, and what signs it.
    pub target: Arc<Target>,
}

/// Who may want the events of these sources: the endpoints of their accounts.
///
/// # Errors
/// As any query, or when a row holds what latchhook would not have written.
pub async fn subscriptions(conn: &AsyncPgConnection, source_ids: &[&str]) -> Result<Vec<Subscription>, OpenError> {
    let query = Subscriptions { source_ids, lifetime: std::marker::PhantomData };
    type Ends = Vec<Option<DateTime<Utc>>>;
    type Row = (
        String,
        String,
        Vec<String>,
        String,
        bool,
        Option<String>,
        String,
        Vec<Vec<u8>>,
        Ends,
        Option<Vec<u8>>,
        Option<Vec<i32>>,
    );
    let rows: Vec<Row> = query.load(&mut &*conn).await?;
    let read = |row: Row| {
        let (
            source_id,
            id,
            names,
            format,
            may_be_handed_over,
            ordered_by,
            url,
            secrets,
            secret_ends,
            access,
            schedule_s,
        ) = row;
        Ok(Subscription {
            source_id,
            endpoint_id: id.parse()?,
            event_types: EventTypes::from_names(names)?,
            format: format.parse()?,
            may_be_handed_over,
            ordered_by: ordered_by.map(|name| name.parse()).transpose()?,
            target: Arc::new(Target { url, secrets, secret_ends, access, schedule_s }),
        })
    };
    rows.into_iter().map(read).collect()
}

/// Enables an endpoint: what it is owed is due at once, whatever it had shown before. Says whether there is one of that id,
/// and how many deliveries it is owed.
///
/// # Errors
/// As any query. To be called in a transaction.
pub async fn enable(conn: &AsyncPgConnection, id: &EndpointId) -> QueryResult<Option<usize>> {
    let changed = diesel::update(endpoints::table.find(id.as_str()))
        .set((
            endpoints::enabled.eq(true),
            endpoints::disabled_reason.eq(None::<&str>),
            endpoints::revision.eq(crate::sequences::next_revision()),
        ))
        .execute(&mut &*conn)
        .await?;
    if changed == 0 {
        return Ok(None);
    }
    gates::lift(conn, id).await?;
    due::catch_up(conn, id).await.map(Some)
}

/// Disables an endpoint that is enabled, for a reason. Gives its account, or `None` where there is no such endpoint.
///
/// # Errors
/// As any query.
pub async fn disable(conn: &AsyncPgConnection, id: &EndpointId, reason: &str) -> QueryResult<Option<AccountId>> {
    let enabled = endpoints::table.find(id.as_str()).filter(endpoints::enabled);
    let account: Option<String> = diesel::update(enabled)
        .set((
            endpoints::enabled.eq(false),
            endpoints::disabled_reason.eq(reason),
            endpoints::revision.eq(crate::sequences::next_revision()),
        ))
        .returning(endpoints::account_id)
        .get_result(&mut &*conn)
        .await
        .optional()?;
    let read = |id: String| id.parse().map_err(|error: IdError| QueryError::DeserializationError(error.into()));
    account.map(read).transpose()
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
