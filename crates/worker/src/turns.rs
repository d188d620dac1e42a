//! Who is worked beside whom. A process that is killed tells nobody by which job, and takes innocent ones with it; so a job
//! whose workers died is taken apart into its raw events, and each of these is opened and worked while nothing else is.
//! Only then is an unclean start its own.

use std::{sync::Arc, time::Duration};

use queue::{Held, Inbound, RedisError};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// A worker may be killed once by bad luck, and take what it held with it.
const UNCLEAN_STARTS: u32 = 2;

/// Puts off a job of which Redis cannot be told that it starts.
const AGAIN: Duration = Duration::from_secs(1);

/// Gives the jobs of one worker their turns, in the order in which they ask: neither kind waits for ever.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    quiet: Arc<RwLock<()>>,
}

/// Held from before a job is opened until it is settled or deferred.
#[derive(Debug)]
#[expect(dead_code, reason = "held, not read")]
pub(crate) enum Turn {
    /// Beside others.
    Shared(OwnedRwLockReadGuard<()>),
    /// While nothing else runs in this worker.
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Turns {
    /// Waits for the turn of a job. None when it is not to be opened here and now: it is not in our hands any more.
    pub(crate) async fn wait(&self, inbound: &Inbound, held: &Held) -> Option<Turn> {
        if held.unclean_starts < UNCLEAN_STARTS {
            return Some(Turn::Shared(self.quiet.clone().read_owned().await));
        }
        match self.wait_alone(inbound, held).await {
            Ok(turn) => turn,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    job.id = %held.id,
                    "a job that may kill its process cannot be counted, and is put off"
                );
                // Where that fails too, the queue finds it stranded.
                let _stranded = inbound.defer(&[(held.id.clone(), AGAIN)]).await;
                None
            }
        }
    }

    async fn wait_alone(&self, inbound: &Inbound, held: &Held) -> Result<Option<Turn>, RedisError> {
        let turn = Turn::Alone(self.quiet.clone().write_owned().await);
        let is_ours = inbound.start_alone(&held.id).await?;
        // To take it apart is to read it, which may be what kills.
        Ok((is_ours && !inbound.take_apart(held).await?).then_some(turn))
    }
}
