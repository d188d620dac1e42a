//! Bodies that ask for room in 100 bytes.

use uuid::Uuid;

use super::*;

/// Of an account, a body of so many bytes.
fn body_of(account: &str, bytes: u32) -> Which {
    Which { account_id: account.to_owned(), event_id: Uuid::now_v7(), format: "full".to_owned(), bytes }
}

/// A line, and what is in memory.
struct Memory {
    line: Line,
    held: Vec<Which>,
    now: Instant,
}

impl Memory {
    fn holding(held: &[(&str, u32)]) -> Self {
        let held = held.iter().map(|(account, bytes)| body_of(account, *bytes)).collect();
        Self { line: Line::default(), held, now: Instant::now() }
    }

    /// Whether a body is let in; if so, it is in memory.
    fn asks(&mut self, body: &Which) -> bool {
        let is_let_in = self.line.lets_in(body, self.held.iter(), 100, self.now);
        self.held.extend(is_let_in.then(|| body.clone()));
        is_let_in
    }

    /// It was sent.
    fn ends(&mut self, body: &Which) {
        self.held.retain(|held| held != body);
    }

    fn end_of(&mut self, account: &str) {
        self.held.retain(|held| held.account_id != account);
    }
}

/// Whether there is room for a body while these are held, and nobody waits.
fn has_room_beside(held: &[(&str, u32)], account: &str, bytes: u32) -> bool {
    Memory::holding(held).asks(&body_of(account, bytes))
}

#[test]
fn an_account_has_half_of_the_bytes_that_the_others_leave() {
    assert!(has_room_beside(&[], "acme", 50));
    assert!(has_room_beside(&[("acme", 30)], "acme", 20));
    assert!(!has_room_beside(&[("acme", 30)], "acme", 21));

    assert!(has_room_beside(&[("acme", 30), ("acme", 20)], "other", 25));
    assert!(!has_room_beside(&[("acme", 30), ("acme", 20)], "other", 26));
}

#[test]
fn what_is_larger_than_any_share_waits_until_there_is_room_for_it_or_nobody_has_any() {
    assert!(has_room_beside(&[("acme", 20), ("other", 20)], "acme", 60));
    assert!(!has_room_beside(&[("acme", 20), ("other", 21)], "acme", 60));

    assert!(has_room_beside(&[], "acme", 1000));
    assert!(!has_room_beside(&[("other", 1)], "acme", 1000));
    assert!(!has_room_beside(&[("acme", 1000)], "other", 1), "there is nothing left");
}

/// Without a line it would not be: never are both of the others gone.
#[test]
fn a_body_that_needs_all_the_room_is_let_in_although_smaller_ones_come_and_go() {
    let mut memory = Memory::holding(&[]);
    let (huge, mut small) = (body_of("acme", 1000), vec![body_of("other", 10)]);
    assert!(memory.asks(&small[0]) && !memory.asks(&huge));

    let mut rounds = 0;
    while !memory.asks(&huge) {
        rounds += 1;
        assert!(rounds < 10, "it waits for ever");
        let next = body_of("other", 10);
        if memory.asks(&next) {
            small.push(next);
        }
        memory.ends(&small.remove(0));
    }

    assert_eq!(rounds, 1);
}

#[test]
fn what_leaves_the_room_that_somebody_waits_for_is_let_in_before_him() {
    let mut memory = Memory::holding(&[("other", 30), ("third", 20)]);
    let waits = body_of("acme", 60);
    assert!(!memory.asks(&waits));

    memory.end_of("other");
    let (fits, too_much) = (body_of("other", 20), body_of("fourth", 1));

    assert_eq!((memory.asks(&fits), memory.asks(&too_much)), (true, false));
    assert!(memory.asks(&waits), "the forty that are left are all it needs");
}

#[test]
fn who_has_waited_longest_is_let_in_first() {
    let mut memory = Memory::holding(&[("third", 1)]);
    let (first, second, last) = (body_of("acme", 100), body_of("other", 100), body_of("fourth", 10));
    assert!(!memory.asks(&first) && !memory.asks(&second) && !memory.asks(&last));

    memory.end_of("third");

    assert_eq!([&last, &second, &first].map(|body| memory.asks(body)), [false, false, true]);
    memory.ends(&first);
    assert_eq!([&last, &second].map(|body| memory.asks(body)), [false, true]);
    memory.ends(&second);
    assert!(memory.asks(&last));
}

/// Else who had a thousand of them would have the memory for as long as they take.
#[test]
fn an_account_with_many_that_wait_is_followed_by_another_after_each() {
    let mut memory = Memory::holding(&[("third", 1)]);
    let [first, second, third] = [(); 3].map(|()| body_of("acme", 100));
    let other = body_of("other", 10);
    for body in [&first, &second, &third, &other] {
        assert!(!memory.asks(body));
    }

    memory.end_of("third");
    assert!(memory.asks(&first));
    assert!(!memory.asks(&second) && !memory.asks(&third));
    memory.ends(&first);

    assert_eq!([&third, &second, &other].map(|body| memory.asks(body)), [false, false, true]);
    memory.ends(&other);
    assert_eq!([&third, &second].map(|body| memory.asks(body)), [false, true]);
}

#[test]
fn who_waits_for_what_his_own_account_has_is_in_the_way_of_that_account_alone() {
    let mut memory = Memory::holding(&[("acme", 10)]);
    let waits = body_of("acme", 100);
    assert!(!memory.asks(&waits));

    let (own, other) = (body_of("acme", 10), body_of("other", 10));

    assert_eq!((memory.asks(&own), memory.asks(&other)), (false, true));
    memory.end_of("acme");
    assert!(!memory.asks(&own) && !memory.asks(&body_of("other", 10)), "its turn has come");
    memory.ends(&other);
    assert!(memory.asks(&waits));
}

#[test]
fn who_does_not_come_back_is_waited_for_ten_seconds_from_when_he_last_asked() {
    let mut memory = Memory::holding(&[("third", 1)]);
    let (gone, other) = (body_of("acme", 100), body_of("other", 10));
    let began = memory.now;
    assert!(!memory.asks(&gone));
    memory.now = began + Duration::from_secs(5);
    assert!(!memory.asks(&gone));

    let is_let_in = [14_999, 15_000].map(|millis| {
        memory.now = began + Duration::from_millis(millis);
        memory.asks(&other)
    });

    assert_eq!(is_let_in, [false, true]);
}
