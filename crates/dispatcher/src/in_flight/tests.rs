use bytes::Bytes;
use database::endpoints::Target;
use futures::FutureExt;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// Of which as many again may wait to be recorded.
fn in_flight(in_flight: usize, per_endpoint: usize) -> Arc<InFlight> {
    InFlight::new(Limits { in_flight, per_endpoint, unrecorded: 2 * in_flight })
}

fn endpoint(id: &str) -> EndpointId {
    id.parse().unwrap()
}

fn owed_by(account: &str, id: &str) -> Leased {
    Leased {
        event_id: Uuid::nil(),
        endpoint_id: endpoint(id),
        lease: 1,
        attempts: 0,
        again: false,
        webhook_id: "msg_1".to_owned(),
        body: Bytes::new(),
        target: Arc::new(Target { account_id: account.to_owned(), ..Target::default() }),
        gate: None,
        lane: None,
        part: 64,
    }
}

fn first(id: &str) -> Leased {
    owed_by("acme", id)
}

fn retry(id: &str) -> Leased {
    Leased { attempts: 1, ..first(id) }
}

#[test]
fn retries_never_fill_more_than_half_of_any_limit() {
    let in_flight = in_flight(8, 4);

    let _permits: Vec<_> = (0..2).map(|_| in_flight.take(&retry("e1"))).collect();

    let rooms = in_flight.rooms();
    assert_eq!(rooms.all, Room { all: 3, retries: 2 }, "a lease leaves half of what is free");
    assert_eq!(rooms.busy_accounts, [("acme".to_owned(), Room { all: 2, retries: 0 })]);
    assert_eq!(rooms.per_endpoint, Room { all: 4, retries: 2 });
    assert_eq!(rooms.busy, [(endpoint("e1"), Room { all: 2, retries: 0 })]);
}

#[test]
fn what_is_tried_again_on_a_persons_word_counts_as_a_retry_though_its_schedule_begins_anew() {
    let in_flight = in_flight(8, 4);

    let _permit = in_flight.take(&Leased { again: true, ..first("e1") });

    assert_eq!(in_flight.rooms().busy, [(endpoint("e1"), Room { all: 3, retries: 1 })]);
}

#[test]
fn a_permit_is_given_back_when_it_is_dropped_and_its_endpoint_forgotten_with_the_last() {
    let in_flight = in_flight(8, 4);
    let (one, another) = (in_flight.take(&first("e1")), in_flight.take(&retry("e1")));

    drop(one);
    assert_eq!(in_flight.rooms().busy, [(endpoint("e1"), Room { all: 3, retries: 1 })]);
    drop(another);

    assert_eq!(in_flight.rooms().all, Room { all: 4, retries: 4 });
    assert!(in_flight.rooms().busy.is_empty());
}

#[test]
fn what_is_answered_leaves_its_place_to_the_next_but_is_not_over_until_it_is_recorded() {
    let in_flight = in_flight(8, 1);
    let mut permit = in_flight.take(&first("e1"));
    assert_eq!(in_flight.try_take(&first("e1"), Portion::All).unwrap_err(), Full::ForEndpoint);

    permit.answered();
    assert!(in_flight.try_take(&first("e1"), Portion::All).is_ok());
    assert!(in_flight.ended().now_or_never().is_none());

    drop(permit);
    assert!(in_flight.ended().now_or_never().is_some());
}

#[test]
fn a_quarter_of_each_limit_is_left_to_what_is_leased() {
    let in_flight = in_flight(8, 4);
    let take = |account: &str| in_flight.try_take(&owed_by(account, account), Portion::OfDesk);
    let take_all = |account| std::iter::repeat_with(|| take(account)).map_while(Result::ok).collect::<Vec<_>>();

    let permits = ["a1", "a2", "a3"].map(take_all);

    assert_eq!(permits.each_ref().map(Vec::len), [3, 2, 1]);
    assert_eq!(take("a4").unwrap_err(), Full::ForAll);
    assert!(in_flight.try_take(&owed_by("a4", "a4"), Portion::All).is_ok());
}

#[test]
fn an_account_has_its_share_and_no_more_however_many_endpoints_it_has() {
    let in_flight = in_flight(8, 2);
    let leased = ["e1", "e2", "e3"].map(|id| in_flight.take(&first(id)));
    let handed_over = in_flight.try_take(&first("e4"), Portion::OfDesk);

    let last = in_flight.try_take(&first("e4"), Portion::All);

    assert_eq!(handed_over.unwrap_err(), Full::ForEndpoint, "a quarter is left to what is leased");
    assert_eq!(in_flight.rooms().busy_accounts, [("acme".to_owned(), Room { all: 0, retries: 0 })]);
    assert!(last.is_ok() && in_flight.rooms().are_scarce());
    assert_eq!(in_flight.try_take(&first("e5"), Portion::All).unwrap_err(), Full::ForEndpoint);
    assert!(in_flight.try_take(&owed_by("other", "e6"), Portion::All).is_ok());
    drop((leased, last));
    assert!(in_flight.rooms().busy_accounts.is_empty());
}

/// What becomes of the places next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A lease takes all that it may, for so many accounts in this order.
    Lease([usize; 6], usize),
    /// A worker hands over so many of an account.
    HandOver(usize, usize),
    /// An account is given so many answers.
    Answer(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let account = 0..6usize;
    let order = Just([0, 1, 2, 3, 4, 5]).prop_shuffle();
    let step = prop_oneof![
        (order, account.clone()).prop_map(|(order, more)| Step::Lease(order, 1 + more)),
        (account.clone(), 0..70usize).prop_map(|(account, count)| Step::HandOver(account, count)),
        (account, 0..140usize).prop_map(|(account, count)| Step::Answer(account, count)),
    ];
    proptest::collection::vec(step, 0..60)
}

/// As much as a lease may bring of these accounts, who comes first before the others.
fn lease_all(in_flight: &Arc<InFlight>, accounts: &[usize], had: &mut [Vec<Permit>; 6]) {
    let rooms = in_flight.rooms();
    let mut left = rooms.all.all;
    for &account in accounts {
        let id = account.to_string();
        let busy = rooms.busy_accounts.iter().find(|(busy, _)| *busy == id);
        let own = busy.map_or(rooms.per_account, |(_, room)| *room).all.min(left);
        left -= own;
        had[account].extend((0..own).map(|_| in_flight.take(&owed_by(&id, &id))));
    }
}

proptest! {
    #[test]
    fn however_accounts_come_and_go_so_many_as_have_something_leave_their_part_of_it(steps in steps()) {
        let in_flight = in_flight(256, 256);
        let mut had: [Vec<Permit>; 6] = Default::default();

        for step in steps {
            match step {
                Step::Lease(order, many) => lease_all(&in_flight, &order[..many], &mut had),
                Step::HandOver(account, count) => {
                    let leased = owed_by(&account.to_string(), "e");
                    let permits = (0..count).map_while(|_| in_flight.try_take(&leased, Portion::All).ok());
                    had[account].extend(permits);
                }
                Step::Answer(account, count) => had[account].truncate(had[account].len().saturating_sub(count)),
            }

            let free = 256 - had.iter().map(Vec::len).sum::<usize>();
            let having = had.iter().filter(|permits| !permits.is_empty()).count();
            prop_assert!(free >= 256 >> having, "{} leave {}", having, free);
        }
    }
}

/// Else what is new would be sent past what is due, by endpoints that nothing could be leased of.
#[test]
fn an_account_that_has_all_it_may_have_may_have_more_due_and_one_with_room_has_not() {
    let in_flight = in_flight(8, 2);
    let [one, three, four] = [1, 3, 4].map(|count| vec![first("e1"); count]);

    let idle = in_flight.rooms();
    let _permit = in_flight.take(&first("e1"));
    let busy = in_flight.rooms();

    let full = |rooms: &Rooms| [&one, &three, &four].map(|leased| rooms.full_accounts(leased).contains("acme"));
    assert_eq!((full(&idle), full(&busy)), ([false, false, true], [false, true, true]));
    assert!(!busy.full_accounts(&four).contains("other"));
}

#[test]
fn an_endpoint_may_have_more_due_once_it_was_leased_all_that_it_may_have_or_its_part_of_the_lease() {
    let in_flight = in_flight(64, 4);
    let _permits = ["e1", "e1", "e4"].map(|id| in_flight.take(&first(id)));
    let rooms = in_flight.rooms();
    let leased = ["e1", "e1", "e2", "e2", "e3", "e4", "e4"];

    let with_ample_room = rooms.full_endpoints(&leased.map(first));
    let with_a_part_of_two = rooms.full_endpoints(&leased.map(|id| Leased { part: 2, ..first(id) }));

    assert_eq!(with_ample_room, [endpoint("e1")].into(), "e1 has four on their way, e4 only three");
    assert_eq!(with_a_part_of_two, ["e1", "e2", "e4"].map(endpoint).into());
}

/// Else whoever looks for what is due of one who hangs looks with each answer of all others.
#[test]
fn that_room_is_given_back_is_heard_of_where_there_was_none() {
    let in_flight = in_flight(64, 2);
    let [_hangs, ends, other] = ["e1", "e1", "e2"].map(|id| in_flight.take(&first(id)));
    let is_heard = || in_flight.given_back().now_or_never().is_some();
    assert!(in_flight.rooms().are_scarce());

    drop(other);
    let of_another = is_heard();
    drop(ends);

    assert_eq!((of_another, is_heard()), (false, true));
}

#[test]
fn when_too_much_is_not_recorded_nothing_more_is_sent() {
    let in_flight = in_flight(8, 8);
    let answered = |_| {
        let mut permit = in_flight.take(&first("e1"));
        permit.answered();
        permit
    };

    let mut unrecorded: Vec<_> = (0..16).map(answered).collect();
    assert_eq!(in_flight.rooms().all, Room { all: 0, retries: 0 });

    unrecorded.pop();
    assert_eq!(in_flight.rooms().all, Room { all: 1, retries: 1 });
}

#[test]
fn of_who_is_left_alone_nothing_is_leased_and_no_permit_is_waited_for() {
    let in_flight = in_flight(8, 4);
    let _permits = ["e1", "e2"].map(|id| in_flight.take(&first(id)));

    let rooms = in_flight.rooms().without([endpoint("e1"), endpoint("e3")].into());

    assert_eq!(rooms.full_endpoints::<()>(&[]), [endpoint("e1"), endpoint("e3")].into());
    assert_eq!(rooms.busy.len(), 3, "each of them once");
    assert!(!rooms.are_scarce());
}

#[tokio::test]
async fn only_what_is_given_back_is_news() {
    let in_flight = in_flight(8, 1);
    let permit = in_flight.take(&first("e1"));
    assert!(in_flight.rooms().are_scarce());
    assert!(in_flight.given_back().now_or_never().is_none());

    drop(permit);

    in_flight.given_back().await;
    in_flight.ended().await;
}
