//! Sends deliveries whose bodies their leases have left behind.
//!
//! One task of its own, which reads one body at a time: so no more than one is in memory twice, and what is small waits for
//! none of them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use database::Database;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};
use tracing::error;

use crate::{
    desk::Desk,
    dispatcher::Taken,
    large_bodies::{LargeBodies, PAUSE, Which},
    send::Sender,
    settings::Settings,
    unsent::put_off,
};

/// What a step has leased, by what is to be read for it. There are permits for all of it, so that is all that can wait.
pub(crate) type Wanted = HashMap<Which, Vec<Taken<()>>>;

pub(crate) struct Fetcher {
    bodies: LargeBodies,
    database: Database,
    sender: Arc<Sender>,
    desk: Desk,
    /// What must be left of a lease when its body is read.
    needed: Duration,
    wanted: UnboundedReceiver<Wanted>,
}

impl Fetcher {
    /// Starts it in this runtime. It ends once it can be asked for nothing more.
    pub(crate) fn start(
        settings: &Settings,
        database: Database,
        sender: Arc<Sender>,
        desk: Desk,
    ) -> UnboundedSender<Wanted> {
        let (asking, wanted) = unbounded_channel();
        let bodies = LargeBodies::new(database.clone(), settings.large_bytes);
        let needed = settings.lease() - settings.longest_wait();
        tokio::spawn(Self { bodies, database, sender, desk, needed, wanted }.run());
        asking
    }

    async fn run(mut self) {
        while let Some(wanted) = self.wanted.recv().await {
            let mut unsent = Vec::new();
            for (which, taken) in wanted {
                unsent.extend(self.fetch(&which, taken).await.into_iter().map(|taken| (taken.leased, taken.permit)));
            }
            if !unsent.is_empty() {
                put_off(&self.database, unsent, PAUSE).await;
                self.desk.send_what_may();
            }
        }
    }

    /// Sends deliveries of one body. Hands out those that cannot be sent now.
    async fn fetch(&self, which: &Which, taken: Vec<Taken<()>>) -> Vec<Taken<()>> {
        let (counters, needed) = (&self.sender.counters, Instant::now() + self.needed);
        if taken.iter().any(|taken| taken.ends < needed) {
            counters.late.add(taken.len());
            return taken;
        }
        match self.bodies.body(which).await {
            Ok(Some(body)) => {
                taken.into_iter().for_each(|taken| self.send(taken, &body));
                Vec::new()
            }
            Ok(None) => {
                counters.put_off_large.add(taken.len());
                self.bodies.say_full(which, taken.len(), Instant::now());
                taken
            }
            Err(unread) => {
                counters.released.add(taken.len());
                error!(event.id = %which.event_id, error = &unread as &dyn std::error::Error, "the deliveries of a large body are put off");
                taken
            }
        }
    }

    fn send(&self, Taken { leased, permit, ends }: Taken<()>, body: &Bytes) {
        tokio::spawn(self.sender.clone().send(leased.with(body.clone()), permit, ends, self.desk.clone()));
    }
}
