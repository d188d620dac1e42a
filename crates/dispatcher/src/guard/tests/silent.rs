//! Names that are asked for and never answered: what they hold up, and whom they do not.

use futures::FutureExt;
use tokio::sync::{Notify, mpsc};

use super::{dns::Dns, *};
use crate::{asker::Asker, failure::detail};

const PUBLIC: &str = "93.184.216.34:0";

fn asking(dns: &Dns) -> Guard {
    Guard { resolver: dns.resolver(), ..Guard::default() }
}

/// Somebody asks for a name, and gives up at once.
fn asks_in_vain(guard: &Guard, name: &str) {
    assert!(guard.look_up(name, 443, Asker::default()).now_or_never().is_none(), "{name} is answered");
}

/// Whoever makes an attempt to one of this account's endpoints.
fn of(account: &str) -> Asker<'_> {
    Asker { account, ..Asker::default() }
}

/// Names that are never answered.
fn dead_names(dns: &Dns, count: usize) -> Vec<String> {
    let names: Vec<_> = (1..=count).map(|number| format!("dead-{number}.example")).collect();
    names.iter().for_each(|name| dns.silence(name));
    names
}

/// A guard whose names are answered only once `answering` is notified, all but `shop.example`; and what it asks for.
fn guard_with(bounds: Bounds, answering: &Arc<Notify>) -> (Guard, mpsc::UnboundedReceiver<String>) {
    let (answering, (begun, asked)) = (answering.clone(), mpsc::unbounded_channel());
    let resolver = Resolver::new(bounds, move |name| -> Addresses {
        let answering = answering.clone();
        begun.send(name.clone()).unwrap();
        Box::pin(async move {
            if name != "shop.example" {
                answering.notified().await;
            }
            Ok(vec![PUBLIC.parse().unwrap()])
        })
    });
    (Guard { resolver, ..Guard::default() }, asked)
}

#[tokio::test]
async fn a_name_is_asked_for_once_however_many_wait_for_it_and_give_up() {
    let dns = Dns::start().await;
    dns.silence("dead.example");
    dns.say("shop.example", &["93.184.216.34"]);
    let guard = asking(&dns);

    for _ in 0..600 {
        asks_in_vain(&guard, "dead.example");
    }
    dns.has_been_asked(1).await;
    let addresses = guard.look_up("shop.example", 8443, Asker::default()).await.unwrap();

    assert_eq!(addresses, ["93.184.216.34:8443".parse().unwrap()]);
    assert_eq!(dns.asked(), 2);
}

#[tokio::test]
async fn as_long_as_there_is_a_place_names_that_are_not_answered_hold_up_nobody() {
    let dns = Dns::start().await;
    let dead = dead_names(&dns, Bounds::default().places - 1);
    dns.say("shop.example", &["93.184.216.34"]);
    let guard = asking(&dns);

    for (number, name) in dead.iter().enumerate() {
        // Half of them are of one account, half of the rest of another, and so on.
        let account = format!("account-{}", (dead.len() - number).ilog2());
        assert!(guard.look_up(name, 443, of(&account)).now_or_never().is_none());
    }
    dns.has_been_asked(dead.len()).await;

    assert!(guard.check_url("https://shop.example/").await.is_ok());
}

#[tokio::test]
async fn an_account_all_of_whose_names_are_silent_has_half_of_the_places_and_holds_up_no_other() {
    let dns = Dns::start().await;
    let bounds = Bounds { place_within: Duration::ZERO, ..Bounds::default() };
    let dead = dead_names(&dns, bounds.places);
    dns.say("shop.example", &["93.184.216.34"]);
    let guard = Guard { allowed: Arc::default(), granted: Arc::default(), resolver: dns.resolver_within(bounds) };
    let asks = async |name: &str| guard.look_up(name, 443, of("crowd")).await;
    let (first, others) = dead.split_at(32);

    assert!(first.iter().all(|name| Box::pin(asks(name)).now_or_never().is_none()), "they are asked for");
    dns.has_been_asked(32).await;
    for name in others {
        let refused = asks(name).await.unwrap_err();
        assert!(matches!(refused, Refusal::NoPlace(NoPlace::ForTheAccount(32))), "{refused:?}");
    }

    assert!(guard.look_up("shop.example", 443, of("shop")).await.is_ok());
}

/// Else whoever has the same name among his own, and no place for it, would have it wait.
#[tokio::test]
async fn a_name_that_an_account_without_a_place_waits_for_is_asked_for_on_behalf_of_the_next() {
    let answering = Arc::new(Notify::new());
    let bounds = Bounds { places: 4, ..Bounds::default() };
    let (guard, mut asked) = guard_with(bounds, &answering);
    assert!(guard.look_up("dead.example", 443, of("crowd")).now_or_never().is_none());
    assert_eq!(asked.recv().await.unwrap(), "dead.example");
    let mut waits = Box::pin(guard.look_up("shop.example", 443, of("crowd")));
    assert!((&mut waits).now_or_never().is_none());

    let addresses = guard.look_up("shop.example", 443, of("shop")).await;

    assert!(addresses.is_ok());
    answering.notify_one();
    assert!(waits.await.is_ok(), "its turn comes with the place that is given back");
}

#[tokio::test]
async fn whoever_finds_no_place_knows_so_before_his_deadline() {
    let answering = Arc::new(Notify::new());
    let (guard, _asked) = guard_with(Bounds { places: 1, ..Bounds::default() }, &answering);
    asks_in_vain(&guard, "dead.example");
    let hasty = Asker { patience: Duration::from_millis(30), ..of("shop") };

    let refused = tokio::time::timeout(hasty.patience, guard.look_up("shop.example", 443, hasty)).await;

    assert!(matches!(refused, Ok(Err(Refusal::NoPlace(NoPlace::ForAnybody(1))))), "{refused:?}");
}

#[tokio::test]
async fn a_place_is_kept_until_its_look_up_has_really_ended_and_who_finds_none_is_told_so() {
    let answering = Arc::new(Notify::new());
    let bounds = Bounds { places: 1, place_within: Duration::ZERO };
    let (guard, mut asked) = guard_with(bounds, &answering);
    asks_in_vain(&guard, "dead.example");
    assert_eq!(asked.recv().await.unwrap(), "dead.example");

    let refused = guard.look_up("shop.example", 443, Asker::default()).await.unwrap_err();
    answering.notify_one();
    let late = guard.look_up("dead.example", 443, Asker::default()).await;
    let afterwards = guard.look_up("shop.example", 443, Asker::default()).await;

    assert!(matches!(refused, Refusal::NoPlace(_)));
    assert!(detail(&refused).contains("are being asked for and none of them is answered"), "{}", detail(&refused));
    assert!(late.is_ok() && afterwards.is_ok());
}

#[tokio::test]
async fn a_look_up_that_has_lasted_for_a_whole_deadline_fails_others_at_once_and_is_not_begun_again() {
    let answering = Arc::new(Notify::new());
    let (guard, mut asked) = guard_with(Bounds::default(), &answering);
    asks_in_vain(&guard, "dead.example");
    asked.recv().await.unwrap();
    let with_deadline = |patience| Asker { patience, ..Asker::default() };

    let hopes = guard.look_up("dead.example", 443, with_deadline(Duration::from_secs(3600))).now_or_never();
    let refused = guard.look_up("dead.example", 443, with_deadline(Duration::ZERO)).now_or_never();
    let another = guard.look_up("shop.example", 443, Asker::default()).await;

    let refused = refused.unwrap().unwrap_err();
    assert!(hopes.is_none(), "as long as an attempt may take it may come still");
    assert_eq!(refused.cause(), Cause::Dns);
    assert!(detail(&refused).contains("no answer has come yet"), "{}", detail(&refused));
    assert!(another.is_ok());
    assert_eq!((asked.recv().await.unwrap().as_str(), asked.try_recv().is_err()), ("shop.example", true));
}

#[tokio::test]
async fn once_it_is_answered_a_name_is_asked_for_anew() {
    let answering = Arc::new(Notify::new());
    let (guard, mut asked) = guard_with(Bounds::default(), &answering);
    asks_in_vain(&guard, "slow.example");
    answering.notify_one();

    let first = guard.look_up("slow.example", 443, Asker::default()).await;
    answering.notify_one();
    let second = guard.look_up("slow.example", 443, Asker::default()).await;

    assert!(first.is_ok() && second.is_ok());
    assert_eq!([asked.recv().await.unwrap(), asked.recv().await.unwrap()], ["slow.example", "slow.example"]);
    assert!(asked.try_recv().is_err());
}
