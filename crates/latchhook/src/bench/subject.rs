//! What is measured: something that takes signed requests at an address and delivers to the customer.
//!
//! [`Latchhook`](latchhook::Latchhook) runs in this process, so that its counters are at hand. The *ceiling* is what a
//! person would write by hand who knew the hardware and made no promises: a process of its own.

mod ceiling;
mod latchhook;

use std::{collections::BTreeMap, time::Duration};

use queue::Redis;
use serde::{Deserialize, Serialize};

use super::{case::Case, customer::Customer, stores::Stores, usage};
use crate::run::Settings;
use ceiling::Ceiling;
use latchhook::Latchhook;

/// What signs the requests that are sent.
pub(super) const APP_SECRET: &str = "bench-app-secret";
/// The source that they are for.
pub(super) const SOURCE: &str = "bench";

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Subject {
    /// All stages of latchhook.
    Latchhook,
    /// The pipeline made by hand.
    Ceiling,
}

/// One that runs.
pub(super) enum Running {
    /// In this process.
    Latchhook(Box<Latchhook>),
    /// In a process of its own.
    Ceiling(Box<Ceiling>),
}

impl Subject {
    /// How it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Latchhook => "latchhook",
            Self::Ceiling => "ceiling",
        }
    }

    /// Whether it can do what the case asks.
    pub(super) fn can(self, case: &Case) -> bool {
        let is_plain = case.endpoints == 1 && case.group.is_none() && case.preload == 0 && case.tenants == 0;
        self == Self::Latchhook || (is_plain && !case.backlog && !case.neighbours)
    }

    /// Starts it; it is ready for requests, or for a backlog, when this returns.
    ///
    /// # Errors
    /// When it does not come up.
    pub(super) async fn start(
        self,
        settings: &Settings,
        case: &Case,
        stores: &Stores,
        customer: &Customer,
    ) -> anyhow::Result<Running> {
        Ok(match self {
            Self::Latchhook => Running::Latchhook(Box::new(Latchhook::start(settings, case, stores, customer).await?)),
            Self::Ceiling => Running::Ceiling(Box::new(Ceiling::start(stores, customer).await?)),
        })
    }
}

impl Running {
    /// Where requests are sent.
    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks/{SOURCE}", self.address())
    }

    /// Where it listens.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Latchhook(latchhook) => latchhook.address().to_string(),
            Self::Ceiling(ceiling) => ceiling.address().to_owned(),
        }
    }

    /// Whether nothing is on its way any more, given that the customer has had so many deliveries since the start.
    ///
    /// # Errors
    /// When a store does not answer.
    pub(super) async fn stands(&self, redis: &Redis, deliveries: u64) -> anyhow::Result<bool> {
        match self {
            Self::Latchhook(latchhook) => latchhook.stands(redis, deliveries).await,
            // It tells nobody; the customer has all there is.
            Self::Ceiling(_) => Ok(true),
        }
    }

    /// Starts what works off a backlog, if that was held back.
    ///
    /// # Errors
    /// When it does not come up.
    pub(super) async fn release(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Latchhook(latchhook) => latchhook.release().await,
            Self::Ceiling(_) => Ok(()),
        }
    }

    /// What its threads have used so far.
    pub(super) fn cpu(&self) -> BTreeMap<String, Duration> {
        usage::cpu_by_thread(&self.process())
    }

    /// Its process, as /proc calls it.
    pub(super) fn process(&self) -> String {
        match self {
            Self::Latchhook(_) => "self".to_owned(),
            Self::Ceiling(ceiling) => ceiling.pid().to_string(),
        }
    }

    /// What it counts itself. Each only grows.
    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        match self {
            Self::Latchhook(latchhook) => latchhook.counters(),
            Self::Ceiling(_) => BTreeMap::new(),
        }
    }

    /// Stops it, and waits until it has.
    ///
    /// # Errors
    /// When the ceiling has not done what it was to do. What latchhook did, the audit says.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Latchhook(latchhook) => latchhook.stop().await,
            Self::Ceiling(ceiling) => ceiling.stop().await?,
        }
        Ok(())
    }
}
