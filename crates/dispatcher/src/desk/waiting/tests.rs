use std::sync::Arc;

use database::endpoints::Target;
use uuid::Uuid;

use super::*;

const PLACES: usize = 2048;

fn endpoint(id: &str) -> EndpointId {
    id.parse().unwrap()
}

fn desk() -> Waiting {
    Waiting { limit: PLACES, ..Waiting::default() }
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
        target: Arc::new(Target::default()),
        gate: None,
        lane: None,
    }
}

fn take_all(waiting: &mut Waiting, id: &str) -> usize {
    std::iter::repeat_with(|| waiting.set_aside(&endpoint(id), 1)).take_while(|has_place| *has_place).count()
}

#[test]
fn nobody_can_have_more_places_than_are_left_for_the_others() {
    let mut waiting = desk();

    assert_eq!(take_all(&mut waiting, "hangs"), PLACES / 2);
    assert_eq!(take_all(&mut waiting, "hangs-too"), PLACES / 4);

    assert!(waiting.set_aside(&endpoint("answers"), 1));
}

#[test]
fn what_is_large_has_a_place_only_while_the_memory_for_it_is_there() {
    let mut waiting = desk();

    assert_eq!((0..PLACES).take_while(|_| waiting.set_aside(&endpoint("large"), LARGEST)).count(), BYTES / LARGEST);
    assert!(!waiting.set_aside(&endpoint("small"), 1));

    waiting.give_back(&endpoint("large"), LARGEST);
    assert!(waiting.set_aside(&endpoint("another"), 1));
}

#[test]
fn what_no_lease_would_bring_has_no_place_though_there_is_memory() {
    let mut waiting = desk();

    assert!(!waiting.set_aside(&endpoint("larger"), LARGEST + 1));
    assert!(!waiting.set_aside(&endpoint("larger"), 1), "it would pass the one before it");

    assert!(waiting.set_aside(&endpoint("another"), LARGEST));
}

#[test]
fn who_has_deliveries_due_gets_no_place_until_they_are_leased() {
    let mut waiting = Waiting { owing: [(endpoint("late"), None)].into(), ..desk() };

    assert!(!waiting.set_aside(&endpoint("late"), 1));
    assert!(waiting.set_aside(&endpoint("prompt"), 1));

    waiting.owing.clear();
    assert!(waiting.set_aside(&endpoint("late"), 1));
}

fn waiting_with(deliveries: &[(&str, &'static str)]) -> Waiting {
    let (mut waiting, now) = (desk(), Instant::now());
    for (id, body) in deliveries {
        assert!(waiting.set_aside(&endpoint(id), body.len()));
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
    assert_eq!((waiting.places, waiting.bytes, waiting.lines.len(), waiting.turns.len()), (0, 0, 0, 0));
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
    assert_eq!((waiting.places, waiting.bytes, waiting.lines.len(), waiting.turns.len()), (0, 0, 0, 0));
}

#[test]
fn who_found_no_place_gets_none_before_what_is_due_was_leased() {
    let mut waiting = desk();
    take_all(&mut waiting, "bot");

    waiting.give_back(&endpoint("bot"), 1);

    assert!(!waiting.set_aside(&endpoint("bot"), 1), "it would pass what is due");
    assert!(waiting.set_aside(&endpoint("other"), 1));
}

#[test]
fn a_worker_is_held_up_before_an_endpoint_that_answers_runs_out_of_places() {
    let mut waiting = desk();
    let now = Instant::now();
    for _ in 0..PLACES / 5 {
        assert!(waiting.has_enough(now));
        assert!(waiting.set_aside(&endpoint("answers"), 1));
    }
    assert!(waiting.set_aside(&endpoint("answers"), 1));

    assert!(!waiting.has_enough(now));
    assert!(waiting.set_aside(&endpoint("answers"), 1), "there are places left for what is on its way");
    assert!(waiting.has_enough(now + 2 * MOVES_WITHIN), "it does not answer any more: not worth waiting for");
    waiting.lines.get_mut(&endpoint("answers")).unwrap().moved = now + 2 * LONGEST_WAIT;
    assert!(waiting.has_enough(now + 2 * LONGEST_WAIT), "it answers, too slowly: others were held up for long enough");
}

#[test]
fn a_worker_waits_for_nobody_who_has_run_out_of_places_already() {
    let mut waiting = desk();
    take_all(&mut waiting, "slow");

    assert!(waiting.has_enough(Instant::now()));
}
