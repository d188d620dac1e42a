//! From a lease and a permit to a result on its way to the recorder.

use std::sync::Arc;

use chrono::Utc;
use database::due::Leased;
use fail::fail_point;
use tokio::{sync::mpsc::UnboundedSender, time::Instant};
use tracing::{error, warn};

use crate::{
    attempt::Attempter,
    counters::Counters,
    desk::Desk,
    foreign::Foreign,
    in_flight::Permit,
    left_alone::LeftAlone,
    outcome::{Cause, Outcome},
    put_off::PutOff,
    recorder::Ended,
    resolver::NoPlace,
};

/// Sends deliveries.
pub(crate) struct Sender {
    pub(crate) attempter: Attempter,
    pub(crate) ended: UnboundedSender<Ended>,
    /// What has a lane has a recorder of its own: it waits for whoever else holds the lane.
    pub(crate) ended_in_lane: UnboundedSender<Ended>,
    pub(crate) counters: Arc<Counters>,
    /// What must not come here: whoever leases, or takes what was leased, looks there first.
    pub(crate) foreign: Arc<Foreign>,
    pub(crate) left_alone: Arc<LeftAlone>,
    pub(crate) put_off: Arc<PutOff>,
}

impl Sender {
    /// Sends one delivery, unless its lease may end before the answer: this process was stopped for a while, or it waited
    /// for long, and somebody else may be sending it already.
    pub(crate) async fn send(self: Arc<Self>, leased: Leased, mut permit: Permit, ends: Instant, desk: Desk) {
        if ends.saturating_duration_since(Instant::now()) < self.attempter.deadline {
            self.counters.late.add(1);
            warn!(webhook.id = leased.webhook_id, "the lease of {} is nearly over; not sent", leased.webhook_id);
            drop(permit);
            return desk.send_what_may();
        }
        let (gate, failed_before, now, began) = (leased.gate, leased.attempts > 0, Utc::now(), Instant::now());
        let answer = match self.attempter.send(&leased, now).await {
            Ok(answer) => answer,
            Err(no_place) => return self.put_off(leased, no_place, permit, &desk),
        };
        let target = leased.target.clone();
        let (recorded, outcome) = self.attempter.judge(leased, answer, now, began.elapsed());
        fail_point!("dispatcher-after-answer");
        if let (Outcome::Failed(cause @ (Cause::Secret | Cause::Access)), Some(detail)) = (&outcome, &recorded.detail) {
            let id = &recorded.endpoint_id;
            error!(endpoint.id = %id, "nothing can be sent to {id} ({cause}): {detail}; see latchhook endpoint show {id}, then endpoint rotate or endpoint add");
        }
        if matches!(outcome, Outcome::Delivered) {
            desk.answered(&recorded.endpoint_id);
        }
        permit.answered();
        desk.send_what_may();
        self.counters.count(&outcome, recorded.next);
        let ended = Ended { recorded, outcome, target, gate, failed_before, _permit: permit };
        let recorder = if ended.recorded.lane.is_some() { &self.ended_in_lane } else { &self.ended };
        if recorder.send(ended).is_err() {
            error!("the recorder is gone; a delivery will be sent again");
        }
    }

    /// What waits on the desk for the same endpoint would find no place either.
    fn put_off(&self, leased: Leased, no_place: NoPlace, permit: Permit, desk: &Desk) {
        self.counters.put_off.add(1);
        let id = leased.endpoint_id.clone();
        if self.put_off.put_off(leased, no_place, permit, Instant::now()) {
            desk.leave(&[id]);
        }
        desk.send_what_may();
    }
}
