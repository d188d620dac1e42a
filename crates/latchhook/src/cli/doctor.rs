//! `latchhook doctor`: what must be right for the promises to hold, one line a check, with what to do.

use std::{borrow::Cow, collections::HashSet, env};

use anyhow::ensure;
use clap::CommandFactory;
use database::{AsyncPgConnection, endpoints, facts, sources};
use queue::{Inbound, ServerFacts};
use serde::Serialize;
use vocabulary::MasterKey;

mod disabled;
mod losses;
mod retries;

use super::{Cli, context::Context};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One line.
#[derive(Debug, Serialize)]
struct Checkup {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do, where something is to be done.
    #[serde(rename = "do")]
    remedy: Option<Cow<'static, str>>,
}

impl Checkup {
    /// Says what is so. Whether that is wrong is another's to judge.
    fn tells(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), remedy: None }
    }

    /// Passes, or fails with advice.
    fn must(
        check: &'static str,
        is_right: bool,
        found: impl Into<String>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::judged(check, if is_right { Verdict::Ok } else { Verdict::Fail }, found, remedy)
    }

    /// Passes, or warns with advice.
    fn should(
        check: &'static str,
        is_right: bool,
        found: impl Into<String>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::judged(check, if is_right { Verdict::Ok } else { Verdict::Warn }, found, remedy)
    }

    fn judged(
        check: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { check, verdict, found: found.into(), remedy: (verdict != Verdict::Ok).then(|| remedy.into()) }
    }
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut checkups = redis(context).await;
    checkups.extend(postgres(context).await);
    checkups.push(variables(&unknown_variables(env::vars_os().filter_map(|(name, _)| name.into_string().ok()))));
    let failed = checkups.iter().filter(|checkup| checkup.verdict == Verdict::Fail).count();
    context.out.list(&["check", "verdict", "found", "do"], &checkups)?;
    ensure!(failed == 0, "{failed} {} failed: the table says what to do", if failed == 1 { "check" } else { "checks" });
    Ok(())
}

/// What could not be looked at.
fn failed(check: &'static str, error: impl Into<anyhow::Error>, remedy: &'static str) -> Checkup {
    Checkup::must(check, false, super::Failure::from(error.into()).to_string(), remedy)
}

async fn redis(context: &Context<'_>) -> Vec<Checkup> {
    let remedy = "start it, and set REDIS_URL to where it is";
    match context.redis().await {
        Err(error) => vec![failed("redis is reachable", error, remedy)],
        Ok(redis) => match redis.server().await {
            Err(error) => vec![failed("redis is reachable", error, remedy)],
            Ok(facts) => {
                let mut checkups = redis_checkups(&facts);
                checkups.push(losses::at_a_crash(&facts));
                checkups.push(losses::with_its_memory(&Inbound::new(&redis)).await);
                checkups
            }
        },
    }
}

fn redis_checkups(facts: &ServerFacts) -> Vec<Checkup> {
    let ServerFacts { name, version, policy, .. } = facts;
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    vec![
        Checkup::must("redis is reachable", true, format!("{name} {version}"), ""),
        Checkup::must("redis version", major >= Some(7), version.as_str(), "use Redis 7 or newer, or Valkey"),
        Checkup::must(
            "redis throws nothing away",
            policy == "noeviction",
            format!("maxmemory-policy {policy}"),
            "set maxmemory-policy noeviction: any other policy deletes raw events that were acknowledged",
        ),
        Checkup::must(
            "redis keeps a log",
            facts.is_append_only,
            if facts.is_append_only { "appendonly yes" } else { "appendonly no" },
            "set appendonly yes: without it a restart loses what is queued",
        ),
        fsync(facts.append_fsync.as_deref()),
        memory(facts),
    ]
}

fn fsync(policy: Option<&str>) -> Checkup {
    let check = "redis syncs its log";
    match policy {
        Some("always") => Checkup::must(check, true, "appendfsync always", ""),
        Some("everysec") => {
            let remedy =
                "set appendfsync always: a crash of the machine loses up to 2 seconds of acknowledged raw events";
            Checkup::should(check, false, "appendfsync everysec", remedy)
        }
        Some(policy) => {
            let remedy = "set appendfsync always: a crash of the machine loses what the system had not written yet";
            Checkup::must(check, false, format!("appendfsync {policy}"), remedy)
        }
        None => Checkup::should(check, false, "CONFIG GET is forbidden", "ask whoever runs it for appendfsync always"),
    }
}

fn memory(facts: &ServerFacts) -> Checkup {
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let machine = mib(facts.system_memory);
    let check = "redis has a limit of memory";
    match facts.max_memory {
        None => {
            let remedy = "set maxmemory below the machine's memory: at the limit producers answer 503, without one the kernel kills Redis";
            Checkup::must(check, false, format!("no maxmemory; the machine has {machine}"), remedy)
        }
        Some(max) => {
            let found = format!("maxmemory {} of {machine}, {} in use", mib(max), mib(facts.used_memory));
            let fits = facts.system_memory == 0 || max < facts.system_memory;
            Checkup::must(check, fits, found, "set maxmemory below the machine's memory")
        }
    }
}

async fn postgres(context: &Context<'_>) -> Vec<Checkup> {
    match context.postgres().await {
        Err(error) => vec![failed("postgres is reachable", error, "start it, and set DATABASE_URL to where it is")],
        Ok(conn) => match facts::read(&conn).await {
            Err(error) => vec![failed("postgres is reachable", error, "see what its log says")],
            Ok(facts) => postgres_checkups(&conn, &facts, context).await,
        },
    }
}

async fn postgres_checkups(conn: &AsyncPgConnection, facts: &facts::Facts, context: &Context<'_>) -> Vec<Checkup> {
    let pending = &facts.pending_migrations;
    let migrations =
        if pending.is_empty() { "all applied".to_owned() } else { format!("not applied: {}", pending.join(", ")) };
    let mut checkups = vec![
        Checkup::must("postgres is reachable", true, facts.version.as_str(), ""),
        Checkup::must("postgres version", facts.major >= 15, facts.major.to_string(), "use Postgres 15 or newer"),
        Checkup::must("postgres fsync", facts.fsync == "on", facts.fsync.as_str(), "set fsync = on"),
        Checkup::must(
            "postgres synchronous_commit",
            !matches!(facts.synchronous_commit.as_str(), "off"),
            facts.synchronous_commit.as_str(),
            "set synchronous_commit = on: without it a crash forgets commits that were acknowledged",
        ),
        Checkup::must("the schema is up to date", pending.is_empty(), migrations, "run latchhook migrate"),
    ];
    if pending.is_empty() {
        checkups.push(master_key(conn, context).await);
        checkups.extend(waiting_for_a_key(conn, context).await);
        checkups.push(disabled::unheard(conn).await);
        checkups.push(retries::stopped(conn).await);
    }
    checkups
}

async fn master_key(conn: &AsyncPgConnection, context: &Context<'_>) -> Checkup {
    let opened = match context.master_key() {
        Ok(master) => open_all(conn, &master).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    let (is_right, found) = match opened {
        Ok(count) => (true, format!("{count} sources and endpoints open")),
        Err(error) => (false, super::Failure::from(error).to_string()),
    };
    let remedy =
        "set LATCHHOOK_MASTER_KEY to the key that sealed them; an old one may stand behind a new one, after a comma";
    Checkup::must("the master key opens every secret", is_right, found, remedy)
}

/// A dispatcher that lacks a key leaves deliveries to others for ever, and no attempt tells of it. Nothing is said where no key
/// is known: the check before this one does.
async fn waiting_for_a_key(conn: &AsyncPgConnection, context: &Context<'_>) -> Option<Checkup> {
    let master = context.master_key().ok()?;
    let check = "no delivery waits for a master key";
    let remedy = "give a dispatcher the key that sealed them, behind its first one; if it is lost, give them new secrets \
                  (endpoint rotate --overlap 0s) and access (endpoint set)";
    Some(match endpoints::secrets::waiting_for_a_key(conn, &master).await {
        Ok(waiting) if waiting.is_empty() => Checkup::must(check, true, "none does", remedy),
        Ok(waiting) => {
            let named: Vec<_> = waiting.iter().map(|(id, owed)| format!("{owed} to {id}")).collect();
            let found = format!("LATCHHOOK_MASTER_KEY names no key for deliveries that are owed: {}", named.join(", "));
            Checkup::must(check, false, found, remedy)
        }
        Err(error) => failed(check, error, remedy),
    })
}

async fn open_all(conn: &AsyncPgConnection, master: &MasterKey) -> Result<usize, database::OpenError> {
    Ok(sources::open_all(conn, master).await?.whole()?.len() + endpoints::open_all(conn, master).await?)
}

/// A misspelt variable is not refused by anything: it just does not do what it was set for.
fn variables(unknown: &[String]) -> Checkup {
    let found = if unknown.is_empty() { "all known".to_owned() } else { unknown.join(", ") };
    Checkup::should("no LATCHHOOK_ variable is unknown", unknown.is_empty(), found, "see --help for the names")
}

fn unknown_variables(set: impl Iterator<Item = String>) -> Vec<String> {
    let known = known_variables(&Cli::command());
    let mut unknown: Vec<_> = set.filter(|name| name.starts_with("LATCHHOOK_") && !known.contains(name)).collect();
    unknown.sort();
    unknown
}

fn known_variables(command: &clap::Command) -> HashSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(known_variables)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ServerFacts {
        ServerFacts {
            name: "redis".into(),
            version: "7.0.15".into(),
            run_id: String::new(),
            used_memory: 1 << 20,
            max_memory: Some(1 << 30),
            system_memory: 8 << 30,
            policy: "noeviction".into(),
            is_append_only: true,
            append_fsync: Some("always".into()),
        }
    }

    fn wrong(facts: &ServerFacts) -> Vec<(&'static str, Verdict)> {
        let checkups = redis_checkups(facts).into_iter();
        checkups.filter(|it| it.verdict != Verdict::Ok).map(|it| (it.check, it.verdict)).collect()
    }

    #[test]
    fn each_setting_that_loses_raw_events_is_found() {
        assert_eq!(wrong(&facts()), []);

        let wrongs = [
            (ServerFacts { version: "6.2.14".into(), ..facts() }, "redis version", Verdict::Fail),
            (ServerFacts { policy: "allkeys-lru".into(), ..facts() }, "redis throws nothing away", Verdict::Fail),
            (ServerFacts { is_append_only: false, ..facts() }, "redis keeps a log", Verdict::Fail),
            (ServerFacts { append_fsync: Some("no".into()), ..facts() }, "redis syncs its log", Verdict::Fail),
            (ServerFacts { append_fsync: Some("everysec".into()), ..facts() }, "redis syncs its log", Verdict::Warn),
            (ServerFacts { append_fsync: None, ..facts() }, "redis syncs its log", Verdict::Warn),
            (ServerFacts { max_memory: None, ..facts() }, "redis has a limit of memory", Verdict::Fail),
            (ServerFacts { max_memory: Some(8 << 30), ..facts() }, "redis has a limit of memory", Verdict::Fail),
        ];
        for (facts, check, verdict) in wrongs {
            assert_eq!(wrong(&facts), [(check, verdict)]);
        }
    }

    #[test]
    fn a_misspelt_variable_is_named() {
        let set = ["LATCHHOOK_PREFIX", "LATCHHOOK_MASTERKEY", "HOME"].map(str::to_owned);

        assert_eq!(unknown_variables(set.into_iter()), ["LATCHHOOK_MASTERKEY"]);
    }
}
