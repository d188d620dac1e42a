//! How long `latchhook audit` takes: `just audit-speed [--events N]`.
//!
//! Fills a private Postgres, in memory where there is room, with what stands in it after so many events (`fill.sql`), has
//! Redis remember as many numbers, and audits it. The audit must find nothing.

use std::{env, error::Error, fs, time::Instant};

use latchhook::{cli, dev::PrivateServers};
use tokio_postgres::NoTls;

const INCARNATION: &str = "00000000000000aa";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let events = events(env::args().skip(1))?;
    let servers = PrivateServers::scratch()?;
    database::migrate(&servers.database_url()).await?;
    let began = Instant::now();
    fill(&servers, events).await?;
    println!("filled with {events} events, deliveries and attempts in {:.0} s", began.elapsed().as_secs_f64());

    for _ in 0..3 {
        let began = Instant::now();
        audit(&servers).await?;
        println!("latchhook audit: {:.1} s, nothing found", began.elapsed().as_secs_f64());
    }
    println!("{}", hardware());
    Ok(())
}

fn events(mut arguments: impl Iterator<Item = String>) -> Result<u64, Box<dyn Error>> {
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, _, _) => Ok(1_000_000),
        (Some("--events"), Some(events), None) => Ok(events.parse()?),
        _ => Err("usage: audit-speed [--events N]".into()),
    }
}

async fn fill(servers: &PrivateServers, events: u64) -> Result<(), Box<dyn Error>> {
    let (postgres, connection) = tokio_postgres::connect(&servers.database_url(), NoTls).await?;
    tokio::spawn(connection);
    let script = include_str!("fill.sql").replace(":events", &events.to_string()).replace(":incarnation", INCARNATION);
    // One at a time: together they would be one transaction, and VACUUM refuses to be in one.
    for statement in script.split(";\n") {
        postgres.batch_execute(statement).await?;
    }
    let mut redis = redis::Client::open(servers.redis_url())?.get_multiplexed_async_connection().await?;
    let mut remember = redis::cmd("HSET");
    remember.arg("latchhook:inbound:incarnation").arg(&["id", INCARNATION, "run_id", "none", "last"]).arg(events);
    Ok(remember.exec_async(&mut redis).await?)
}

async fn audit(servers: &PrivateServers) -> Result<(), Box<dyn Error>> {
    let stores = [("database-url", servers.database_url()), ("redis-url", servers.redis_url())];
    let stores = stores.map(|(name, value)| format!("--{name}={value}"));
    let mut out = Vec::new();
    let words = ["latchhook".to_owned(), "audit".to_owned(), "--json".to_owned()].into_iter().chain(stores);
    let ended = cli::run(words, &mut out).await;
    ended.map(drop).map_err(|failure| format!("{failure}: {}", String::from_utf8_lossy(&out)).into())
}

/// What it ran on, as far as Linux says, and how busy that was.
fn hardware() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let memory = read("/proc/meminfo");
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "on {cores} cores ({}), {} GiB; load {load} by the end",
        model.unwrap_or("unknown"),
        kib.unwrap_or(0_u64) >> 20
    )
}
