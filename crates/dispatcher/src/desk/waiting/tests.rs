use std::{sync::Arc, time::Duration};

use database::endpoints::Target;
use uuid::Uuid;

use super::*;
use crate::desk::{awaited::MOVES_WITHIN, places::LARGEST};

const PLACES: usize = 2048;

fn endpoint(id: &str) -> EndpointId {
    id.parse().unwrap()
}

fn desk() -> Waiting {
    Waiting::with_places(PLACES)
}

/// Sets one place aside, for an endpoint of `acme`.
fn set_aside(waiting: &mut Waiting, id: &str) -> bool {
    waiting.set_aside("acme", &endpoint(id), 1, Instant::now())
}

fn leased(endpoint_id: &str, body: &'static str) -> Leased {
    Leased {
        event_id: Uuid::nil(),
        endpoint_id: endpoint(endpoint_id),
        lease: 1,
        attempts: 0,
        again: false,
        webhook_id: "msg_1".to_owned(),
        body: body.into(),
        target: Arc::new(Target { account_id: "acme".to_owned(), ..Target::default() }),
        gate: None,
        lane: None,
        part: 64,
    }
}

fn take_all(waiting: &mut Waiting, id: &str) -> usize {
    std::iter::repeat_with(|| set_aside(waiting, id)).take_while(|has_place| *has_place).count()
}

/// What a lease brings of these endpoints.
fn leases(ids: &[&str]) -> HashMap<EndpointId, String> {
    ids.iter().map(|id| (endpoint(id), "acme".to_owned())).collect()
}

#[test]
fn nothing_passes_a_delivery_that_is_too_large_for_a_place() {
    let (mut waiting, now) = (desk(), Instant::now());

    assert!(!waiting.set_aside("acme", &endpoint("large"), LARGEST + 1, now));

    assert!(!set_aside(&mut waiting, "large"));
    assert!(set_aside(&mut waiting, "another"));
}

#[test]
fn who_has_deliveries_due_gets_no_place_until_a_lease_that_had_room_for_more_has_left_none() {
    let (mut waiting, now) = (desk(), Instant::now());
    take_all(&mut waiting, "late");
    let mut after_lease = |fills_room, leased: &[&str], had_room| {
        waiting.hear(fills_room, &leases(leased), |_, _| had_room, now);
        waiting.give_back("acme", &endpoint("late"), 1);
        ["late", "prompt"].map(|id| set_aside(&mut waiting, id))
    };

    let without_room = after_lease(false, &["late"], false);
    let in_a_full_lease = after_lease(true, &["late"], true);
    let with_room_for_more = after_lease(false, &["late"], true);

    assert_eq!((without_room, in_a_full_lease, with_room_for_more), ([false, true], [false, true], [true, true]));
}

#[test]
fn whom_a_lease_had_no_room_for_gets_no_place_though_nothing_was_refused_to_him_here() {
    let (mut waiting, now) = (desk(), Instant::now());

    waiting.hear(false, &leases(&["full", "has-room"]), |id, _| id.as_str() == "has-room", now);

    assert_eq!(["full", "has-room"].map(|id| set_aside(&mut waiting, id)), [false, true]);
}

fn waiting_with(deliveries: &[(&str, &'static str)]) -> Waiting {
    let (mut waiting, now) = (desk(), Instant::now());
    for (id, body) in deliveries {
        assert!(waiting.set_aside("acme", &endpoint(id), body.len(), now));
        waiting.queue(leased(id, body), now);
    }
    waiting
}

fn sent(next: Vec<(Leased, Instant, ())>) -> Vec<bytes::Bytes> {
    next.into_iter().map(|(leased, ..)| leased.body).collect()
}

#[test]
fn endpoints_take_turns_and_a_place_is_free_once_its_delivery_is_sent() {
    let mut waiting = waiting_with(&[("a", "a1"), ("a", "a2"), ("b", "b1")]);

    assert_eq!(sent(waiting.next(|_| Ok(()))), ["a1", "b1", "a2"]);
    assert!(waiting.places.are_all_free());
    assert_eq!((waiting.lines.len(), waiting.turns.len()), (0, 0));
}

#[test]
fn who_has_no_permit_of_his_own_holds_up_nobody_else() {
    let mut waiting = waiting_with(&[("hangs", "h1"), ("b", "b1"), ("b", "b2"), ("b", "b3")]);
    let permit = |leased: &Leased| if leased.endpoint_id.as_str() == "hangs" { Err(Full::ForEndpoint) } else { Ok(()) };

    assert_eq!(sent(waiting.next(permit)), ["b1", "b2", "b3"]);
    assert_eq!(sent(waiting.next(|_| Ok(()))), ["h1"]);
}

#[test]
fn who_found_no_permit_left_has_the_next_turn() {
    let mut waiting = waiting_with(&[("a", "a1"), ("b", "b1"), ("c", "c1"), ("a", "a2")]);
    let mut one_at_a_time = || {
        let mut left = 1;
        let permit = |_: &Leased| {
            left -= 1;
            if left == 0 { Ok(()) } else { Err(Full::ForAll) }
        };
        sent(waiting.next(permit))
    };

    assert_eq!([one_at_a_time(), one_at_a_time(), one_at_a_time(), one_at_a_time()].concat(), ["a1", "b1", "c1", "a2"]);
}

#[test]
fn what_has_waited_for_too_long_is_given_back_and_its_place_is_free() {
    let mut waiting = waiting_with(&[("hangs", "h1"), ("hangs", "h2")]);
    assert!(waiting.late(Instant::now() - Duration::from_secs(1)).is_empty());

    let late = waiting.late(Instant::now() + Duration::from_secs(1));

    assert_eq!(late.iter().map(|leased| &leased.body[..]).collect::<Vec<_>>(), [b"h1", b"h2"]);
    assert!(waiting.places.are_all_free());
    assert_eq!((waiting.lines.len(), waiting.turns.len()), (0, 0));
}

#[test]
fn who_found_no_place_gets_none_before_what_is_due_was_leased() {
    let mut waiting = desk();
    take_all(&mut waiting, "bot");

    waiting.give_back("acme", &endpoint("bot"), 1);

    assert!(!set_aside(&mut waiting, "bot"), "it would pass what is due");
    assert!(set_aside(&mut waiting, "other"));
}

/// Sets aside until the endpoint is short of places.
fn take_much(waiting: &mut Waiting, id: &str) {
    while !waiting.awaited.has(&endpoint(id)) {
        assert!(set_aside(waiting, id));
    }
}

#[test]
fn a_worker_is_held_up_before_an_endpoint_that_answers_runs_out_of_places() {
    let mut waiting = desk();
    take_much(&mut waiting, "answers");
    let now = Instant::now();

    waiting.answered(&endpoint("answers"), now);

    assert!(!waiting.has_enough(now));
    assert!(set_aside(&mut waiting, "answers"), "there are places left for what is on its way");
    assert!(waiting.has_enough(now + MOVES_WITHIN), "it answers no more: not worth waiting for");
}

#[test]
fn a_worker_goes_on_once_an_endpoint_has_sent_enough_of_what_it_has() {
    let mut waiting = desk();
    take_much(&mut waiting, "answers");
    let now = Instant::now();
    waiting.answered(&endpoint("answers"), now);
    assert!(!waiting.has_enough(now));

    waiting.give_back("acme", &endpoint("answers"), 1);

    assert!(waiting.has_enough(now));
}

#[test]
fn a_worker_waits_for_nobody_who_hangs_however_much_he_has_and_whoever_answers_beside_him() {
    let mut waiting = desk();
    for number in 0..40 {
        take_all(&mut waiting, &format!("hangs-{number}"));
    }
    let now = Instant::now();

    assert!(waiting.set_aside("other", &endpoint("answers"), 1, now));
    waiting.answered(&endpoint("answers"), now);

    assert!(waiting.has_enough(now));
}

#[test]
fn who_has_run_out_of_places_is_waited_for_while_he_answers_until_what_is_due_was_leased() {
    let mut waiting = desk();
    let had = take_all(&mut waiting, "bot");
    let now = Instant::now();
    (0..had).for_each(|_| waiting.give_back("acme", &endpoint("bot"), 1));
    waiting.answered(&endpoint("bot"), now);
    assert!(!waiting.has_enough(now));

    waiting.hear(false, &leases(&[]), |_, _| true, now);

    assert!(waiting.has_enough(now));
}

#[test]
fn a_lease_that_was_as_large_as_it_could_be_holds_a_worker_up_for_those_whom_it_was_for_and_answer() {
    let (mut waiting, now) = (desk(), Instant::now());
    let room = |_: &EndpointId, _: Option<&String>| true;
    waiting.hear(true, &leases(&["hangs", "bot"]), room, now);
    waiting.answered(&endpoint("prompt"), now);
    assert!(waiting.has_enough(now), "nobody answers whom it was for");

    waiting.answered(&endpoint("bot"), now);
    let while_full = waiting.has_enough(now);
    waiting.hear(false, &leases(&["hangs"]), room, now);

    assert!(!while_full);
    assert!(waiting.has_enough(now));
}
