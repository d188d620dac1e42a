//! An endpoint alone, and beside neighbours that nobody would choose.

use std::time::Duration;

use super::{
    super::neighbours::{Fairness, Neighbours, RETRIES, Round, WANT_EACH},
    Scene,
    flood::Flood,
};

/// Where neighbours are moved in: with them each event is owed three times. Long enough for requests that hang to time out.
const PART: f64 = 0.1;
const HOLDS: u32 = 2;
const ROUNDS: u8 = 5;

impl Scene<'_> {
    /// Latency alone and beside neighbours, in turns, round by round.
    pub(super) async fn fairness(&mut self, most: f64, hold: Duration) -> anyhow::Result<Fairness> {
        let (rate, hold) = (most * PART, hold * HOLDS);
        let events = (rate * hold.as_secs_f64()).ceil() as u64;
        let (mut rounds, mut owed_to_neighbours) = (Vec::new(), 0);
        for round in 0..ROUNDS {
            let alone = self.flood(&format!("alone{round}"), events, Some(rate)).await?.heard.latency;
            let neighbours = Neighbours::move_in(&self.stores, &self.master, round).await?;
            let Flood { sent, heard, .. } = self.flood(&format!("beside{round}"), events, Some(rate)).await?;
            owed_to_neighbours += sent.distinct * WANT_EACH + RETRIES;
            let retried = neighbours.move_out(&self.stores).await?;
            if retried < RETRIES {
                self.wrong
                    .push(format!("only {retried} of {RETRIES} retries came in round {round}: they were no burden"));
            }
            rounds.push(Round { alone, beside: heard.latency, retried });
        }
        // Not before: what stands is told by what must have been delivered.
        self.expected.events += RETRIES * u64::from(ROUNDS);
        self.expected.raw_events += RETRIES * u64::from(ROUNDS);
        self.expected.deliveries += owed_to_neighbours;
        Ok(Fairness { rate, rounds })
    }
}
