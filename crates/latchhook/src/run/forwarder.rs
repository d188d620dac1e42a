//! The forwarder among the stages: it needs Redis, and an app's Postgres.

use anyhow::Context as _;
use database::Database;
use forwarder::Forwarder;
use tokio_util::sync::CancellationToken;

use super::{Role, Settings, Stages, redis};

impl Stages {
    pub(super) fn start_forwarder(&mut self, settings: &Settings, stop: &CancellationToken) -> anyhow::Result<()> {
        let runtime = self.runtime(settings, Role::Forwarder)?;
        let _entered = runtime.enter();
        let outbox = Database::for_outbox(&settings.outbox_url, 1).context("the outbox cannot be forwarded")?;
        let forwarder = Forwarder::new(outbox, &redis(settings)?);
        self.tasks.spawn_on(forwarder.run(stop.clone()), &runtime);
        Ok(())
    }
}
