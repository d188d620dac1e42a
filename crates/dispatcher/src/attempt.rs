//! One attempt: sign, send, judge.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use database::{attempts::Recorded, due::Leased, endpoints::Target};
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;
use ring::digest::{SHA256, digest};

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
        let opened = match self.targets.open(&leased.endpoint_id, &leased.target, now) {
            Ok(opened) => opened,
            Err((cause, detail)) => return Ok(Answer::without_request(cause, detail)),
        };
        let asker = Asker { account: &leased.target.account_id, patience: self.deadline };
        opened.client(&self.client).send(&opened.place, asker, || request(&opened, leased, now), now).await
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
}

/// The same, however often it is made: time and signature are the attempt's.
fn request(opened: &Opened, leased: &Leased, now: DateTime<Utc>) -> Result<Request<Full<Bytes>>, Unsent> {
    let (secrets, timestamp) = (opened.secrets(now)?, now.timestamp());
    let signature = signature(secrets, &leased.webhook_id, timestamp, &leased.body);
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| (Cause::Guard, detail(&error)));
    let mut request = Request::new(Full::new(leased.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = opened.place.path.clone();
    let headers = request.headers_mut();
    // Room for its length too, which hyper adds.
    headers.reserve(7 + opened.headers.len());
    headers.insert(header::HOST, opened.place.host.clone());
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(WEBHOOK_ID, value(&leased.webhook_id)?);
    headers.insert(WEBHOOK_TIMESTAMP, timestamp.into());
    headers.insert(WEBHOOK_SIGNATURE, value(&signature)?);
    headers.extend(opened.headers.clone());
    Ok(request)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
