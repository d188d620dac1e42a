//! The pool.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diesel::{ConnectionError, ConnectionResult, QueryResult, result::Error, sql_types::Text};
use diesel_async::{
    AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{BuildError, Object, Pool, PoolError},
    },
};
use futures::{FutureExt, future::BoxFuture};
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::Trouble;

/// A connection that goes back to the pool when dropped; one dropped in mid-transaction is closed instead.
pub type Connection = Object<AsyncPgConnection>;

/// A paused worker inside its transaction must not hold the fleet: its locks are waited for two seconds, its idle
/// transaction is ended by the server after five, and a dead peer is found out within about ten.
const SESSION: &str = "-c lock_timeout=2000 -c idle_in_transaction_session_timeout=5000 -c statement_timeout=30000 \
     -c jit=off -c client_min_messages=warning";
/// [`crate::trouble`] reads Postgres's words. Who is no superuser may have no right to say in which language, and lives with
/// the server's own.
pub(crate) const IN_ENGLISH: &str =
    "DO $$ BEGIN SET lc_messages = 'C'; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$";
/// Makes a session what it was when it began, whatever was SET in it. (It has its time zone from diesel.)
pub(crate) const AS_IT_BEGAN: &str = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; SET TIME ZONE 'UTC'";
/// A stage looks rows up by their keys, in statements whose plans Postgres keeps. A plan that was made while a table was
/// small reads all of it, and is kept while the table grows by millions, until autovacuum comes round.
const LOOK_UPS_ONLY: &str = "-c enable_seqscan=off";
/// And its statements are planned once per connection: where there is one way to look things up, a plan for each call finds
/// the same anew. (That took half a millisecond of each transaction of a worker, and most of the time of a lease.)
const PLANNED_ONCE: &str = "-c plan_cache_mode=force_generic_plan";
/// Less than whoever counts waits for (five seconds): Postgres is not to go on for nobody.
const COUNTED_IN_TIME: &str = "-c statement_timeout=4500";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the address of latchhook's own database stands, and that of an app's.
const OWN: &str = "DATABASE_URL";
const OUTBOX: &str = "LATCHHOOK_OUTBOX_URL";

/// What a connection must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Looking: a replica will do.
    Any,
    /// Writing. After a failover the address, or a connection from before it, may lead to a server that only reads for
    /// some seconds, or for good. To a stage that server is away: the connection is closed, and another one is made, at
    /// any of the hosts that its URL names.
    Writes,
}

#[diesel::declare_sql_function]
extern "SQL" {
    fn current_setting(name: Text) -> Text;
}

/// Postgres, through a pool. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool<AsyncPgConnection>,
    setting: &'static str,
    /// Whether the last connection that was made speaks English.
    in_english: Arc<AtomicBool>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL is none.
    #[error("{setting} is not a Postgres URL (postgres://user:password@host/database)")]
    Url {
        /// Where it stands.
        setting: &'static str,
        /// What is wrong with it.
        source: tokio_postgres::Error,
    },
    /// The pool could not be made.
    #[error("the pool of Postgres connections could not be made")]
    Pool(#[from] BuildError),
    /// The server cannot be reached, or no connection came free within five seconds.
    #[error("Postgres gives no connection: check that it runs and that {setting} is right")]
    Unreachable {
        /// Where its address stands.
        setting: &'static str,
        /// What came instead.
        source: PoolError,
    },
}

impl Database {
    /// A pool of at most `connections` to the server at `url`, for what people ask. Connects when first used.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(url: &str, connections: usize) -> Result<Self, DatabaseError> {
        Self::with_session(OWN, url, connections, SESSION.to_owned(), Access::Any)
    }

    /// Likewise, for the statements of a stage: none of them is ever answered by reading a whole table, and a server that
    /// takes no writes counts as away.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn for_stages(url: &str, connections: usize) -> Result<Self, DatabaseError> {
        let session = format!("{SESSION} {LOOK_UPS_ONLY} {PLANNED_ONCE}");
        Self::with_session(OWN, url, connections, session, Access::Writes)
    }

    /// Likewise, for what a stage counts for those who watch it: what takes longer than 4.5 seconds is given up.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn for_counting(url: &str, connections: usize) -> Result<Self, DatabaseError> {
        let session = format!("{SESSION} {LOOK_UPS_ONLY} {COUNTED_IN_TIME}");
        Self::with_session(OWN, url, connections, session, Access::Writes)
    }

    /// A pool of at most `connections` to the app's server at `url`, which has an outbox ([`crate::outbox`]). As for a stage:
    /// its statements are look-ups, and write.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn for_outbox(url: &str, connections: usize) -> Result<Self, DatabaseError> {
        Self::with_session(OUTBOX, url, connections, format!("{SESSION} {LOOK_UPS_ONLY}"), Access::Writes)
    }

    fn with_session(
        setting: &'static str,
        url: &str,
        connections: usize,
        session: String,
        access: Access,
    ) -> Result<Self, DatabaseError> {
        url.parse::<tokio_postgres::Config>().map_err(|source| DatabaseError::Url { setting, source })?;
        let mut manager = ManagerConfig::default();
        let in_english = Arc::new(AtomicBool::new(true));
        let heard = in_english.clone();
        manager.custom_setup = Box::new(move |url| {
            let (session, heard) = (session.clone(), heard.clone());
            let made = async move {
                let conn = establish_with(url, session, access).await?;
                let setting = diesel::select(current_setting("lc_messages")).get_result(&mut &conn).await;
                let locale: String = setting.map_err(ConnectionError::CouldntSetupConfiguration)?;
                heard.store(is_english(&locale), Ordering::Relaxed);
                Ok(conn)
            };
            made.boxed()
        });
        if access == Access::Writes {
            manager.recycling_method = RecyclingMethod::CustomFunction(Box::new(|conn| takes_writes(conn).boxed()));
        }
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url, manager);
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(deadpool::Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .build()?;
        Ok(Self { pool, setting, in_english })
    }

    /// Judges an error of one of its connections, as [`crate::trouble`]. Where the server does not speak English, what its
    /// words do not tell is taken for an outage: it may be one.
    pub fn trouble(&self, error: &Error) -> Trouble {
        match crate::trouble(error) {
            Trouble::Unknown if !AtomicBool::load(&self.in_english, Ordering::Relaxed) => Trouble::Outage,
            trouble => trouble,
        }
    }

    /// A connection. Take one for a batch, not one for a row: every checkout asks the server whether it still lives.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn connection(&self) -> Result<Connection, DatabaseError> {
        let unreachable = |source| DatabaseError::Unreachable { setting: self.setting, source };
        self.pool.get().await.map_err(unreachable)
    }
}

pub(crate) fn establish(url: &str) -> BoxFuture<'_, ConnectionResult<AsyncPgConnection>> {
    establish_with(url, SESSION.to_owned(), Access::Any)
}

fn is_english(locale: &str) -> bool {
    matches!(locale, "" | "C" | "POSIX") || locale.starts_with("C.") || locale.starts_with("en")
}

/// Asks in one round trip whether the server still lives, and still takes writes.
async fn takes_writes(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    let query = diesel::select(current_setting("transaction_read_only"));
    let read_only: String = query.get_result(conn).await?;
    if read_only == "off" { Ok(()) } else { Err(Error::BrokenTransactionManager) }
}

fn establish_with(url: &str, session: String, access: Access) -> BoxFuture<'_, ConnectionResult<AsyncPgConnection>> {
    async move {
        let mut config: tokio_postgres::Config = url.parse().map_err(bad)?;
        let options = config.get_options().map_or(session.clone(), |given| format!("{session} {given}"));
        config
            .options(&options)
            .application_name("latchhook")
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(Duration::from_secs(4))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(10));
        if access == Access::Writes {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let mut conn = if config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(bad)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await?
        } else {
            let (client, connection) = config.connect(MakeRustlsConnect::new(tls())).await.map_err(bad)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await?
        };
        conn.batch_execute(IN_ENGLISH).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(conn)
    }
    .boxed()
}

/// tokio-postgres says only that there is an error; its cause says which.
fn bad(error: tokio_postgres::Error) -> ConnectionError {
    let words =
        std::error::Error::source(&error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    ConnectionError::BadConnection(words)
}

/// Servers must show a certificate that the operating system's or Mozilla's roots vouch for.
fn tls() -> rustls::ClientConfig {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has every suite of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
