//! Who asks for the addresses of a name: on whose behalf, and how patiently.
//!
//! A connection is made by the task of the request that asked for it, and the client hands its connector nothing but a URL.
//! So an attempt says it in a place of its task, as it has its time measured (see `split.rs`), and whoever looks the name up
//! finds it there.

use std::{future::Future, time::Duration};

use crate::settings::Settings;

tokio::task_local! {
    static ASKER: Asker;
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    /// Whose endpoint it is.
    pub(crate) account: String,
    /// The deadline of the attempt.
    pub(crate) patience: Duration,
}

impl Default for Asker {
    /// Outside of an attempt: an operator at the door, who is of no account.
    fn default() -> Self {
        Self { account: String::new(), patience: Settings::default().deadline }
    }
}

impl Asker {
    /// Does the work of an attempt on its behalf.
    pub(crate) async fn asks<T>(self, work: impl Future<Output = T>) -> T {
        ASKER.scope(self, work).await
    }

    /// Who asks in this task.
    pub(crate) fn of_this_task() -> Self {
        ASKER.try_with(Clone::clone).unwrap_or_default()
    }
}
