//! `endpoints`: customers' URLs. Secrets go in and come out sealed; this file opens and seals them.
//!
//! Whoever changes one gives its account another `endpoints_revision`, by a trigger, and so holds the account's row to COMMIT.
//! Transactions change an endpoint before they lock anything else, and none changes endpoints of two accounts: whoever waits
//! for an account has nothing yet that anybody wants who holds it.

mod change;
mod enabled;
pub mod secrets;
mod subscriptions;
pub mod troubles;

use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, SmallInt, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use vocabulary::{AccountId, EndpointId, MasterKey, Terms};

use crate::{
    QueryResult,
    error::OpenError,
    schema::{accounts, endpoints},
};

pub use change::{Change, set};
pub use enabled::{disable, disable_by_hand, disabled_unheard, enable, set_told};
pub use subscriptions::{Page, Subscription, pages};

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
    /// Whose events it wants; `None` are those of all sources of its account.
    pub source_ids: Option<Vec<String>>,
    /// What their body must say, as JSON; `None` is anything.
    pub filter: Option<String>,
    /// Which body it is told.
    pub format: String,
    /// The pauses between attempts, in seconds; `None` is the dispatcher's schedule.
    pub schedule_s: Option<Vec<i32>>,
    /// The statuses after which nothing is tried again; `None` is after none.
    pub give_up_on: Option<Vec<i16>>,
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
    sealed.iter().map(|secret| open_sealed(master, id, secret)).collect()
}

/// Opens one of an endpoint's secrets, or what else its requests carry, as a row holds it.
///
/// # Errors
/// When it does not open under this master key.
pub fn open_sealed(master: &MasterKey, id: &str, sealed: &[u8]) -> Result<SecretString, OpenError> {
    crate::error::open_text(master, &place(id), sealed)
}

/// Adds an endpoint, or gives the one of that id this URL and these terms. Its secrets stay as they were (`rotate`
/// changes them), so that setting up twice does not break a customer's verification. Says whether it is new.
///
/// # Errors
/// As any query; a foreign key violation when there is no such account. To be called in a transaction: a new one wants all
/// events of its types until its terms are written.
pub async fn put(conn: &AsyncPgConnection, master: &MasterKey, new: &NewEndpoint<'_>) -> QueryResult<bool> {
    let seal = |secret: &SecretString| master.seal(&place(new.id.as_str()), secret.expose_secret().as_bytes());
    let added = diesel::insert_into(endpoints::table)
        .values((
            endpoints::id.eq(new.id.as_str()),
            endpoints::account_id.eq(new.account_id.as_str()),
            endpoints::url.eq(new.url),
            endpoints::secrets.eq(new.secrets.iter().map(seal).collect::<Vec<_>>()),
            endpoints::event_types.eq(new.terms.event_types.names()),
            endpoints::revision.eq(crate::sequences::next_revision()),
        ))
        .on_conflict_do_nothing()
        .execute(&mut &*conn)
        .await?;
    set(conn, new.id, &Change::to(new.url, new.terms)).await?;
    Ok(added == 1)
}

/// The one of that id, without its secrets.
///
/// # Errors
/// As any query.
pub async fn find(conn: &AsyncPgConnection, id: &EndpointId) -> QueryResult<Option<EndpointRow>> {
    endpoints::table.find(id.as_str()).select(EndpointRow::as_select()).first(&mut &*conn).await.optional()
}

/// All of them, by id, without secrets.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection) -> QueryResult<Vec<EndpointRow>> {
    endpoints::table.order(endpoints::id).select(EndpointRow::as_select()).load(&mut &*conn).await
}

/// The enabled ones of an account, by id, without secrets.
///
/// # Errors
/// As any query.
pub async fn enabled_of(conn: &AsyncPgConnection, account: &AccountId) -> QueryResult<Vec<EndpointRow>> {
    let enabled = endpoints::table.filter(endpoints::account_id.eq(account.as_str())).filter(endpoints::enabled);
    enabled.order(endpoints::id).select(EndpointRow::as_select()).load(&mut &*conn).await
}

/// The columns of a [`Target`], in its order.
pub(crate) type TargetColumns = (
    Text,
    Text,
    Array<Binary>,
    Array<Nullable<Timestamptz>>,
    Nullable<Binary>,
    Nullable<Array<Integer>>,
    Nullable<Array<SmallInt>>,
    BigInt,
    Array<Text>,
);

/// Where an endpoint's deliveries go, how, and what signs them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Queryable, Selectable)]
#[diesel(table_name = endpoints)]
pub struct Target {
    /// Who owns it.
    pub account_id: String,
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
    /// The statuses after which nothing is tried again; `None` is after none.
    pub give_up_on: Option<Vec<i16>>,
    /// Another one after every change of the endpoint: what was sent under an older one says nothing of it as it is now.
    pub revision: i64,
    /// Ranges of addresses that its account's endpoints may be in although they are private.
    #[diesel(select_expression = accounts::allowed_private)]
    pub allowed_private: Vec<String>,
}

/// Where an endpoint's deliveries go; `None` where there is none of that id.
///
/// # Errors
/// As any query.
pub async fn target(conn: &AsyncPgConnection, id: &EndpointId) -> QueryResult<Option<Target>> {
    let found = endpoints::table.inner_join(accounts::table).filter(endpoints::id.eq(id.as_str()));
    found.select(Target::as_select()).first(&mut &*conn).await.optional()
}

/// Holds an endpoint to COMMIT, so that nobody changes what is decided by: how it stands, and where its deliveries go.
///
/// # Errors
/// As any query. To be called in a transaction.
pub async fn hold(conn: &AsyncPgConnection, id: &EndpointId) -> QueryResult<Option<(EndpointRow, Target)>> {
    let held = endpoints::table.inner_join(accounts::table).filter(endpoints::id.eq(id.as_str()));
    let held = held.select((EndpointRow::as_select(), Target::as_select()));
    held.for_no_key_update().first(&mut &*conn).await.optional()
}

/// Replaces what else an endpoint's requests carry, or takes it away.
///
/// # Errors
/// As any query.
pub async fn set_access(
    conn: &AsyncPgConnection,
    master: &MasterKey,
    id: &EndpointId,
    access: Option<&SecretString>,
) -> QueryResult<()> {
    let seal = |access: &SecretString| master.seal(&place(id.as_str()), access.expose_secret().as_bytes());
    let changed = (endpoints::access.eq(access.map(seal)), endpoints::revision.eq(crate::sequences::next_revision()));
    diesel::update(endpoints::table.find(id.as_str())).set(changed).execute(&mut &*conn).await.map(drop)
}

/// Opens the secrets of all endpoints and forgets them again: whether this master key is the right one. Says how many
/// endpoints there are.
///
/// # Errors
/// As any query, or when a secret does not open.
pub async fn open_all(conn: &AsyncPgConnection, master: &MasterKey) -> Result<usize, OpenError> {
    type Sealed = (String, Vec<Vec<u8>>, Option<Vec<u8>>);
    let columns = (endpoints::id, endpoints::secrets, endpoints::access);
    let rows: Vec<Sealed> = endpoints::table.select(columns).load(&mut &*conn).await?;
    for (id, secrets, access) in &rows {
        open_secrets(master, id, secrets)?;
        access.as_ref().map(|sealed| open_sealed(master, id, sealed)).transpose()?;
    }
    Ok(rows.len())
}
