//! `latchhook source`: where raw events come from.
//!
//! Producers know sources only from the snapshot in Redis, so whatever changes one returns once the new snapshot is
//! published: what one does next (pasting the URL into the provider's console) then works. `docs/sources.md` says what takes
//! a second longer.

mod body_limit;
mod guide;
mod secrets;
mod setting;
mod show;
mod test;
mod token;

use anyhow::{Context as _, bail, ensure};
use clap::{ArgGroup, Args, Subcommand};
use database::{
    AsyncPgConnection,
    sources::{self, Opened, SourceRow},
};
use providers::Provider;
use queue::{Redis, Snapshots};
use secrecy::ExposeSecret;
use serde_json::{Map, json};
use vocabulary::{AccountId, MasterKey, SourceId, chain};

use self::{test::Test, token::Token};
use super::{
    account,
    context::{Context, fresh_id},
    secret::{AppSecrets, SECRETS, VerifyToken},
    sentence,
};

/// Where raw events come from
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add one, or give the one of that id these values
    Add(Add),
    /// List them, without their secrets
    List,
    /// Show one, without its secrets
    Show(Which),
    /// Replace the secrets of one, or its verify token; give the old secret too while the provider still signs with it
    Rotate(Rotate),
    /// Make a token with which an app enqueues raw events over HTTP; printed once
    Token(Token),
    /// Answer the provider again
    Enable(Which),
    /// Answer as if it did not exist
    Disable(Which),
    Test(Test),
}

/// What a source is made of.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// Whose rules apply: latchhook providers lists them
    #[arg(long, value_name = "P")]
    provider: Provider,
    /// Who owns it
    #[arg(long, value_name = "A")]
    account: AccountId,
    /// What people call it
    #[arg(long, value_name = "N", value_parser = sentence::name)]
    name: String,
    #[command(flatten)]
    secrets: AppSecrets,
    #[command(flatten)]
    verify_token: VerifyToken,
    /// Quarantine what is for another phone number than this (WhatsApp)
    #[arg(long, value_name = "P")]
    phone_number_id: Option<String>,
    /// A setting of its provider's: latchhook providers P tells which there are. A text as it stands, or JSON
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting::parse)]
    settings: Vec<(String, String)>,
    /// The largest body that it takes, at whatever door, as 512KiB or 3MiB; what its provider sends at most if not said
    #[arg(long, value_name = "SIZE", value_parser = body_limit::parse)]
    max_body: Option<u32>,
    /// The last part of its URL; a random one if not given
    #[arg(long, value_name = "I")]
    id: Option<SourceId>,
}

/// Which source, and what its secrets are from now on. What is not given stays.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("secrets").required(true).multiple(true).args(SECRETS))]
pub(super) struct Rotate {
    /// Which source
    id: SourceId,
    #[command(flatten)]
    secrets: AppSecrets,
    #[command(flatten)]
    verify_token: VerifyToken,
}

/// Which source.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Which source
    id: SourceId,
}

/// Runs it.
pub(super) async fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Add(add) => add.run(context).await,
        Command::List => show::list(context).await,
        Command::Show(Which { id }) => show::one(context, &id).await,
        Command::Rotate(rotate) => rotate.run(context).await,
        Command::Token(token) => token.run(context).await,
        Command::Enable(Which { id }) => set_enabled(context, &id, true).await,
        Command::Disable(Which { id }) => set_enabled(context, &id, false).await,
        Command::Test(test) => test.run(context).await,
    }
}

impl Add {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let about = self.provider.about();
        self.secrets.must_be_given(about)?;
        self.verify_token.must_be_of_use(about)?;
        let id = self.id.map_or_else(fresh_id, Ok)?;
        let number = self.phone_number_id.map(|number| ("phone_number_id".to_owned(), number));
        let given = number.into_iter().chain(self.settings).collect();
        let settings = setting::all(self.provider, &id, given, context.now)?;
        let (secrets, token) = (self.secrets.read()?, self.verify_token.read()?);
        secrets::check(context, self.provider, &settings, &secrets)?;
        let new = sources::NewSource {
            id: &id,
            account_id: &self.account,
            name: &self.name,
            provider: self.provider.as_str(),
            secrets: &secrets,
            verify_token: token.as_ref(),
            body_limit: self.max_body,
            settings: &settings,
        };
        let change = Change::begin(context).await?;
        account::must_exist(&change.postgres, &self.account).await?;
        let before = must_be_same(&change.postgres, &id, &self.account, self.provider).await?;
        sources::put(&change.postgres, &change.master, &new).await?;
        change.publish(context).await?;
        if let Some(before) = &before {
            context.note_lost(id.as_str(), &taken_away(before, &new), "source add takes all of them each time");
            setting::note_others(context, &id, &before.settings, &settings);
        }
        guide::say(context, self.provider, &new);
        context.out.object(&json!({"id": id, "account_id": self.account, "name": self.name, "path": path(id.as_str())}))
    }
}

/// As people see it.
pub(super) async fn there(conn: &AsyncPgConnection, id: &SourceId) -> anyhow::Result<Option<SourceRow>> {
    Ok(sources::list(conn).await?.into_iter().find(|source| source.id == id.as_str()))
}

/// What a source had, and has no longer; in the words of `source add`.
fn taken_away(before: &SourceRow, new: &sources::NewSource<'_>) -> Vec<String> {
    let lost = [
        ("verify-token", before.has_verify_token && new.verify_token.is_none()),
        ("max-body", before.body_limit.is_some() && new.body_limit.is_none()),
    ];
    let lost = lost.into_iter().filter(|(_, is_lost)| *is_lost).map(|(name, _)| name.to_owned());
    let settings = before.settings.as_object().into_iter().flat_map(Map::keys);
    let settings = settings.filter(|name| !new.settings.contains_key(*name)).map(|name| format!("setting {name}"));
    lost.chain(settings).collect()
}

/// A source's keys are unique under its account and provider, so these are for ever. Gives what is there.
async fn must_be_same(
    conn: &AsyncPgConnection,
    id: &SourceId,
    account: &AccountId,
    provider: Provider,
) -> anyhow::Result<Option<SourceRow>> {
    let there = there(conn, id).await?;
    if let Some(there) = &there {
        let is_same = there.account_id == account.as_str() && there.provider == provider.as_str();
        let (owner, whose) = (&there.account_id, &there.provider);
        ensure!(
            is_same,
            "there is a source {id} already, of account {owner} and provider {whose}: choose another --id"
        );
    }
    Ok(there)
}

impl Rotate {
    async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let change = Change::under_any_key(context).await?;
        let opened = change.opened().await?;
        // One that does not open is mended by what is given now.
        let there =
            opened.sources.into_iter().find(|source| source.id == self.id).with_context(|| unknown(&self.id))?;
        self.verify_token.must_be_of_use(there.provider.parse::<Provider>()?.about())?;
        let (secrets, token) = (self.secrets.read()?, self.verify_token.read()?);
        secrets::check(context, there.provider.parse()?, &there.settings, &secrets)?;
        let secrets = if secrets.is_empty() { &there.secrets } else { &secrets };
        ensure!(!secrets.is_empty(), "the secrets of {} do not open: give it new ones too, by --app-secret", self.id);
        if there.is_sealed() && token.is_none() {
            context
                .note("It did not open, so a verify token that it may have had is gone: give it one by --verify-token");
        }
        let new = sources::NewSource {
            id: &there.id,
            account_id: &there.account_id,
            name: &there.name,
            provider: &there.provider,
            secrets,
            verify_token: token.as_ref().or(there.verify_token.as_ref()),
            body_limit: there.body_limit,
            settings: &there.settings,
        };
        sources::put(&change.postgres, &change.master, &new).await?;
        change.publish(context).await?;
        if !secrets.iter().any(|now| there.secrets.iter().any(|old| old.expose_secret() == now.expose_secret())) {
            context.note(
                "What its provider still signs with the former secret is refused now: give that as a second --app-secret until it \
                 signs with the new one",
            );
        }
        context.out.object(&json!({"id": there.id, "secrets": secrets.len()}))
    }
}

async fn set_enabled(context: &mut Context<'_>, id: &SourceId, enabled: bool) -> anyhow::Result<()> {
    let change = Change::begin(context).await?;
    if !sources::set_enabled(&change.postgres, id, enabled).await? {
        bail!(unknown(id));
    }
    change.publish(context).await?;
    context.out.object(&json!({"id": id, "enabled": enabled}))
}

/// What a provider's console asks for, behind the address that producers are reached at.
fn path(id: &str) -> String {
    format!("/hooks/{id}")
}

/// Where its apps enqueue, behind the same address.
fn raw_events_path(id: &str) -> String {
    format!("/v1/sources/{id}/raw-events")
}

/// Refuses a source that is not there, where one is only looked for by its name.
pub(super) async fn must_exist(conn: &AsyncPgConnection, id: &SourceId) -> anyhow::Result<()> {
    ensure!(there(conn, id).await?.is_some(), unknown(id));
    Ok(())
}

fn unknown(id: &SourceId) -> String {
    format!("there is no source {id}: latchhook source list names them")
}

/// A change of sources: everything that it needs is at hand before it begins, so that it is not left half done.
pub(super) struct Change {
    pub(super) postgres: database::Connection,
    pub(super) redis: Redis,
    pub(super) master: MasterKey,
}

impl Change {
    /// Under a master key that opens sources, if there are any.
    pub(super) async fn begin(context: &Context<'_>) -> anyhow::Result<Self> {
        let change = Self::under_any_key(context).await?;
        change.opened().await?;
        Ok(change)
    }

    /// The sources as they are before it. Refuses a master key that opens none of them: what it sealed nobody else could open.
    async fn opened(&self) -> anyhow::Result<Opened> {
        let opened = sources::open_all(&self.postgres, &self.master).await?;
        ensure!(
            !opened.is_foreign(),
            "nothing was changed: no source opens under this master key: set LATCHHOOK_MASTER_KEY to the one that sealed \
             them"
        );
        Ok(opened)
    }

    pub(super) async fn under_any_key(context: &Context<'_>) -> anyhow::Result<Self> {
        let master = context.master_key()?;
        Ok(Self { postgres: context.postgres().await?, redis: context.redis().await?, master })
    }

    /// The revision is read before the sources: a snapshot may be newer than it says, never older.
    pub(super) async fn publish(&self, context: &Context<'_>) -> anyhow::Result<()> {
        let (_, revision) = sources::newest(&self.postgres).await?;
        let opened = sources::open_all(&self.postgres, &self.master).await?;
        for (id, error) in &opened.failures {
            context.note(&format!("{id} does not open, and its provider is answered with 503: {}", chain(error)));
        }
        let publishing =
            Snapshots::new(&self.redis).publish(&self.master, revision, &opened.sources, context.now).await;
        publishing
            .context("saved, but producers do not know yet: they will once `latchhook run` runs, or repeat this")?;
        Ok(())
    }
}
