//! What the claim promises, on a real Redis: one winner, and nobody but the owner lets go.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use queue::{Claim, ClaimSettings, Claims, Owner, Redis, Run, Wanted};
use tests::TestRedis;
use tokio::sync::Barrier;
use vocabulary::Key;

/// So long that no machine is too slow for it, and a test that should not wait does not notice.
fn patient() -> ClaimSettings {
    ClaimSettings { deadline: Duration::from_secs(20), ..ClaimSettings::default() }
}

/// Each has a connection of its own.
fn claims(redis: &TestRedis, settings: ClaimSettings) -> Claims {
    Claims::new(&Redis::new(&redis.url, &redis.prefix).unwrap(), settings)
}

/// A run of a raw event that wants a key of source `wa`.
fn wanted(key: &str, raw_event: &str) -> Wanted {
    wanted_by(key, raw_event, Run::random())
}

fn wanted_by(key: &str, raw_event: &str, run: Run) -> Wanted {
    Wanted { source: "wa".parse().unwrap(), key: Key::new(key).unwrap(), owner: Owner::of(raw_event, run) }
}

/// With a lease of so many milliseconds.
fn short(lease: u64) -> ClaimSettings {
    ClaimSettings { lease: Duration::from_millis(lease), ..patient() }
}

/// How long it took until nobody held it.
async fn is_won_in_time(claims: &Claims, wanted: &Wanted) -> Duration {
    let taking = Instant::now();
    while take(claims, wanted).await == Claim::Held {
        assert!(taking.elapsed() < Duration::from_secs(20));
    }
    taking.elapsed()
}

async fn take(claims: &Claims, wanted: &Wanted) -> Claim {
    claims.take(std::slice::from_ref(wanted)).await[0]
}

async fn one_of_so_many_wins(tasks: usize) {
    let redis = tests::redis().await;
    let connections: Vec<Claims> = (0..tasks.min(16)).map(|_| claims(&redis, patient())).collect();
    let barrier = Arc::new(Barrier::new(tasks));

    let takers: Vec<_> = (0..tasks)
        .map(|n| {
            let (claims, barrier) = (connections[n % connections.len()].clone(), barrier.clone());
            tokio::spawn(async move {
                let mine = wanted("wamid.1", &format!("inc-{n}"));
                barrier.wait().await;
                (take(&claims, &mine).await, mine)
            })
        })
        .collect();
    let (mut winners, mut losers) = (Vec::new(), Vec::new());
    for taker in takers {
        match taker.await.unwrap() {
            (Claim::Won, winner) => winners.push(winner),
            (claim, _) => losers.push(claim),
        }
    }

    assert_eq!((winners.len(), losers), (1, vec![Claim::Held; tasks - 1]));
    assert_eq!(connections[0].release(&winners).await, Some(0), "and it still has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_2_that_want_a_key_at_once_one_wins() {
    one_of_so_many_wins(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_16_that_want_a_key_at_once_one_wins() {
    one_of_so_many_wins(16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_that_want_a_key_at_once_one_wins() {
    one_of_so_many_wins(200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_runs_of_one_raw_event_that_come_at_once_only_the_last_can_let_go() {
    let redis = tests::redis().await;
    let claims = claims(&redis, patient());
    let barrier = Arc::new(Barrier::new(50));

    let runs: Vec<_> = (0..50)
        .map(|_| {
            let (claims, barrier) = (claims.clone(), barrier.clone());
            tokio::spawn(async move {
                let mine = wanted("wamid.1", "inc-1");
                barrier.wait().await;
                (take(&claims, &mine).await, mine)
            })
        })
        .collect();
    let (mut first, mut heirs) = (Vec::new(), Vec::new());
    for run in runs {
        match run.await.unwrap() {
            (Claim::Won, mine) => first.push(mine),
            (claim, mine) => {
                assert_eq!(claim, Claim::TakenOver);
                heirs.push(mine);
            }
        }
    }

    assert_eq!((first.len(), claims.release(&first).await), (1, Some(1)));
    assert_eq!(claims.release(&heirs).await, Some(heirs.len() - 1));
}

#[tokio::test]
async fn a_key_that_nobody_works_on_is_won_and_a_group_is_answered_in_order() {
    let redis = tests::redis().await;
    let claims = claims(&redis, patient());
    let (held, done) = (wanted("held", "inc-1"), wanted("done", "inc-1"));
    claims.take(&[held, done.clone()]).await;
    claims.finish(&[done]).await;

    let group = ["free", "held", "done", "free too"].map(|key| wanted(key, "inc-2"));

    assert_eq!(claims.take(&group).await, [Claim::Won, Claim::Held, Claim::Done, Claim::Won]);
    assert!(claims.take(&[]).await.is_empty());
}

#[tokio::test]
async fn a_key_that_another_raw_event_works_on_is_held_until_it_lets_go() {
    let redis = tests::redis().await;
    let claims = claims(&redis, patient());
    let (one, other) = (wanted("wamid.1", "inc-1"), wanted("wamid.1", "inc-11"));
    assert_eq!(take(&claims, &one).await, Claim::Won);
    assert_eq!(take(&claims, &other).await, Claim::Held);

    assert_eq!(claims.release(&[one]).await, Some(0));

    assert_eq!(take(&claims, &other).await, Claim::Won);
}

#[tokio::test]
async fn a_key_whose_holder_died_is_won_when_its_lease_has_ended() {
    let redis = tests::redis().await;
    let claims = claims(&redis, short(100));
    assert_eq!(take(&claims, &wanted("wamid.1", "inc-1")).await, Claim::Won);

    let took = is_won_in_time(&claims, &wanted("wamid.1", "inc-2")).await;

    assert!(took > Duration::from_millis(50));
}

#[tokio::test]
async fn a_later_run_takes_over_and_the_earlier_one_can_do_nothing_more() {
    let redis = tests::redis().await;
    let claims = claims(&redis, patient());
    let (earlier, later) = (wanted("wamid.1", "inc-1"), wanted("wamid.1", "inc-1"));
    assert_eq!(take(&claims, &earlier).await, Claim::Won);

    assert_eq!(take(&claims, &later).await, Claim::TakenOver);

    let (earlier, other) = ([earlier], wanted("wamid.1", "inc-2"));
    claims.renew(&earlier).await;
    assert_eq!(claims.release(&earlier).await, Some(1));
    claims.finish(&earlier).await;
    assert_eq!(take(&claims, &other).await, Claim::Held, "the later run still has it");
    claims.finish(&[later]).await;
    assert_eq!(take(&claims, &other).await, Claim::Done);
}

/// The later one's lease was shorter, and the earlier one says that it lives.
#[tokio::test]
async fn what_was_taken_over_ends_with_the_later_runs_lease() {
    let redis = tests::redis().await;
    let (long, short) = (claims(&redis, patient()), claims(&redis, short(100)));
    let (earlier, later) = (wanted("wamid.1", "inc-1"), wanted("wamid.1", "inc-1"));
    take(&long, &earlier).await;
    assert_eq!(take(&short, &later).await, Claim::TakenOver);

    long.renew(&[earlier]).await;

    is_won_in_time(&long, &wanted("wamid.1", "inc-2")).await;
}

/// One word says both of all that a run holds.
#[tokio::test]
async fn a_run_that_has_let_go_of_what_failed_is_done_with_the_rest() {
    let redis = tests::redis().await;
    let claims = claims(&redis, patient());
    let run = Run::random();
    let [committed, failed] = ["committed", "failed"].map(|key| wanted_by(key, "inc-1", run));
    claims.take(&[committed.clone(), failed.clone()]).await;

    assert_eq!(claims.release(&[failed]).await, Some(0));
    claims.finish(&[committed]).await;

    let others = ["committed", "failed"].map(|key| wanted(key, "inc-2"));
    assert_eq!(claims.take(&others).await, [Claim::Done, Claim::Won]);
}

#[tokio::test]
async fn a_key_is_done_for_as_long_as_is_said_and_then_nobodys() {
    let redis = tests::redis().await;
    let claims = claims(&redis, ClaimSettings { remember_done: Duration::from_millis(100), ..patient() });
    let (mine, other) = (wanted("wamid.1", "inc-1"), wanted("wamid.1", "inc-2"));
    take(&claims, &mine).await;
    claims.finish(&[mine]).await;

    let taking = Instant::now();
    while take(&claims, &other).await == Claim::Done {
        assert!(taking.elapsed() < Duration::from_secs(20));
    }

    assert!(taking.elapsed() > Duration::from_millis(50));
    assert_eq!(take(&claims, &wanted("wamid.1", "inc-3")).await, Claim::Held);
}

#[tokio::test]
async fn a_run_that_asks_twice_still_has_what_it_won() {
    let redis = tests::redis().await;
    let claims = claims(&redis, patient());
    let mine = wanted("wamid.1", "inc-1");

    assert_eq!((take(&claims, &mine).await, take(&claims, &mine).await), (Claim::Won, Claim::Won));
}

#[tokio::test]
async fn a_committed_key_is_done_for_everybody_and_stays_so_whatever_anybody_does() {
    let redis = tests::redis().await;
    let claims = claims(&redis, patient());
    let (mine, later, other) = (wanted("wamid.1", "inc-1"), wanted("wamid.1", "inc-1"), wanted("wamid.1", "inc-2"));
    take(&claims, &mine).await;

    claims.finish(std::slice::from_ref(&mine)).await;

    for wanted in [&mine, &later, &other] {
        assert_eq!(take(&claims, wanted).await, Claim::Done);
    }
    claims.renew(&[mine, later.clone(), other.clone()]).await;
    assert_eq!(claims.release(&[later.clone(), other.clone()]).await, Some(2));
    claims.finish(&[later, other.clone()]).await;
    assert_eq!(take(&claims, &other).await, Claim::Done);
}

#[tokio::test]
async fn only_the_owner_releases() {
    let redis = tests::redis().await;
    let claims = claims(&redis, patient());
    let (owner, stranger) = (wanted("wamid.1", "inc-1"), [wanted("wamid.1", "inc-2")]);
    take(&claims, &owner).await;

    assert_eq!(claims.release(&stranger).await, Some(1));

    assert_eq!(take(&claims, &wanted("wamid.1", "inc-3")).await, Claim::Held);
    assert_eq!(claims.release(&[owner, wanted("never taken", "inc-1")]).await, Some(1));
}

#[tokio::test]
async fn a_renewed_claim_outlives_the_lease_it_was_taken_with() {
    let redis = tests::redis().await;
    let short = claims(&redis, short(50));
    let long = claims(&redis, patient());
    let mine = wanted("wamid.1", "inc-1");
    take(&short, &mine).await;
    long.renew(&[mine]).await;

    let watching = Instant::now();
    while watching.elapsed() < Duration::from_millis(200) {
        assert_eq!(take(&long, &wanted("wamid.1", "inc-2")).await, Claim::Held);
    }
}

/// Who empties a full Redis must not lose what it holds meanwhile. Only what is new is refused.
#[tokio::test]
async fn in_a_full_redis_what_is_held_is_renewed_finished_and_let_go() {
    let server = tests::private_redis();
    let redis = TestRedis { url: server.url(), prefix: "p".into() };
    let claims = claims(&redis, patient());
    let run = Run::random();
    let [committed, failed] = ["committed", "failed"].map(|key| wanted_by(key, "inc-1", run));
    self::claims(&redis, short(20_000)).take(&[committed.clone(), failed.clone()]).await;
    // Whatever it holds is more than this.
    let full = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).to_owned();
    let () = full.query_async(&mut connection(&redis).await).await.unwrap();

    claims.renew(std::slice::from_ref(&failed)).await;
    let held = claims.held(patient().lease / 2).await.unwrap();
    let released = claims.release(&[failed]).await;
    claims.finish(&[committed]).await;

    assert_eq!((held.len(), released), (2, Some(0)));
    assert_eq!(claims.held(Duration::ZERO).await.unwrap(), []);
    assert_eq!(take(&claims, &wanted("new", "inc-2")).await, Claim::Unanswered);
}

async fn connection(redis: &TestRedis) -> redis::aio::MultiplexedConnection {
    redis::Client::open(redis.url.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// A claim itself was held and done then, not its run. While both work, neither knows what the other's mean, and the ledger
/// decides.
#[tokio::test]
async fn the_version_before_and_this_one_see_nothing_of_each_others_claims() {
    let redis = tests::redis().await;
    let claims = claims(&redis, patient());
    let mut connection = connection(&redis).await;
    let (theirs, looks_at) = (format!("{}:claim:wa:wamid.1", redis.prefix), format!("{}:claim*", redis.prefix));
    let () = redis::cmd("SET").arg(&theirs).arg("inc-1:0123456789abcdef").query_async(&mut connection).await.unwrap();

    let long = "k".repeat(1000);
    let taken = claims.take(&["wamid.1", "wamid.2", &long].map(|key| wanted(key, "inc-2"))).await;

    let they_see: Vec<String> = redis::cmd("KEYS").arg(&looks_at).query_async(&mut connection).await.unwrap();
    assert_eq!((taken, they_see), (vec![Claim::Won; 3], vec![theirs]));
    assert_eq!(claims.held(Duration::ZERO).await.unwrap().len(), 3);
}

#[tokio::test]
async fn two_different_keys_or_sources_never_share_a_claim() {
    let redis = tests::redis().await;
    let claims = claims(&redis, patient());
    let long = "k".repeat(1000);
    let keys = ["a", "a:b", ":", "done", "💬", &long, &long[1..], &format!("{}x", &long[1..])];
    let in_source = |source: &str| {
        let wanted = keys.map(|key| Wanted { source: source.parse().unwrap(), ..wanted(key, "inc-1") });
        wanted.to_vec()
    };

    let all = [in_source("wa"), in_source("wa-1"), in_source("wa_1")].concat();

    assert_eq!(claims.take(&all).await, vec![Claim::Won; all.len()]);
}

#[tokio::test]
async fn a_redis_that_is_silent_is_gone_around_within_the_deadline_and_used_again_when_it_speaks() {
    let server = tests::private_redis();
    let redis = TestRedis { url: server.url(), prefix: "p".into() };
    let claims = claims(&redis, ClaimSettings::default());
    let mine = [wanted("wamid.1", "inc-1"), wanted("wamid.2", "inc-1")];
    claims.release(&mine).await;

    signal("-STOP", server.pid());
    let asking = Instant::now();
    let unanswered = claims.take(&mine).await;
    let took = asking.elapsed();
    let refused = claims.release(&mine).await;
    signal("-CONT", server.pid());

    assert_eq!(unanswered, [Claim::Unanswered, Claim::Unanswered]);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(refused, None, "what was not answered was not refused");
    let asking = Instant::now();
    while take(&claims, &wanted("wamid.3", "inc-1")).await == Claim::Unanswered {
        assert!(asking.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_redis_that_was_killed_is_gone_around_and_used_again_when_it_is_back() {
    let mut server = tests::private_redis();
    let redis = TestRedis { url: server.url(), prefix: "p".into() };
    let claims = claims(&redis, ClaimSettings::default());
    let mine = wanted("wamid.1", "inc-1");
    take(&claims, &mine).await;

    server.kill();
    assert_eq!(take(&claims, &mine).await, Claim::Unanswered);
    server.restart().unwrap();

    let asking = Instant::now();
    while take(&claims, &mine).await != Claim::Won {
        assert!(asking.elapsed() < Duration::from_secs(20));
    }
}

/// So that nobody waits for a disk: a claim is an economy, and the ledger decides.
#[tokio::test]
async fn claims_are_in_memory_alone_and_a_redis_that_was_restarted_knows_none() {
    let mut server = tests::private_redis();
    let redis = TestRedis { url: server.url(), prefix: "p".into() };
    let claims = claims(&redis, patient());
    let keys = ["held", "done", "let go", "taken over"];
    let (mine, later) = (keys.map(|key| wanted(key, "inc-1")), wanted("taken over", "inc-1"));
    let written = append_only_bytes(&redis).await;

    assert_eq!(claims.take(&mine).await, [Claim::Won; 4]);
    assert_eq!(take(&claims, &later).await, Claim::TakenOver);
    claims.renew(&mine[..1]).await;
    claims.finish(&mine[1..2]).await;
    assert_eq!(claims.release(&mine[2..3]).await, Some(0));
    assert_eq!(append_only_bytes(&redis).await, written);
    server.kill();
    server.restart().unwrap();

    let after = self::claims(&redis, patient());
    assert_eq!(after.take(&keys.map(|key| wanted(key, "inc-2"))).await, [Claim::Won; 4]);
}

/// What Redis has written since it was started.
async fn append_only_bytes(redis: &TestRedis) -> u64 {
    let info = redis::cmd("INFO").arg("persistence").to_owned();
    let info: redis::InfoDict = info.query_async(&mut connection(redis).await).await.unwrap();
    info.get("aof_current_size").unwrap()
}

#[tokio::test]
async fn nobody_listening_is_unanswered_too() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let redis = TestRedis { url: format!("redis://{}", silent.local_addr().unwrap()), prefix: "p".into() };
    let claims = claims(&redis, ClaimSettings::default());

    let asking = Instant::now();
    let taken = take(&claims, &wanted("wamid.1", "inc-1")).await;

    assert_eq!(taken, Claim::Unanswered);
    assert!(asking.elapsed() < Duration::from_secs(2));
}

fn signal(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}
