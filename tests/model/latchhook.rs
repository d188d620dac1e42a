//! latchhook's own protocol holds its promises in every state that the checker can get it into, and each mistake that one
//! could make in it is found.
//!
//! In two halves, because the states of both together are the product of each: see `outbound` why that is sound.

use std::collections::BTreeSet;

use stateright::Model;

use crate::{
    checker::{Findings, explore},
    inbound::{self, Inbound, ONE_KEY, SHARED_KEY, promise as at_work},
    outbound::{self, Outbound, promise as on_the_way},
    why,
};

/// Every promise holds, every kind of trouble was met, and the page says how many states it took.
fn holds(what: &str, found: &Findings) {
    let row = format!("{what:<54} {:>7} states {:>8} steps", found.states, found.steps);
    println!("{row}   ({} deep, {:.1?})", found.depth, found.time);

    assert_eq!(found.broken, BTreeSet::new());
    assert_eq!(found.unreached, BTreeSet::new(), "a model that never gets there shows nothing");
    why::says(&row);
}

#[test]
fn two_deliveries_of_one_item_end_well_whatever_goes_wrong_and_however_often() {
    let model = Inbound { raw_events: ONE_KEY, mishaps: None, flaws: &[] };

    holds("inbound, one item twice, any number of mishaps", &explore(model));
}

#[test]
fn raw_events_that_share_an_item_end_well_whatever_two_things_go_wrong() {
    let model = Inbound { raw_events: SHARED_KEY, mishaps: Some(2), flaws: &[] };

    holds("inbound, two items, one of them twice, two mishaps", &explore(model));
}

#[test]
#[ignore = "takes half a minute"]
fn raw_events_that_share_an_item_end_well_whatever_three_things_go_wrong() {
    let model = Inbound { raw_events: SHARED_KEY, mishaps: Some(3), flaws: &[] };

    holds("inbound, two items, one of them twice, three mishaps", &explore(model));
}

#[test]
fn a_delivery_arrives_whatever_goes_wrong_and_however_often() {
    let model = Outbound { flaws: &[] };

    holds("outbound, one delivery, any number of mishaps", &explore(model));
}

/// What each mistake breaks, and nothing else.
type Breaks<F> = (&'static [F], &'static [&'static str]);

/// Each mistake breaks what it is said to break; and there is no promise in it that no mistake breaks, for that would be
/// one which the checker does not look at.
fn breaks<F: std::fmt::Debug + 'static, M: Model>(
    model: M,
    table: &[Breaks<F>],
    check: impl Fn(&'static [F]) -> Findings,
) {
    let mut ever = BTreeSet::new();
    for (flaws, promises) in table {
        let found = check(flaws);
        assert_eq!(found.broken, promises.iter().copied().collect(), "{flaws:?}");
        ever.extend(found.broken);
    }
    let promises = model.properties().into_iter().filter(|property| property.expectation.discovery_is_failure());
    assert_eq!(ever, promises.map(|property| property.name).collect());
}

#[test]
fn every_mistake_at_work_is_found() {
    use at_work::{
        DONE_IS_TRUE, ENDS_WELL, NO_DEAD_END, NOTHING_DROPPED, ONE_HOLDER, RECORDED_ONCE, TOLD_IF_TRUE, TRUE_IS_TOLD,
    };
    use inbound::Flaw::*;
    let inbound = |flaws| Inbound { raw_events: ONE_KEY, mishaps: Some(3), flaws };
    let table: [Breaks<inbound::Flaw>; 10] = [
        (&[AcknowledgesOnFetch], &[NOTHING_DROPPED, NO_DEAD_END, ENDS_WELL]),
        (&[DropsWhatIsHeld], &[NOTHING_DROPPED, NO_DEAD_END, ENDS_WELL]),
        (&[BelievesDone], &[NOTHING_DROPPED, NO_DEAD_END, ENDS_WELL]),
        (&[LedgerWithoutConstraint], &[RECORDED_ONCE, NO_DEAD_END, ENDS_WELL]),
        (&[EnqueuesBeforeCommit], &[TOLD_IF_TRUE]),
        (&[EnqueuesAfterCommit], &[TRUE_IS_TOLD, NO_DEAD_END, ENDS_WELL]),
        (&[ClaimsForEver], &[ENDS_WELL]),
        // These two cost work and no more: the ledger decides, whoever holds the claim and whatever Redis calls done …
        (&[ReleasesAnybodys], &[ONE_HOLDER]),
        (&[DoneBeforeCommit], &[DONE_IS_TRUE]),
        // … unless nobody asks it.
        (&[DoneBeforeCommit, BelievesDone], &[DONE_IS_TRUE, NOTHING_DROPPED, NO_DEAD_END, ENDS_WELL]),
    ];

    breaks(inbound(&[]), &table, |flaws| explore(inbound(flaws)));
}

/// It takes two items to have one that failed beside one that did not.
#[test]
fn that_a_run_is_called_done_with_what_it_could_not_let_go_is_found() {
    let flaws = &[inbound::Flaw::FinishesUnreleased];
    let model = Inbound { raw_events: SHARED_KEY, mishaps: Some(2), flaws };

    let found = explore(model);

    assert_eq!(found.broken, BTreeSet::from([at_work::DONE_IS_TRUE]));
}

#[test]
fn every_mistake_on_the_way_to_the_customer_is_found() {
    use on_the_way::{
        CAN_BE_DELIVERED, DELIVERED_IS_TRUE, ONE_BODY, ONE_ID, ONE_LEASE, OWED_IS_DUE, SENT_IF_COMMITTED, SUCCESS_STAYS,
    };
    use outbound::Flaw::*;
    let table: [Breaks<outbound::Flaw>; 8] = [
        (&[SendsUncommitted], &[SENT_IF_COMMITTED, ONE_LEASE]),
        (&[IdOfTheAttempt], &[ONE_ID]),
        (&[IdOfTheRow], &[ONE_ID]),
        (&[BodyMadeWhenSent], &[ONE_BODY]),
        (&[TakesInsteadOfLeasing], &[OWED_IS_DUE, CAN_BE_DELIVERED]),
        (&[RecordsBeforeSending], &[DELIVERED_IS_TRUE]),
        (&[LateSuccessIsLost], &[SUCCESS_STAYS]),
        // This one costs a request and no more: the customer hears of it twice, under one id.
        (&[LateFailureCounts], &[ONE_LEASE]),
    ];

    breaks(Outbound { flaws: &[] }, &table, |flaws| explore(Outbound { flaws }));
}
