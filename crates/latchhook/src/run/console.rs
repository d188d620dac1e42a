//! The console in a process: a server of its own, on an address of its own.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use console::{Console, Token};
use database::Database;
use producer::ConnectionLimits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{CONNECTIONS, Role, Settings, Stages, listen, master};

/// Clients of the console at one time, streams among them.
const CLIENTS: usize = 256;

/// What a console needs to know.
#[derive(Clone)]
pub struct ConsoleSettings {
    /// Where it serves HTTP.
    pub listen: SocketAddr,
    /// What requests to it must show.
    pub token: Token,
}

impl Stages {
    /// Before the stages, so that one without a token starts nothing.
    pub(super) async fn start_console(&mut self, settings: &Settings, stop: &CancellationToken) -> anyhow::Result<()> {
        let advice = "LATCHHOOK_API_TOKEN is not set, and the console needs one: make one and keep it \
                      (head -c 32 /dev/urandom | base64)";
        let ConsoleSettings { listen: address, token } = settings.console.clone().context(advice)?;
        let listener = listen(address, "LATCHHOOK_CONSOLE_LISTEN").await?;
        self.console = Some(listener.local_addr()?);
        let runtime = self.runtime(settings, Role::Console)?;
        let _entered = runtime.enter();
        let listener = TcpListener::from_std(listener.into_std()?)?;
        let database = Database::for_stages(&settings.database_url, CONNECTIONS)?;
        let master = Arc::new(master(settings)?);
        let console = Console::new(database, master, token, console::Settings::default(), stop.clone());
        let limits = ConnectionLimits { connections: CLIENTS, ..ConnectionLimits::default() };
        let (limits, stop) = (limits.within_open_files(), stop.clone());
        let pages = console::router(console).merge(self.metrics.router());
        let serving = async move {
            producer::serve(listener, pages, limits, stop).await;
        };
        self.tasks.spawn_on(serving, &runtime);
        Ok(())
    }
}
