//! Events sent, and waited for until nothing of them is on its way.

use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::time::sleep;

use super::{
    super::{children, clock, receive::Counts, send::Sent, subject::APP_SECRET},
    Sample, Scene,
};

/// How long nothing may come while something is owed. The longest wait in a healthy run is a deferred job's two seconds.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// To look is to disturb, so it is done the less often the longer it takes: the error is half a hundredth at most.
const LOOK_AFTER: u32 = 200;
const SOONEST: Duration = Duration::from_millis(5);

/// What was sent, and what came of it.
pub(super) struct Flood {
    pub(super) sent: Sent,
    pub(super) heard: Counts,
    /// When all of a backlog was queued, before anybody worked on it.
    pub(super) queued: Option<Sample>,
    /// From the first event, or from the release of a backlog, until the queues stood.
    pub(super) seconds: f64,
    /// Until the customer had all of it. What is left then are duplicates that wait for their twins, and records.
    pub(super) seconds_to_customer: f64,
}

impl Scene<'_> {
    /// Sends so many events, under ids that have this name in them, and waits until the queues stand.
    pub(super) async fn flood(&mut self, name: &str, events: u64, rate: Option<f64>) -> anyhow::Result<Flood> {
        self.customer.forget().await?;
        let sent: Sent = self.send(name, events, rate).await?;
        let queued = if self.case.backlog { Some(self.sample().await?) } else { None };
        let released_at = clock::now();
        self.subject.release().await?;
        self.expected.sent(&sent, self.case.endpoints);
        let heard = self.until_all_stands(sent.distinct * self.case.endpoints).await?;
        let began_at = if self.case.backlog { released_at } else { sent.first_at };
        let since = |at: u64| Duration::from_nanos(at.saturating_sub(began_at)).as_secs_f64();
        let (seconds, seconds_to_customer) = (since(clock::now()), since(heard.last_at));
        self.wrong.extend(what_is_wrong(name, &sent, &heard, self.case.endpoints));
        Ok(Flood { sent, heard, queued, seconds, seconds_to_customer })
    }

    async fn send(&self, name: &str, events: u64, rate: Option<f64>) -> anyhow::Result<Sent> {
        let (url, events) = (self.subject.url(), events.to_string());
        let (duplicates, items) = (self.case.duplicates.to_string(), self.case.items.to_string());
        let rate = rate.map(|rate| rate.to_string());
        let mut words = vec!["send", "--url", &url, "--app-secret", APP_SECRET, "--events", &events];
        words.extend(["--duplicates", &duplicates, "--items-per-request", &items, "--prefix", name]);
        if let Some(rate) = &rate {
            words.extend(["--rate", rate]);
        }
        children::told(&words).await
    }

    async fn until_all_stands(&mut self, owed: u64) -> anyhow::Result<Counts> {
        let (mut before, mut moved, began) = (0, Instant::now(), Instant::now());
        loop {
            let heard = self.customer.counts().await?;
            let has_all = heard.distinct >= owed;
            if has_all && self.subject.stands(&self.redis, self.expected.deliveries).await? {
                return Ok(heard);
            }
            if heard.received != before {
                (before, moved) = (heard.received, Instant::now());
            }
            if moved.elapsed() > STALLED_AFTER {
                bail!("{} of {owed} deliveries have come, and for a minute no more", heard.distinct);
            }
            sleep((began.elapsed() / LOOK_AFTER).max(SOONEST)).await;
        }
    }
}

/// What the sender and the customer have against it.
fn what_is_wrong(name: &str, sent: &Sent, heard: &Counts, endpoints: u64) -> Vec<String> {
    let must = [
        ("requests refused", sent.refused, 0),
        ("requests accepted", sent.accepted, sent.requests),
        ("different deliveries", heard.distinct, sent.distinct * endpoints),
        ("forged deliveries", heard.forged, 0),
        ("deliveries with a changed body", heard.changed, 0),
        ("deliveries without a stamp", heard.unstamped, 0),
        ("deliveries not remembered", heard.forgotten, 0),
    ];
    let broken = must.into_iter().filter(|(_, is, must)| is != must);
    broken.map(|(what, is, must)| format!("{name}: {is} {what}, not {must}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> (Sent, Counts) {
        let sent = Sent { requests: 10, accepted: 10, distinct: 8, ..Sent::default() };
        (sent, Counts { distinct: 24, received: 25, doubled: 1, ..Counts::default() })
    }

    #[test]
    fn a_delivery_that_comes_twice_is_within_the_promise() {
        let (sent, heard) = good();

        assert_eq!(what_is_wrong("flat", &sent, &heard, 3), Vec::<String>::new());
    }

    #[test]
    fn one_too_few_one_too_many_and_one_forged_are_each_said() {
        let (sent, heard) = good();

        let few = what_is_wrong("flat", &sent, &Counts { distinct: 23, ..heard.clone() }, 3);
        let many = what_is_wrong("flat", &sent, &Counts { distinct: 25, ..heard.clone() }, 3);
        let forged = what_is_wrong("flat", &sent, &Counts { forged: 1, ..heard }, 3);

        assert_eq!(few, ["flat: 23 different deliveries, not 24"]);
        assert_eq!(many, ["flat: 25 different deliveries, not 24"]);
        assert_eq!(forged, ["flat: 1 forged deliveries, not 0"]);
    }
}
