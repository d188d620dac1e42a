//! The recorder: writes down what came of deliveries, whatever has gathered in one statement.

use std::rc::Rc;

use anyhow::Context;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::sleep,
};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;
use vocabulary::WebhookId;

use super::{
    Common,
    columns::{Id, Time},
    ledger,
};

/// The row of the attempt, and the delivery's new state; nothing is due any more: what latchhook writes of a success.
const RECORD: &str = "\
    WITH given AS MATERIALIZED ( \
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::timestamptz[], $6::int8[]) \
        AS g (event_id, endpoint_id, webhook_id, body_hash, started_at, duration_us)), \
    attempted AS ( \
        INSERT INTO attempts (event_id, endpoint_id, lease, webhook_id, body_hash, outcome, http_status, response_head, \
            started_at, duration_us) \
        SELECT event_id, endpoint_id, 1, webhook_id, body_hash, 'delivered', 200, ''::bytea, started_at, duration_us \
        FROM given), \
    gone AS ( \
        DELETE FROM due WHERE event_id = ANY(ARRAY(SELECT event_id FROM given)) \
        AND ((event_id, endpoint_id) IN (SELECT event_id, endpoint_id FROM given)) IS TRUE) \
    UPDATE deliveries d SET state = 'delivered', attempts = d.attempts + 1, finished_at = now() \
    FROM given g WHERE d.event_id = g.event_id AND d.endpoint_id = g.endpoint_id";

/// A plan that was made while the table was small must not read all of it for ever after.
const LOOK_UPS: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off";

/// A delivery that was answered with 200.
#[derive(Debug)]
pub(super) struct Ended {
    pub event_id: Uuid,
    pub customer: usize,
    pub webhook_id: WebhookId,
    pub body_hash: [u8; 32],
    /// Microseconds since 1970.
    pub started_at: i64,
    pub duration_us: i64,
}

/// What a recorder needs.
#[derive(Clone)]
pub(super) struct Recorder {
    pub common: Common,
}

type All = Rc<Mutex<mpsc::Receiver<Ended>>>;

impl Recorder {
    /// Records for ever.
    ///
    /// # Errors
    /// When Postgres is gone.
    pub(super) async fn run(self, ended: mpsc::Receiver<Ended>) -> anyhow::Result<()> {
        let all = Rc::new(Mutex::new(ended));
        let mut recorders = JoinSet::new();
        for _ in 0..self.common.shape.recorders {
            let client = ledger::connect(&self.common.database).await?;
            client.batch_execute(LOOK_UPS).await?;
            recorders.spawn_local(self.clone().record_all(client, all.clone()));
        }
        recorders.join_next().await.context("there is no recorder")??
    }

    async fn record_all(self, client: Client, all: All) -> anyhow::Result<()> {
        let record = client.prepare(RECORD).await?;
        let mut group = Vec::new();
        while all.lock().await.recv_many(&mut group, self.common.shape.record).await > 0 {
            self.record(&client, &record, &group).await?;
            self.common.tally.recorded.add(group.len());
            group.clear();
            sleep(self.common.shape.record_pause).await;
        }
        Ok(())
    }

    async fn record(&self, client: &Client, record: &Statement, group: &[Ended]) -> anyhow::Result<()> {
        fn column<'e, T>(group: &'e [Ended], of: impl Fn(&'e Ended) -> T) -> Vec<T> {
            group.iter().map(of).collect()
        }
        client
            .execute(
                record,
                &[
                    &column(group, |ended| Id(ended.event_id)),
                    &column(group, |ended| self.common.customers[ended.customer].endpoint_id.as_str()),
                    &column(group, |ended| ended.webhook_id.as_str()),
                    &column(group, |ended| ended.body_hash.as_slice()),
                    &column(group, |ended| Time(ended.started_at)),
                    &column(group, |ended| ended.duration_us),
                ],
            )
            .await?;
        Ok(())
    }
}
