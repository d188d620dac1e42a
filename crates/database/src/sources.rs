//! `sources`: where raw events come from. Secrets go in and come out sealed; this file opens and seals them.

pub mod tokens;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use vocabulary::{AccountId, MasterKey, SealError, Source, SourceId, TokenHash};

use crate::{QueryResult, error::OpenError, schema::sources, sealed::SealedRow};

/// A source as it is kept, without its secrets: what people may see.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = sources)]
pub struct SourceRow {
    /// Its name in URLs and commands.
    pub id: String,
    /// Who owns it.
    pub account_id: String,
    /// What people call it.
    pub name: String,
    /// Whose rules apply.
    pub provider: String,
    /// Whether it is answered.
    pub enabled: bool,
    /// What only its provider understands.
    pub settings: Value,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// The largest body that it takes, in bytes; `None` is what its provider sends at most.
    pub body_limit: Option<i32>,
    /// Whether its provider's handshake must show a token.
    #[diesel(select_expression = sources::verify_token.is_not_null())]
    pub has_verify_token: bool,
    tokens: Vec<Vec<u8>>,
}

impl SourceRow {
    /// How many tokens it has.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = sources)]
struct Sealed {
    id: String,
    account_id: String,
    name: String,
    provider: String,
    enabled: bool,
    secrets: Vec<Vec<u8>>,
    verify_token: Option<Vec<u8>>,
    tokens: Vec<Vec<u8>>,
    body_limit: Option<i32>,
    settings: Value,
    revision: i64,
}

/// A source to be added.
#[derive(Debug)]
pub struct NewSource<'a> {
    /// Its name in URLs and commands.
    pub id: &'a SourceId,
    /// Who owns it.
    pub account_id: &'a AccountId,
    /// What people call it.
    pub name: &'a str,
    /// Whose rules apply.
    pub provider: &'a str,
    /// Each of them may have signed a request.
    pub secrets: &'a [SecretString],
    /// What the provider's handshake must show.
    pub verify_token: Option<&'a SecretString>,
    /// The largest body that it takes, in bytes; `None` is what its provider sends at most.
    pub body_limit: Option<u32>,
    /// What only its provider understands.
    pub settings: &'a Map<String, Value>,
}

/// As [`SealedRow`] reads them.
const SEALED: (sources::id, sources::secrets, sources::verify_token) =
    (sources::id, sources::secrets, sources::verify_token);

fn place(id: &str) -> String {
    format!("source:{id}")
}

/// Adds a source, or gives the one of that id these values: setting up twice has the same result. Its account and
/// provider stay as they were, because its keys are unique under them.
///
/// # Errors
/// As any query; a foreign key violation when there is no such account, a check violation when a body of that limit is none
/// that a producer can take.
pub async fn put(conn: &AsyncPgConnection, master: &MasterKey, new: &NewSource<'_>) -> QueryResult<()> {
    let seal = |secret: &SecretString| master.seal(&place(new.id.as_str()), secret.expose_secret().as_bytes());
    let changing = (
        sources::name.eq(new.name),
        sources::secrets.eq(new.secrets.iter().map(seal).collect::<Vec<_>>()),
        sources::verify_token.eq(new.verify_token.map(seal)),
        sources::body_limit.eq(new.body_limit.map(|most| i32::try_from(most).unwrap_or(i32::MAX))),
        sources::settings.eq(Value::Object(new.settings.clone())),
        sources::revision.eq(crate::sequences::next_revision()),
    );
    diesel::insert_into(sources::table)
        .values((
            sources::id.eq(new.id.as_str()),
            sources::account_id.eq(new.account_id.as_str()),
            sources::provider.eq(new.provider),
            changing.clone(),
        ))
        .on_conflict(sources::id)
        .do_update()
        .set(changing)
        .execute(&mut &*conn)
        .await
        .map(drop)
}

/// All of them, by id, without secrets.
///
/// # Errors
/// As any query.
pub async fn list(conn: &AsyncPgConnection) -> QueryResult<Vec<SourceRow>> {
    sources::table.order(sources::id).select(SourceRow::as_select()).load(&mut &*conn).await
}

/// How many there are, and the newest change: equal to the last look means that nothing changed since.
///
/// # Errors
/// As any query.
pub async fn newest(conn: &AsyncPgConnection) -> QueryResult<(i64, i64)> {
    use diesel::dsl::{count_star, max};
    let (count, revision): (i64, Option<i64>) =
        sources::table.select((count_star(), max(sources::revision))).first(&mut &*conn).await?;
    Ok((count, revision.unwrap_or(0)))
}

/// All sources, and those among them whose secrets did not open. One of these keeps only itself out.
#[derive(Debug, Default)]
pub struct Opened {
    /// All of them. Who did not open is here without secrets ([`Source::is_sealed`]).
    pub sources: Vec<Source>,
    /// Who did not open, and why.
    pub failures: Vec<(SourceId, OpenError)>,
}

impl Opened {
    /// All of them, if all of them opened.
    ///
    /// # Errors
    /// Why the first of them did not.
    pub fn whole(self) -> Result<Vec<Source>, OpenError> {
        match self.failures.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(self.sources),
        }
    }

    /// The source of that name, if there is one.
    ///
    /// # Errors
    /// Why it did not open.
    pub fn find(mut self, id: &SourceId) -> Result<Option<Source>, OpenError> {
        match self.failures.iter().position(|(failed, _)| failed == id) {
            Some(place) => Err(self.failures.swap_remove(place).1),
            None => Ok(self.sources.into_iter().find(|source| source.id == *id)),
        }
    }

    /// Whether there are sources and all of them are sealed under keys that are not named: then it is the master key that is
    /// another, and not they.
    pub fn is_foreign(&self) -> bool {
        let lacks_key = |(_, error): &(SourceId, OpenError)| matches!(error, OpenError::Seal(SealError::UnknownKey));
        !self.sources.is_empty() && self.failures.len() == self.sources.len() && self.failures.iter().all(lacks_key)
    }
}

/// All of them with their secrets opened: what the snapshot for the producers is made of.
///
/// # Errors
/// As any query.
pub async fn open_all(conn: &AsyncPgConnection, master: &MasterKey) -> Result<Opened, OpenError> {
    let rows: Vec<Sealed> = sources::table.select(Sealed::as_select()).load(&mut &*conn).await?;
    let mut opened = Opened::default();
    for row in rows {
        let (source, failure) = row.open(master)?;
        opened.failures.extend(failure.map(|error| (source.id.clone(), error)));
        opened.sources.push(source);
    }
    Ok(opened)
}

impl Sealed {
    fn open(self, master: &MasterKey) -> Result<(Source, Option<OpenError>), OpenError> {
        let (secrets, verify_token, failure) = match self.open_secrets(master) {
            Ok((secrets, verify_token)) => (secrets, verify_token, None),
            Err(error) => (Vec::new(), None, Some(error)),
        };
        let source = Source {
            secrets,
            verify_token,
            // The column holds what `TokenHash` wrote; of anything else there is no token that one could show.
            tokens: self.tokens.iter().filter_map(|hash| TokenHash::from_slice(hash)).collect(),
            body_limit: self.body_limit.map(i32::unsigned_abs),
            id: self.id.parse()?,
            account_id: self.account_id.parse()?,
            name: self.name,
            provider: self.provider,
            enabled: self.enabled,
            settings: match self.settings {
                Value::Object(settings) => settings,
                _ => Map::new(),
            },
            revision: self.revision,
        };
        Ok((source, failure))
    }

    fn open_secrets(&self, master: &MasterKey) -> Result<(Vec<SecretString>, Option<SecretString>), OpenError> {
        let place = place(&self.id);
        let open = |sealed: &Vec<u8>| crate::error::open_text(master, &place, sealed);
        let secrets = self.secrets.iter().map(open).collect::<Result<_, _>>()?;
        Ok((secrets, self.verify_token.as_ref().map(open).transpose()?))
    }
}

/// Enables or disables a source; says whether there is one of that id.
///
/// # Errors
/// As any query.
pub async fn set_enabled(conn: &AsyncPgConnection, id: &SourceId, enabled: bool) -> QueryResult<bool> {
    let changed = diesel::update(sources::table.find(id.as_str()))
        .set((sources::enabled.eq(enabled), sources::revision.eq(crate::sequences::next_revision())))
        .execute(&mut &*conn)
        .await?;
    Ok(changed == 1)
}

/// All of them, with everything that is sealed in them.
///
/// # Errors
/// As any query.
pub async fn sealed(conn: &AsyncPgConnection) -> QueryResult<Vec<SealedRow>> {
    sources::table.order(sources::id).select(SEALED).load(&mut &*conn).await
}

/// Seals anew what a source has under an old master key. Locks the row, so it belongs in a transaction. Says whether there
/// was anything.
///
/// # Errors
/// As any query, or when something does not open.
pub async fn reseal(conn: &AsyncPgConnection, master: &MasterKey, id: &str) -> Result<bool, OpenError> {
    let there: SealedRow = sources::table.find(id).select(SEALED).for_no_key_update().first(&mut &*conn).await?;
    let Some(anew) = there.reseal(master, &place(id))? else { return Ok(false) };
    diesel::update(sources::table.find(id))
        .set((
            sources::secrets.eq(anew.secrets),
            sources::verify_token.eq(anew.other),
            sources::revision.eq(crate::sequences::next_revision()),
        ))
        .execute(&mut &*conn)
        .await?;
    Ok(true)
}
