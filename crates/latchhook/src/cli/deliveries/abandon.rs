//! Giving deliveries up on a person's word: those that are pending, a page of them in a transaction.
//!
//! There is no row of how far it got: what is abandoned is pending no more, so who repeats the command goes on with the rest.

use anyhow::{Context as _, ensure};
use clap::Args;
use database::{
    AsyncPgConnection, QueryResult,
    deliveries::{self, Abandoned, DeliveryRow, Wanted},
    facts,
};
use diesel_async::AsyncConnection;
use serde::Serialize;

use super::{
    super::{
        context::{Context, actor},
        sentence,
    },
    TOGETHER, Word,
    filter::State,
    job::patiently,
    look::{self, CAUSE},
    progress::Progress,
    selection::{COLUMNS, Selection, named},
};

/// Which deliveries to give up, and why.
#[derive(Debug, Args)]
pub(in crate::cli) struct Abandon {
    #[command(flatten)]
    selection: Selection,
    /// Why they are given up: kept with them and in the audit log
    #[arg(long, value_name = "WHY", value_parser = sentence::reason)]
    reason: String,
}

/// What it came to.
#[derive(Debug, Default, Serialize)]
struct Done {
    wanted: usize,
    abandoned: usize,
    /// As they were before they were sent again.
    delivered: usize,
    /// Of the abandoned: with nothing recorded of their last lease.
    unrecorded: usize,
    /// Being sent at that moment, or ended before it.
    left_alone: usize,
}

impl Done {
    fn add(&mut self, wanted: usize, abandoned: &[Abandoned]) {
        self.wanted += wanted;
        let delivered = abandoned.iter().filter(|abandoned| abandoned.is_delivered).count();
        self.delivered += delivered;
        self.abandoned += abandoned.len() - delivered;
        self.unrecorded += abandoned.iter().filter(|abandoned| abandoned.is_unrecorded).count();
        self.left_alone += wanted.saturating_sub(abandoned.len());
    }
}

impl Abandon {
    pub(super) async fn run(self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let Selection { webhook_ids, filter, dry_run } = self.selection;
        ensure!(
            filter.state.is_none_or(|state| state == State::Pending),
            "only what is pending can be given up: leave --state out"
        );
        ensure!(
            !webhook_ids.is_empty() || filter.names_endpoint_or_event(),
            "say whose deliveries are given up: --endpoint, --event, or webhook ids; nobody means everything that everybody is owed"
        );
        let states = vec![State::Pending.as_str().to_owned()];
        let mut conn = context.postgres().await?;
        filter.must_name_what_is_there(&conn).await?;
        // What is committed while it works was not thought of.
        let as_of = Some(facts::now(&conn).await?);
        let wanted = Wanted { states, webhook_ids, as_of, ..filter.wanted(context)? };
        if dry_run {
            return show(context, &conn, &wanted).await;
        }
        let done = if wanted.webhook_ids.is_empty() {
            abandon_all(context, &mut conn, &wanted, &self.reason).await?
        } else {
            let rows = named(&conn, &wanted).await?;
            abandon_named(&mut conn, &rows, &self.reason).await?
        };
        say_what_is_left(context, &done);
        context.out.object(&done)
    }
}

async fn show(context: &mut Context<'_>, conn: &AsyncPgConnection, wanted: &Wanted) -> anyhow::Result<()> {
    if !wanted.webhook_ids.is_empty() {
        let rows = named(conn, wanted).await?;
        let sent_again = rows.iter().filter(|row| row.was_delivered_at.is_some()).count();
        say_what_would_be(context, rows.len(), sent_again);
        return context.out.list(&COLUMNS, &rows);
    }
    let causes = look::count(context, conn, wanted).await?;
    let sent_again: u64 = causes.iter().map(|cause| cause.sent_again).sum();
    say_what_would_be(context, usize::try_from(look::sum(&causes))?, usize::try_from(sent_again)?);
    context.out.list(&CAUSE, &causes)
}

fn say_what_would_be(context: &Context<'_>, wanted: usize, sent_again: usize) {
    context.note(&format!("would abandon {} deliveries", wanted - sent_again));
    if sent_again > 0 {
        context.note(&format!(
            "would leave {sent_again} more delivered, as before: their customer has them, and they are only being sent again"
        ));
    }
}

async fn abandon_all(
    context: &Context<'_>,
    conn: &mut AsyncPgConnection,
    wanted: &Wanted,
    reason: &str,
) -> anyhow::Result<Done> {
    let (mut done, mut after, mut progress) = (Done::default(), None, Progress::default());
    loop {
        let page = deliveries::page(conn, wanted, after.as_ref(), TOGETHER.into()).await;
        let page = page.with_context(|| repeat(&done))?;
        abandon_page(conn, &page.rows, reason, &mut done).await?;
        progress.note(context, page.looked_at);
        after = page.next;
        if after.is_none() {
            return Ok(done);
        }
    }
}

async fn abandon_named(conn: &mut AsyncPgConnection, rows: &[DeliveryRow], reason: &str) -> anyhow::Result<Done> {
    let mut done = Done::default();
    for rows in rows.chunks(TOGETHER.into()) {
        abandon_page(conn, rows, reason, &mut done).await?;
    }
    Ok(done)
}

/// Waits for as long as dispatchers, or whoever retries, hold what it needs.
async fn abandon_page(
    conn: &mut AsyncPgConnection,
    rows: &[DeliveryRow],
    reason: &str,
    done: &mut Done,
) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let abandoned = patiently(conn, async |conn| abandon_together(conn, rows, reason).await).await;
    done.add(rows.len(), &abandoned.with_context(|| repeat(done))?);
    Ok(())
}

fn repeat(done: &Done) -> String {
    let Done { abandoned, delivered, .. } = done;
    format!("{abandoned} were abandoned, {delivered} are delivered as before; the rest stay as they were, repeat this")
}

/// The one transaction: whoever is killed in it has given nothing up.
async fn abandon_together(
    conn: &mut AsyncPgConnection,
    rows: &[DeliveryRow],
    reason: &str,
) -> QueryResult<Vec<Abandoned>> {
    let actor = actor();
    let word = Word { actor: &actor, action: "deliveries abandon", detail: reason };
    let abandoned = conn.transaction(async |conn| {
        let abandoned = deliveries::abandon(conn, rows, reason).await?;
        if !abandoned.is_empty() {
            word.write_down(conn, abandoned.iter().map(|abandoned| abandoned.webhook_id.as_str())).await?;
        }
        Ok(abandoned)
    });
    abandoned.await
}

fn say_what_is_left(context: &Context<'_>, done: &Done) {
    if done.delivered > 0 {
        context.note(&format!(
            "{} of {} are delivered, as before: their customer has them, and they were only being sent again",
            done.delivered, done.wanted
        ));
    }
    if done.left_alone > 0 {
        context.note(&format!(
            "{} of {} were left alone: they are being sent at this moment, or have just ended; repeat this to give up what \
             fails of them",
            done.left_alone, done.wanted
        ));
    }
    if done.unrecorded > 0 {
        context.note(&format!(
            "{} of {} had been leased, and nothing was recorded: their customer may have them, and their reason says so",
            done.unrecorded, done.abandoned
        ));
    }
}
