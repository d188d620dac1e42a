//! One attempt: sign, send, judge.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use database::{attempts::Recorded, due::Leased, endpoints::Target};
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;
use ring::digest::{SHA256, digest};
use tokio::time::Instant;

use crate::{
    asker::Asker,
    client::{Answer, Client},
    failure::detail,
    outcome::{Cause, Outcome, judge},
    resolver::NoPlace,
    schedule::Schedule,
    signing::signature,
    targets::{Opened, Targets, Unsent},
};

/// Who asks, as servers are told.
pub(crate) const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("latchhook/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What every attempt needs.
pub(crate) struct Attempter {
    pub(crate) targets: Targets,
    pub(crate) client: Client,
    pub(crate) deadline: Duration,
    /// Of endpoints without one of their own.
    pub(crate) schedule: Schedule,
}

impl Attempter {
    /// Sends a delivery once. `now` is what the customer reads as the time of the attempt.
    ///
    /// # Errors
    /// When there was no place for the look-up of the endpoint's host: that is no attempt.
    pub(crate) async fn send(&self, leased: &Leased, now: DateTime<Utc>) -> Result<Answer, NoPlace> {
        let deadline = Instant::now() + self.deadline;
        match self.request(leased, now) {
            Ok((opened, request)) => {
                let asker = Asker { account: leased.target.account_id.clone(), patience: self.deadline };
                asker.asks(opened.client(&self.client).send(request, deadline, now)).await
            }
            Err((cause, detail)) => Ok(Answer::without_request(cause, detail)),
        }
    }

    /// What is to be recorded of an attempt that began at `now` and took so long, and what it came to.
    pub(crate) fn judge(
        &self,
        leased: Leased,
        answer: Answer,
        now: DateTime<Utc>,
        duration: Duration,
    ) -> (Recorded, Outcome) {
        let (schedule, give_up_on) = (self.schedule_of(&leased.target), leased.target.give_up_on.as_deref());
        let next = judge(&answer.outcome, leased.attempts, &schedule, give_up_on.unwrap_or_default(), rand::random());
        let recorded = Recorded {
            event_id: leased.event_id,
            endpoint_id: leased.endpoint_id,
            lease: leased.lease,
            webhook_id: leased.webhook_id,
            body_hash: sha256(&leased.body),
            outcome: answer.outcome.label(),
            http_status: answer.status.map(|status| status.as_u16()),
            detail: answer.detail,
            response_head: answer.status.map(|_| answer.head),
            started_at: now,
            duration,
            split: answer.split,
            next,
            lane: leased.lane,
        };
        (recorded, answer.outcome)
    }

    /// As it stood when the delivery was leased: a changed one counts from the next attempt on.
    fn schedule_of(&self, target: &Target) -> Cow<'_, Schedule> {
        match &target.schedule_s {
            Some(pauses) => Cow::Owned(Schedule::of_seconds(pauses)),
            None => Cow::Borrowed(&self.schedule),
        }
    }

    fn request(&self, leased: &Leased, now: DateTime<Utc>) -> Result<(Arc<Opened>, Request<Full<Bytes>>), Unsent> {
        let opened = self.targets.open(&leased.endpoint_id, &leased.target, now)?;
        let (secrets, timestamp) = (opened.secrets(now)?, now.timestamp());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(opened.uri.clone())
            .header(header::CONTENT_TYPE, JSON)
            .header(header::USER_AGENT, USER_AGENT)
            .header(WEBHOOK_ID, &leased.webhook_id)
            .header(WEBHOOK_TIMESTAMP, timestamp)
            .header(WEBHOOK_SIGNATURE, signature(secrets, &leased.webhook_id, timestamp, &leased.body))
            .body(Full::new(leased.body.clone()))
            .map_err(|error| (Cause::Guard, detail(&error)))?;
        if !opened.headers.is_empty() {
            request.headers_mut().extend(opened.headers.clone());
        }
        Ok((opened, request))
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
