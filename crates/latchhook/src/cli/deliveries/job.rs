//! Working a retry of many: chunk after chunk, each in a transaction of its own, at the rate that was asked for.

use std::time::Duration;

use anyhow::Context as _;
use database::{
    AsyncPgConnection, QueryResult, Trouble,
    deliveries::{self, Wanted},
    retries::{self, RetryRow},
    trouble,
};
use diesel_async::AsyncConnection;
use serde_json::json;
use tokio::time::sleep;

use super::{
    super::context::{Context, actor},
    TOGETHER, Word, make_due_together,
    progress::Progress,
    waiting,
};

/// How often somebody who waits for the next chunk looks whether the retry was cancelled.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A chunk takes about as long.
const HELD_FOR: Duration = Duration::from_millis(100);

/// Why what stands in the row of a retry cannot be read.
pub(super) const LATER: &str = "a later latchhook wrote this retry: use that one for it";

/// What became of one step.
enum Step {
    /// A chunk was taken, of so many deliveries that were looked at.
    Took(RetryRow, usize),
    /// It is too early for the next one, by so much.
    Early(Duration),
    /// There is none: it is done or cancelled.
    Ended(RetryRow),
}

/// Works a retry until it has ended. Whoever works it beside us takes other chunks, at one rate for all.
pub(super) async fn work(
    context: &mut Context<'_>,
    conn: &mut AsyncPgConnection,
    retry: RetryRow,
) -> anyhow::Result<()> {
    let id = retry.id;
    let wanted = retry.wanted_deliveries().context(LATER)?;
    context.note(&format!(
        "retry {id} of {} deliveries; if it is interrupted: latchhook deliveries retries resume {id}, or cancel {id}",
        retry.wanted
    ));
    let (actor, mut percent, mut progress) = (actor(), percent_of(&retry), Progress::default());
    let ended = loop {
        let stays = || format!("retry {id} stays as it is; to go on: latchhook deliveries retries resume {id}");
        match patiently(conn, async |conn| step(conn, id, &wanted, &actor).await).await.with_context(stays)? {
            Step::Took(retry, looked_at) => report(context, &retry, &mut percent, progress.looked(looked_at)),
            Step::Early(left) => sleep(left.min(LOOK_EVERY)).await,
            Step::Ended(retry) => break retry,
        }
    };
    let made_due = ended.made_due().context(LATER)?;
    waiting::say_what_waits(context, usize::try_from(ended.taken)?, &made_due);
    print(context, &ended)
}

/// What it came to.
pub(super) fn print(context: &mut Context<'_>, retry: &RetryRow) -> anyhow::Result<()> {
    let mut said = json!({"retry": retry.id, "state": retry.state, "wanted": retry.wanted});
    waiting::show(&mut said, context, &retry.made_due().context(LATER)?);
    context.out.object(&said)
}

/// Again, for as long as others hold what it needs: somebody who takes a chunk, or dispatchers.
pub(super) async fn patiently<T>(
    conn: &mut AsyncPgConnection,
    mut transaction: impl AsyncFnMut(&mut AsyncPgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    loop {
        match transaction(conn).await {
            Err(held) if trouble(&held) == Trouble::Contention => sleep(HELD_FOR).await,
            done => return done,
        }
    }
}

/// The one transaction: whoever is killed in it has made nothing due.
async fn step(conn: &mut AsyncPgConnection, id: i64, wanted: &Wanted, actor: &str) -> QueryResult<Step> {
    let step = conn.transaction(async |conn| {
        let (retry, early) = retries::hold(conn, id).await?;
        if retry.has_ended() {
            return Ok(Step::Ended(retry));
        }
        if !early.is_zero() {
            return Ok(Step::Early(early));
        }
        take_chunk(conn, &retry, wanted, actor).await
    });
    step.await
}

/// Takes what is wanted of the next page. Where that is nothing, the next page may be looked at at once.
async fn take_chunk(conn: &AsyncPgConnection, retry: &RetryRow, wanted: &Wanted, actor: &str) -> QueryResult<Step> {
    let page = deliveries::page(conn, wanted, retry.last().as_ref(), chunk(retry.per_second).into()).await?;
    let states: Vec<_> = wanted.states.iter().map(String::as_str).collect();
    let word = Word { actor, action: "deliveries retry", detail: &format!("retry {}", retry.id) };
    let made_due = make_due_together(conn, &word, &page.rows, &states).await?;
    let (taken, is_last) = (page.rows.len(), page.next.is_none());
    let pause = retry.per_second.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(taken as f64 / rate));
    let retry = retries::advance(conn, retry, retries::Chunk { taken, made_due, last: page.next, pause }).await?;
    Ok(match is_last {
        true => Step::Ended(retries::end(conn, retry.id, "done").await?.unwrap_or(retry)),
        false => Step::Took(retry, page.looked_at),
    })
}

/// What a second is good for, so that a slow retry is a steady one.
fn chunk(per_second: Option<f64>) -> u16 {
    per_second.map_or(TOGETHER, |rate| rate.clamp(1.0, TOGETHER.into()) as u16)
}

/// A line for each part in a hundred, at most; and where hardly any are wanted, for each of many that were looked at.
fn report(context: &Context<'_>, retry: &RetryRow, percent: &mut i64, looked_at: Option<usize>) {
    let before = std::mem::replace(percent, percent_of(retry));
    if before != *percent || looked_at.is_some() {
        let looked_at = looked_at.map(|deliveries| format!(", {deliveries} looked at")).unwrap_or_default();
        let RetryRow { taken, wanted, due, waiting_in_lane, held, resting, .. } = retry;
        let all = all_of(*taken, *wanted);
        let waiting = [(waiting_in_lane, "waiting in their lanes"), (held, "held"), (resting, "resting at a gate")];
        let waiting = waiting.into_iter().filter(|(count, _)| **count > 0);
        let waiting: String = waiting.map(|(count, what)| format!(", {count} {what}")).collect();
        context.note(&format!("{percent} %: {taken} of {all} taken, {due} made due{waiting}{looked_at}"));
    }
}

fn percent_of(retry: &RetryRow) -> i64 {
    percent(retry.taken, retry.wanted)
}

fn percent(taken: i64, wanted: i64) -> i64 {
    taken.saturating_mul(100) / all_of(taken, wanted).max(1)
}

/// What failed after they were counted is taken too.
fn all_of(taken: i64, wanted: i64) -> i64 {
    wanted.max(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_a_second_of_its_rate_but_never_none_and_never_more_than_a_thousand() {
        assert_eq!([None, Some(50.0), Some(0.01), Some(1e5)].map(chunk), [1_000, 50, 1, 1_000]);
    }

    #[test]
    fn what_comes_on_top_of_what_was_counted_makes_no_more_than_all_of_it() {
        let progress = |taken, wanted| (percent(taken, wanted), all_of(taken, wanted));

        assert_eq!(
            [(0, 0), (23, 46), (46, 46), (47, 46)].map(|(taken, wanted)| progress(taken, wanted)),
            [(0, 0), (50, 46), (100, 46), (100, 47),]
        );
    }
}
