//! Names that are asked for and never answered: what they hold up, and whom they do not.

use futures::FutureExt;
use tokio::sync::{Notify, mpsc};

use super::{dns::Dns, *};
use crate::{
    client::detail,
    resolver::{Addresses, Bounds},
};

const PUBLIC: &str = "93.184.216.34:0";

fn asking(dns: &Dns) -> Guard {
    Guard { resolver: dns.resolver(), ..Guard::default() }
}

/// Somebody asks for a name, and gives up at once.
fn asks_in_vain(guard: &Guard, name: &str) {
    assert!(guard.look_up(name, 443).now_or_never().is_none(), "{name} is answered");
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
    let addresses = guard.look_up("shop.example", 8443).await.unwrap();

    assert_eq!(addresses, ["93.184.216.34:8443".parse().unwrap()]);
    assert_eq!(dns.asked(), 2);
}

#[tokio::test]
async fn as_long_as_there_is_a_place_names_that_are_not_answered_hold_up_nobody() {
    let dns = Dns::start().await;
    let dead: Vec<_> = (1..Bounds::default().places).map(|number| format!("dead-{number}.example")).collect();
    dead.iter().for_each(|name| dns.silence(name));
    dns.say("shop.example", &["93.184.216.34"]);
    let guard = asking(&dns);

    dead.iter().for_each(|name| asks_in_vain(&guard, name));
    dns.has_been_asked(dead.len()).await;

    assert!(guard.check_url("https://shop.example/").await.is_ok());
    assert_eq!(dns.asked(), dead.len() + 1);
}

#[tokio::test]
async fn a_place_is_kept_until_its_look_up_has_really_ended_and_who_finds_none_is_told_so() {
    let answering = Arc::new(Notify::new());
    let bounds = Bounds { places: 1, place_within: Duration::ZERO, ..Bounds::default() };
    let (guard, mut asked) = guard_with(bounds, &answering);
    asks_in_vain(&guard, "dead.example");
    assert_eq!(asked.recv().await.unwrap(), "dead.example");

    let refused = guard.look_up("shop.example", 443).await.unwrap_err();
    answering.notify_one();
    let late = guard.look_up("dead.example", 443).await;
    let afterwards = guard.look_up("shop.example", 443).await;

    assert_eq!(refused.cause(), Cause::Dns);
    assert!(detail(&refused).contains("1 other names are being asked for"), "{}", detail(&refused));
    assert!(late.is_ok() && afterwards.is_ok());
}

#[tokio::test]
async fn a_look_up_that_nobody_can_hope_for_any_more_fails_others_at_once_and_is_not_begun_again() {
    let answering = Arc::new(Notify::new());
    let bounds = Bounds { hopeless_after: Duration::ZERO, ..Bounds::default() };
    let (guard, mut asked) = guard_with(bounds, &answering);
    asks_in_vain(&guard, "dead.example");
    asked.recv().await.unwrap();

    let refused = guard.look_up("dead.example", 443).now_or_never().unwrap().unwrap_err();
    let another = guard.look_up("shop.example", 443).await;

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

    let first = guard.look_up("slow.example", 443).await;
    answering.notify_one();
    let second = guard.look_up("slow.example", 443).await;

    assert!(first.is_ok() && second.is_ok());
    assert_eq!([asked.recv().await.unwrap(), asked.recv().await.unwrap()], ["slow.example", "slow.example"]);
    assert!(asked.try_recv().is_err());
}
