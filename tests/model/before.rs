//! The algorithms before latchhook break the promises, and `docs/why.md` shows how: the shortest way to each.

use crate::{
    checker::shortest,
    seed::{Algorithm, GET_THEN_SETEX, Promise, SET_NX, SET_NX_AND_RELEASE, Seed},
    why,
};

/// The story of how the promise is broken, a line a step; `None`: it never is.
fn story(algorithm: Algorithm, deliveries: usize, promise: Promise) -> Option<String> {
    let seed = Seed { algorithm, deliveries, promise };
    let steps = shortest(seed)?;
    Some(steps.iter().map(|(state, action)| seed.tell(state, *action) + "\n").collect())
}

#[test]
fn get_then_setex_records_a_message_twice() {
    let story = story(GET_THEN_SETEX, 2, Promise::RecordedOnce).expect("there is a way");

    why::shows(&story);
}

#[test]
fn set_nx_that_is_kept_loses_a_message() {
    let story = story(SET_NX, 1, Promise::NeverLost).expect("there is a way");

    why::shows(&story);
}

#[test]
fn set_nx_that_is_released_records_a_message_twice() {
    let story = story(SET_NX_AND_RELEASE, 2, Promise::RecordedOnce).expect("there is a way");

    why::shows(&story);
}

#[test]
fn no_two_of_them_break_the_same_promises() {
    let broken = |algorithm| {
        let is_broken = |promise| (1..=2).any(|deliveries| story(algorithm, deliveries, promise).is_some());
        [Promise::RecordedOnce, Promise::NeverLost].map(is_broken)
    };

    assert_eq!(broken(GET_THEN_SETEX), [true, true]);
    assert_eq!(broken(SET_NX), [false, true]);
    assert_eq!(broken(SET_NX_AND_RELEASE), [true, false]);
}
