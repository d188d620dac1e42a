//! A run: set up once, then two acts on the same fleet, each judged by itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use database::endpoints::{self, NewEndpoint};
use dispatcher::signing::SigningSecret;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::{
    process::Command,
    time::{interval, sleep},
};
use tokio_postgres::Client;
use vocabulary::{MasterKey, Terms};

use crate::{
    customers::Customers,
    fleet::Fleet,
    inject::{Happened, Injector},
    judge::{self, Evidence},
    plan::Plan,
    report::Report,
    sender::{Sender, Sent, Targets},
    stores::{PREFIX, Stores},
    stream::{APP_SECRET, PHONE_NUMBER_ID, SOURCES, Stream},
};

/// The endpoints, and what each wants to hear of.
pub(crate) const ENDPOINTS: [(&str, &str); 3] = [("all", "*"), ("created", "message_created"), ("all-too", "*")];

/// The time after the healing within which everything has ended. The longest waits: a lease, a deferral, a retry, each of
/// seconds; and what had piled up.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);
/// Why a job is in quarantine whose workers died of it, or so it seems.
const CRASH_LOOP: &str = "crash loop";
/// It takes four deaths, in two of which it ran alone: chance may do that to one job in a long run, not to many.
const FEW: i64 = 2;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A fleet, and all that is around it.
struct Stage {
    stores: Stores,
    fleet: Fleet,
    customers: Customers,
    master_key: SecretString,
}

/// What has been sent and injected since the run began: the second act is judged with the first in mind.
#[derive(Default)]
struct History {
    sent: Vec<Sent>,
    happened: Vec<Happened>,
    forgot: Vec<Instant>,
}

/// Plays both acts.
///
/// # Errors
/// When a run cannot be brought to its end. A broken promise is in a report.
pub(crate) async fn play(seed: u64, rate: u32, [plan, amnesia]: [&Plan; 2]) -> anyhow::Result<Vec<Report>> {
    let stage = Stage::set_up().await?;
    let mut history = History::default();
    println!("\nFirst act: Redis keeps what it acknowledged");
    let first = stage.act(Stream::new(seed), rate, plan, &mut history).await?;
    println!("{first}\nSecond act: Redis loses its memory");
    let second = stage.act(Stream::new(seed + 1), rate, amnesia, &mut history).await?;
    println!("{second}");
    stage.fleet.end().await?;
    let ended = Report::of_the_end(&stage.fleet);
    println!("{ended}");
    if ![&first, &second, &ended].iter().all(|report| report.held()) {
        let kept = keep_logs(&stage, seed)?;
        println!("what the processes said is kept in {kept}");
    }
    Ok(vec![first, second, ended])
}

impl Stage {
    async fn set_up() -> anyhow::Result<Self> {
        let stores = Stores::start().await?;
        let master_key = MasterKey::generate();
        let secrets: Vec<_> = ENDPOINTS.iter().map(|(id, _)| ((*id).to_owned(), SigningSecret::generate())).collect();
        let customers = Customers::listen(secrets.clone()).await.context("customers cannot listen")?;
        let stage_key = master_key.expose_secret().to_owned();
        latchhook(&stores, &stage_key, &words("account add --id chaos --name Chaos")).await?;
        for source in 0..SOURCES {
            let line = format!(
                "source add --id chaos-{source} --provider whatsapp --account chaos --name Chaos \
                 --app-secret {APP_SECRET} --verify-token chaos --phone-number-id {PHONE_NUMBER_ID}"
            );
            latchhook(&stores, &stage_key, &words(&line)).await?;
        }
        add_endpoints(&stores, &customers, &master_key, &secrets).await?;
        let fleet = Fleet::start(&stores, &stage_key, stores.home()).await?;
        Ok(Self { stores, fleet, customers, master_key })
    }

    /// Sends under faults, heals, waits until all of it has ended, and judges.
    async fn act(&self, stream: Stream, rate: u32, plan: &Plan, history: &mut History) -> anyhow::Result<Report> {
        let targets = Targets::default();
        targets.set(self.fleet.intakes());
        let injector = Injector::new(&self.stores, &self.fleet, &self.customers);
        let mut memory = BTreeMap::new();
        let sender = Sender::start(stream.clone(), targets, rate);
        let began = Instant::now();
        {
            let injecting = injector.run(plan, |what| println!("  {what}"));
            let mut injecting = std::pin::pin!(injecting);
            let mut look = interval(Duration::from_secs(1));
            let mut tell = interval(Duration::from_secs(15));
            loop {
                tokio::select! {
                    injected = &mut injecting => break injected?,
                    _ = look.tick() => {
                        self.fleet.memory(&mut memory);
                        // While Postgres is away there is nothing that a person could do.
                        if let Ok(sql) = self.stores.sql().await && let Err(away) = self.enable_what_came_back(&sql).await {
                            println!("  an endpoint is enabled later: {away:#}");
                        }
                    }
                    _ = tell.tick() => self.tell(began, &sender),
                }
            }
        }
        let lasted = began.elapsed();
        self.fleet.heal();
        sender.stop_sending();
        let healed = Instant::now();
        history.sent.push(with_what_is_no_json(sender.finished(healed + DRAINED_WITHIN).await?, &stream));
        let mut unlucky = 0;
        let stuck = self.drain(healed + DRAINED_WITHIN, &mut unlucky).await?;
        let drained_in = healed.elapsed();
        self.fleet.memory(&mut memory);
        let record = injector.into_record();
        history.happened.extend_from_slice(&record.happened);
        history.forgot.extend_from_slice(&record.forgot);

        let sql = self.stores.sql().await?;
        let evidence = Evidence {
            sent: &history.sent,
            heard: &self.customers.heard(),
            happened: &history.happened,
            forgot: &history.forgot,
            stuck,
            rows: judge::Rows::read(&sql).await?,
            audit: self.audit().await?,
        };
        let judgement = judge::judge(&evidence);
        let stream = history.sent.last().map(judge::describe).unwrap_or_default();
        let mut report = Report::new(judgement, record.counts(), memory, lasted, drained_in, stream);
        report.must_not_be("all that was planned came true", &record.never);
        let suspected = (unlucky > FEW).then(|| format!("{unlucky} raw events were taken for what kills workers"));
        report.must_not_be("hardly an innocent is suspected", suspected.as_slice());
        if !record.forgot.is_empty() {
            report.must_not_be("what was named can be accepted, and then the audit agrees", &self.accept().await?);
        }
        Ok(report)
    }

    fn tell(&self, began: Instant, sender: &Sender) {
        let (begun, accepted) = sender.progress();
        let (seconds, heard) = (began.elapsed().as_secs(), self.customers.count());
        println!("  {seconds:4} s: {begun} requests begun, {accepted} accepted, {heard} deliveries heard");
    }

    /// Waits until nothing is on its way any more. Names what still is when the time is up.
    async fn drain(&self, deadline: Instant, unlucky: &mut i64) -> anyhow::Result<Vec<String>> {
        let (inbound, sql) = (self.stores.inbound()?, self.stores.sql().await?);
        loop {
            let depth = inbound.depth().await?;
            let due: i64 = sql.query_one("SELECT count(*) FROM due", &[]).await?.get(0);
            let queued = depth.all();
            if queued == 0 && due == 0 {
                let replayed = self.replay_the_unlucky(&sql).await?;
                *unlucky += replayed;
                if replayed == 0 {
                    return Ok(Vec::new());
                }
            }
            self.enable_what_came_back(&sql).await?;
            if Instant::now() > deadline {
                return Ok(vec![format!("{depth:?}"), format!("{due} deliveries due")]);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// A customer who answered 410 once is disabled, and what he is owed is held, until a person enables him.
    async fn enable_what_came_back(&self, sql: &Client) -> anyhow::Result<()> {
        for row in sql.query("SELECT id FROM endpoints WHERE NOT enabled", &[]).await? {
            let id: String = row.get(0);
            latchhook(&self.stores, self.master_key.expose_secret(), &["endpoint", "enable", &id]).await?;
        }
        Ok(())
    }

    /// A job whose workers were killed again and again looks as if it killed them, and is in quarantine: not lost, and
    /// replayed by a person who sees that it is innocent. How many there were.
    async fn replay_the_unlucky(&self, sql: &Client) -> anyhow::Result<i64> {
        let unlucky = "SELECT count(*) FROM quarantine WHERE reason = $1 AND closed_at IS NULL AND replayed_at IS NULL";
        let count: i64 = sql.query_one(unlucky, &[&CRASH_LOOP]).await?.get(0);
        if count > 0 {
            println!("  {count} in quarantine, because they had been held by too many that were killed: replayed");
            let key = self.master_key.expose_secret();
            latchhook(&self.stores, key, &["quarantine", "replay", "--group", CRASH_LOOP]).await?;
        }
        Ok(count)
    }

    /// What `latchhook audit` says, and whether it ended with 0.
    async fn audit(&self) -> anyhow::Result<(bool, Value)> {
        let key = self.master_key.expose_secret();
        let output = command(&self.stores, key, &["audit", "--json"]).output().await?;
        let report = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("`latchhook audit` prints no JSON; it says: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        Ok((output.status.success(), report))
    }

    /// An operator accepts what Redis has forgotten; from then on only news are breaches.
    async fn accept(&self) -> anyhow::Result<Vec<String>> {
        let key = self.master_key.expose_secret();
        latchhook(&self.stores, key, &words("audit accept --reason chaos")).await?;
        let (agrees, report) = self.audit().await?;
        Ok(if agrees { Vec::new() } else { vec![report.to_string()] })
    }
}

/// The sender forgets bodies; those that must be found again in quarantine are made again.
fn with_what_is_no_json(mut sent: Sent, stream: &Stream) -> Sent {
    for request in sent.requests.iter_mut().filter(|request| request.malformed) {
        request.body = stream.request(request.number).body;
    }
    sent
}

async fn add_endpoints(
    stores: &Stores,
    customers: &Customers,
    master_key: &SecretString,
    secrets: &[(String, SecretString)],
) -> anyhow::Result<()> {
    let connection = database::Database::new(stores.database_url(), 1)?.connection().await?;
    let master = MasterKey::parse(master_key)?;
    for ((id, wants), (_, secret)) in ENDPOINTS.iter().zip(secrets) {
        let new = NewEndpoint {
            id: &id.parse()?,
            account_id: &"chaos".parse()?,
            url: &customers.url(id),
            secrets: std::slice::from_ref(secret),
            terms: &Terms::of(wants.parse()?),
        };
        endpoints::put(&connection, &master, &new).await?;
    }
    Ok(())
}

/// A `latchhook` that talks to the stores without a proxy.
fn command(stores: &Stores, master_key: &str, words: &[&str]) -> Command {
    let mut command = Command::new(tests::binary());
    command.args(words).env_clear();
    command.env("DATABASE_URL", stores.database_url()).env("REDIS_URL", stores.redis_url());
    command.env("LATCHHOOK_PREFIX", PREFIX).env("LATCHHOOK_MASTER_KEY", master_key);
    command
}

async fn latchhook(stores: &Stores, master_key: &str, words: &[&str]) -> anyhow::Result<()> {
    let output = command(stores, master_key, words).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`latchhook {}` failed: {said}", words.join(" "));
    Ok(())
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// What a failed run leaves to look at.
fn keep_logs(stage: &Stage, seed: u64) -> anyhow::Result<String> {
    let kept = std::env::temp_dir().join(format!("latchhook-chaos-{seed}-{}", std::process::id()));
    std::fs::create_dir_all(&kept)?;
    for entry in std::fs::read_dir(stage.stores.home().join("logs"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), kept.join(entry.file_name()))?;
    }
    let Some(name) = kept.to_str() else { bail!("{} is no text", kept.display()) };
    Ok(name.to_owned())
}
