//! `/metrics`: what the dispatcher of this process has done, and how the fleet's endpoints stand, in the text format that
//! Prometheus reads ([version 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/)).
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
use database::{Database, gates::Census};
use dispatcher::Counters;
use tokio::time::timeout;
use tracing::warn;

/// Half of the ten seconds that Prometheus waits, unless it is told otherwise.
const CENSUS_WITHIN: Duration = Duration::from_secs(5);

/// What the page tells of. Cheap to clone; clones tell of the same.
#[derive(Clone, Default)]
pub(super) struct Metrics(Arc<OnceLock<Dispatching>>);

struct Dispatching {
    counters: Arc<Counters>,
    /// A connection of its own: what it asks is not to wait behind deliveries, nor they behind it.
    database: Database,
}

impl Metrics {
    /// There is a dispatcher in this process.
    pub(super) fn dispatching(&self, counters: Arc<Counters>, database: Database) {
        self.0.get_or_init(|| Dispatching { counters, database });
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
        let outcomes = counters.outcomes.map(|(outcome, count)| (format!("{{outcome=\"{outcome}\"}}"), count));
        let help = "Attempts made, by what came of them.";
        page.family("latchhook_dispatcher_attempts_total", "counter", help, outcomes);
        match self.census().await {
            Ok(census) => page.endpoints(&census),
            Err(error) => {
                warn!(error = &*error as &dyn std::error::Error, "how many endpoints rest is not known just now")
            }
        }
    }

    async fn census(&self) -> anyhow::Result<Census> {
        let asking = async {
            let connection = self.database.connection().await?;
            anyhow::Ok(database::gates::census(&connection).await?)
        };
        timeout(CENSUS_WITHIN, asking).await.context("Postgres does not answer in time")?
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
