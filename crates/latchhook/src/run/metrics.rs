//! `/metrics`: what the dispatcher of this process has done, how the fleet's endpoints stand and what they are owed, in the text
//! format that Prometheus reads ([version 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/)).
//!
//! It asks for no token. So it is where no provider comes: with the console, and beside `/healthz` of a process
//! that takes nothing in.

use std::{
    fmt::Display,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context;
use axum::{Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use database::{
    AsyncPgConnection, Database, QueryResult,
    deliveries::{self, Backlog},
    gates::{self, Census},
};
use dispatcher::Counters;
use tokio::time::{Instant, timeout};
use tracing::warn;

mod seldom;

use seldom::Seldom;

/// Half of the ten seconds that Prometheus waits, unless it is told otherwise.
const WITHIN: Duration = Duration::from_secs(5);

/// What the page tells of. Cheap to clone; clones tell of the same.
#[derive(Clone, Default)]
pub(super) struct Metrics(Arc<OnceLock<Dispatching>>);

struct Dispatching {
    counters: Arc<Counters>,
    /// Connections of its own: what it asks is not to wait behind deliveries, nor they behind it.
    database: Database,
    /// A million deliveries that are pending are not to be counted at each scrape.
    backlog: Seldom<Backlog>,
    /// Nor a hundred thousand endpoints to be looked at.
    oldest_due: Seldom<Duration>,
}

impl Metrics {
    /// There is a dispatcher in this process.
    pub(super) fn dispatching(&self, counters: Arc<Counters>, database: Database) {
        self.0.get_or_init(|| Dispatching {
            counters,
            database,
            backlog: Seldom::default(),
            oldest_due: Seldom::default(),
        });
    }

    /// The page. Empty where there is no dispatcher.
    pub(super) fn router(&self) -> Router {
        Router::new().route("/metrics", get(page)).with_state(self.clone())
    }
}

async fn page(State(metrics): State<Metrics>) -> impl IntoResponse {
    let mut page = Page::default();
    if let Some(dispatching) = metrics.0.get() {
        dispatching.tell(&mut page).await;
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.0)
}

impl Dispatching {
    /// What is unknown, because Postgres does not answer, is left out: zero would be a lie.
    async fn tell(&self, page: &mut Page) {
        let counters = self.counters.snapshot();
        for (name, help, count) in counters.all() {
            page.family(&format!("latchhook_dispatcher_{name}_total"), "counter", help, [("", count)]);
        }
        let attempts = "Attempts made, by what came of them.";
        page.counters_by("outcome", "attempts", attempts, &counters.outcomes);
        let abandoned = "Deliveries recorded as abandoned, by what the last attempt came to.";
        page.counters_by("cause", "abandoned", abandoned, &counters.abandoned);
        let backlog = self.backlog.told(Instant::now(), self.backlog());
        let oldest_due = self.oldest_due.told(Instant::now(), self.oldest_due());
        let (census, backlog, oldest_due) = tokio::join!(self.census(), backlog, oldest_due);
        census.inspect(|census| page.endpoints(census));
        backlog.inspect(|backlog| page.deliveries(backlog));
        oldest_due.inspect(|oldest_due| page.oldest_due(*oldest_due));
    }

    async fn census(&self) -> Option<Census> {
        self.ask(gates::census, "how many endpoints rest is not known just now").await
    }

    async fn backlog(&self) -> Option<Backlog> {
        self.ask(deliveries::backlog, "how much is owed is not known just now").await
    }

    async fn oldest_due(&self) -> Option<Duration> {
        self.ask(deliveries::oldest_due, "for how long the oldest delivery has been due is not known just now").await
    }

    /// What Postgres says, if it does in time.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&AsyncPgConnection) -> QueryResult<T>,
        otherwise: &str,
    ) -> Option<T> {
        let asking = async {
            let connection = self.database.connection().await?;
            anyhow::Ok(question(&connection).await?)
        };
        let asked = timeout(WITHIN, asking).await.context("Postgres does not answer in time").flatten();
        asked.inspect_err(|error| warn!(error = &**error as &dyn std::error::Error, "{otherwise}")).ok()
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    /// A metric with its samples: labels and values.
    fn family<L: Display, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            self.0 += &format!("{name}{labels} {value}\n");
        }
    }

    /// What a dispatcher has counted by one label.
    fn counters_by(&mut self, label: &str, name: &str, help: &str, counts: &[(&str, u64)]) {
        let samples = counts.iter().map(|(value, count)| (format!("{{{label}=\"{value}\"}}"), count));
        self.family(&format!("latchhook_dispatcher_{name}_total"), "counter", help, samples);
    }

    fn deliveries(&mut self, backlog: &Backlog) {
        let Backlog { pending, held, abandoned } = *backlog;
        let gauges = [
            ("pending", pending, "Deliveries of the fleet that are pending."),
            ("held", held, "Pending deliveries of the fleet whose endpoint is disabled."),
            ("abandoned", abandoned, "Deliveries of the fleet that stand abandoned."),
        ];
        for (name, count, help) in gauges {
            self.family(&format!("latchhook_deliveries_{name}"), "gauge", help, [("", count)]);
        }
    }

    fn oldest_due(&mut self, oldest_due: Duration) {
        let help = "For how long the oldest delivery of the fleet that may be sent has been due; 0 where none is.";
        let name = "latchhook_deliveries_oldest_due_seconds";
        self.family(name, "gauge", help, [("", oldest_due.as_secs_f64())]);
    }

    fn endpoints(&mut self, census: &Census) {
        let Census { resting, open, failing, disabled } = *census;
        let gauges = [
            (
                "resting",
                resting,
                "Endpoints of the fleet that nothing is sent to just now: asked to pause, or their circuit is open.",
            ),
            ("circuit_open", open, "Endpoints of the fleet whose circuit is open."),
            ("failing", failing, "Endpoints of the fleet that have failed since they last took something."),
            ("disabled", disabled, "Endpoints of the fleet that latchhook has disabled by itself."),
        ];
        for (name, count, help) in gauges {
            self.family(&format!("latchhook_endpoints_{name}"), "gauge", help, [("", count)]);
        }
    }
}
