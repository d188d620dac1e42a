//! Postgres for tests.
//!
//! A migrated template is made once for each server and each state of the migrations; every test gets a clone of it, which
//! is a copy of files and takes milliseconds. The server's role must be allowed to create databases.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::{LazyLock, mpsc},
};

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use latchhook::servers::{Durability, PostgresServer, ScratchDir};
use rand::distr::{Alphanumeric, SampleString};
use tokio::{runtime::Runtime, sync::OnceCell};
use url::Url;

/// Held while a template is made, so that it is made once; any number that nothing else locks.
const LOCK: i64 = 0x7465_6d70_6c61_7465;

/// A database of the test's own; dropped with it, connections or not.
#[derive(Debug)]
pub struct TestDatabase {
    /// Its address.
    pub url: String,
    name: String,
}

/// A database of the test's own, with all migrations, and empty.
///
/// # Panics
/// When no server can be started, or a migration fails.
pub async fn database() -> TestDatabase {
    CARETAKER.spawn(clone_template()).await.expect("a database for the test")
}

/// Lives as long as the process, so that it can drop a database when its test's own runtime is gone already.
static CARETAKER: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

async fn clone_template() -> TestDatabase {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let template = TEMPLATE.get_or_init(template).await;
    let name = format!("test_{}", Alphanumeric.sample_string(&mut rand::rng(), 16).to_lowercase());
    let clone = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy");
    connect(server()).await.batch_execute(&clone).await.expect("the template is cloned");
    TestDatabase { url: address_of(&name), name }
}

/// Makes the template if nobody has yet; gives its name. Only a finished one is marked as a template.
async fn template() -> String {
    let name = format!("latchhook_template_{:016x}", fingerprint_of_migrations());
    let mut server = connect(server()).await;
    server.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})")).await.expect("the templates' lock");
    if !is_template(&mut server, &name).await {
        let unfinished = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        server.batch_execute(&unfinished).await.expect("what was left unfinished is dropped");
        server.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database for the template");
        database::migrate(&address_of(&name)).await.expect("the migrations run");
        let finished = format!("ALTER DATABASE {name} IS_TEMPLATE true ALLOW_CONNECTIONS false");
        server.batch_execute(&finished).await.expect("the template is finished");
    }
    name
}

async fn is_template(server: &mut AsyncPgConnection, name: &str) -> bool {
    let query = format!("SELECT FROM pg_database WHERE datistemplate AND datname = '{name}'");
    diesel::sql_query(query).execute(server).await.expect("the list of databases") == 1
}

/// A changed migration makes a new template.
fn fingerprint_of_migrations() -> u64 {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut files: Vec<PathBuf> = files_in(&dir).iter().flat_map(|migration| files_in(migration)).collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        (file.strip_prefix(&dir).ok(), fs::read(&file).expect("a migration")).hash(&mut hasher);
    }
    hasher.finish()
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().map(|entry| entry.expect("a directory entry").path()).collect()
}

/// The address of the server's first database: `DATABASE_URL`, else that of a private server.
fn server() -> &'static str {
    static SERVER: LazyLock<String> = LazyLock::new(|| env::var("DATABASE_URL").unwrap_or_else(|_| private_server()));
    &SERVER
}

/// Starts a server that ends with the process.
fn private_server() -> String {
    static SHARED: LazyLock<(PostgresServer, ScratchDir)> = LazyLock::new(|| {
        let dir = ScratchDir::new().expect("a directory for a private Postgres");
        let server = PostgresServer::start(&dir.path().join("postgres"), Durability::Fast).expect("a private Postgres");
        (server, dir)
    });
    SHARED.0.url("postgres")
}

fn address_of(database: &str) -> String {
    let mut url = Url::parse(server()).expect("DATABASE_URL is a URL");
    url.set_path(database);
    url.into()
}

async fn connect(url: &str) -> AsyncPgConnection {
    AsyncPgConnection::establish(url).await.expect("Postgres takes connections")
}

#[derive(diesel::QueryableByName)]
struct Read {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    rows: i64,
}

/// How many rows of a table the transaction has read so far.
///
/// # Panics
/// When Postgres does not say.
pub async fn rows_read(connection: &AsyncPgConnection, table: &str) -> i64 {
    let read = "SELECT idx_tup_fetch + seq_tup_read AS rows FROM pg_stat_xact_user_tables WHERE relname = $1";
    let read = diesel::sql_query(read).bind::<diesel::sql_types::Text, _>(table);
    let read: Read = read.get_result(&mut &*connection).await.expect("statistics");
    read.rows
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let command = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let (done, finished) = mpsc::channel();
        CARETAKER.spawn(async move { done.send(connect(server()).await.batch_execute(&command).await) });
        // Waits, because the process may end right after its last test. What failed is only left lying about.
        let _ = finished.recv();
    }
}
