//! The certificates that PayPal signs with: who is asked for them, how often, and who waits meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use producer::{Certificates, Refusal};
use tokio::{sync::Barrier, task::JoinSet};
use vocabulary::Source;

use super::{
    door::{Door, Plan, eventually},
    http::exchange,
    paypal::{PayPal, Shown, at_paypal, certificate, certificate_until, forged, paypal_source, signed},
};

/// A door for one source, `pp`, that comes by certificates in this way.
async fn door(certificates: Certificates) -> Door {
    let redis = tests::redis().await;
    let door = Plan { certificates, ..Plan::default() }.open(&redis.url, &redis.prefix).await;
    know(&door, &paypal_source("pp", "shop")).await;
    door
}

/// The door hears of a source, and of no other.
async fn know(door: &Door, source: &Source) {
    door.publish(2, std::slice::from_ref(source), Utc::now()).await;
    door.intake.look(Utc::now()).await;
}

async fn fetched(certificates: &Certificates) {
    eventually("no fetch is under way", async || certificates.under_way() == 0).await;
}

/// Whether a certificate is at hand; if a fetch has begun for it, once that has ended.
async fn is_at_hand(certificates: &Certificates, account: &str, url: &str, now: DateTime<Utc>) -> bool {
    let found = certificates.look_up(&paypal_source("pp", account), url, now);
    fetched(certificates).await;
    found.is_some()
}

#[tokio::test]
async fn a_request_whose_certificate_is_not_at_hand_gets_503_and_is_taken_when_it_comes_again() {
    let (paypal, url) = (PayPal::start().await, at_paypal("CERT-1"));
    paypal.show(&url, Shown::Text(certificate()));
    let certificates = paypal.certificates();
    let door = door(certificates.clone()).await;

    let first = exchange(door.address, &signed("pp", &url)).await;
    fetched(&certificates).await;
    let second = exchange(door.address, &signed("pp", &url)).await;
    let third = exchange(door.address, &signed("pp", &url)).await;

    assert_eq!((first.error(), first.retry_after().is_some()), ((503, "not taken, try again later".into()), true));
    assert_eq!((second.status, third.status), (200, 200));
    assert_eq!(paypal.asked(), ["/v1/notifications/certs/CERT-1"]);
    assert_eq!((door.stored().await.len(), door.intake.counters().refused(Refusal::Certificate)), (2, 1));
}

#[tokio::test]
async fn a_certificate_at_hand_vouches_for_what_its_key_has_signed_and_for_nothing_else() {
    let (paypal, url) = (PayPal::start().await, at_paypal("CERT-1"));
    paypal.show(&url, Shown::Text(certificate()));
    let certificates = paypal.certificates();
    let door = door(certificates.clone()).await;
    assert_eq!(exchange(door.address, &forged("pp", &url)).await.status, 503);
    fetched(&certificates).await;

    assert_eq!(exchange(door.address, &forged("pp", &url)).await.status, 401);

    assert_eq!(exchange(door.address, &signed("pp", &url)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_are_one_fetch_and_none_of_them_waits_for_it() {
    let (paypal, url) = (PayPal::start().await, at_paypal("CERT-1"));
    paypal.show(&url, Shown::Text(certificate()));
    paypal.answers(false);
    let certificates = paypal.certificates();
    let door = door(certificates.clone()).await;

    let (all, mut requests) = (Arc::new(Barrier::new(50)), JoinSet::new());
    for _ in 0..50 {
        let (all, address, request) = (all.clone(), door.address, signed("pp", &url));
        requests.spawn(async move {
            all.wait().await;
            exchange(address, &request).await.status
        });
    }
    let statuses = requests.join_all().await;
    paypal.answers(true);
    fetched(&certificates).await;

    assert_eq!(statuses, [503; 50]);
    assert_eq!(paypal.asked().len(), 1);
    assert_eq!(exchange(door.address, &signed("pp", &url)).await.status, 200);
}

#[tokio::test]
async fn an_address_that_is_not_paypals_is_answered_401_and_nobody_is_asked() {
    let paypal = PayPal::start().await;
    let certificates = paypal.certificates();
    let door = door(certificates.clone()).await;

    for url in [
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://www.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/oauth2/token",
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://127.0.0.1/v1/notifications/certs/CERT-1",
    ] {
        assert_eq!(exchange(door.address, &signed("pp", url)).await.status, 401, "{url}");
        assert_eq!(certificates.under_way(), 0, "{url}");
    }
    assert_eq!(paypal.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn whatever_is_wrong_with_what_is_there_the_sender_is_told_to_come_back_and_paypal_is_asked_once() {
    let paypal = PayPal::start().await;
    let ended = certificate_until(Utc::now() - Duration::from_mins(1));
    let wrong = [
        ("CERT-ended", Shown::Text(ended)),
        ("CERT-none", Shown::Text("<html>".into())),
        ("CERT-long", Shown::Text(format!("{}{}", certificate(), "x".repeat(64 * 1024)))),
        ("CERT-moved", Shown::Elsewhere("/v1/notifications/certs/CERT-right".into())),
    ];
    paypal.show(&at_paypal("CERT-right"), Shown::Text(certificate()));
    let certificates = paypal.certificates();
    let door = door(certificates.clone()).await;

    for (count, (id, shown)) in (1..).zip(wrong) {
        paypal.show(&at_paypal(id), shown);
        for _ in 0..2 {
            let response = exchange(door.address, &signed("pp", &at_paypal(id))).await;
            fetched(&certificates).await;
            assert_eq!((response.status, response.retry_after().is_some()), (503, true), "{id}");
        }
        assert_eq!(paypal.asked().len(), count, "{id}");
    }
}

#[tokio::test]
async fn an_address_that_was_asked_in_vain_is_asked_again_after_a_minute_and_not_before() {
    let (paypal, url, now) = (PayPal::start().await, at_paypal("CERT-1"), Utc::now());
    let certificates = paypal.certificates();
    assert!(!is_at_hand(&certificates, "shop", &url, now).await);
    paypal.show(&url, Shown::Text(certificate()));

    assert!(!is_at_hand(&certificates, "shop", &url, now + TimeDelta::milliseconds(59_999)).await);
    assert_eq!(paypal.asked().len(), 1);
    assert!(!is_at_hand(&certificates, "shop", &url, now + TimeDelta::minutes(1)).await);

    assert!(is_at_hand(&certificates, "shop", &url, now + TimeDelta::minutes(1)).await);
    assert_eq!(paypal.asked().len(), 2);
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nobody_wait_for_longer_than_a_minute() {
    let (paypal, url, now) = (PayPal::start().await, at_paypal("CERT-1"), Utc::now());
    let certificates = paypal.certificates();
    assert!(!is_at_hand(&certificates, "shop", &url, now).await);

    for (back, asked) in [(30, 1), (59, 1), (60, 2)] {
        assert!(!is_at_hand(&certificates, "shop", &url, now - TimeDelta::seconds(back)).await);
        assert_eq!(paypal.asked().len(), asked, "{back}");
    }
}

#[tokio::test]
async fn a_certificate_is_kept_to_its_end_and_then_fetched_anew() {
    let (paypal, url) = (PayPal::start().await, at_paypal("CERT-1"));
    let now = DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap();
    let end = now + TimeDelta::hours(1);
    paypal.show(&url, Shown::Text(certificate_until(end)));
    let certificates = paypal.certificates();
    assert!(!is_at_hand(&certificates, "shop", &url, now).await);
    paypal.show(&url, Shown::Text(certificate_until(end + TimeDelta::hours(1))));

    assert!(is_at_hand(&certificates, "shop", &url, end).await);
    assert_eq!(paypal.asked().len(), 1);
    assert!(!is_at_hand(&certificates, "shop", &url, end + TimeDelta::milliseconds(1)).await);

    assert!(is_at_hand(&certificates, "shop", &url, end + TimeDelta::hours(1)).await);
    assert_eq!(paypal.asked().len(), 2);
}

/// Looks so many addresses up at one moment, in turn, and says how many of them PayPal was asked for.
async fn try_out(paypal: &PayPal, certificates: &Certificates, account: &str, ids: usize, now: DateTime<Utc>) -> usize {
    let before = paypal.asked().len();
    for id in 0..ids {
        is_at_hand(certificates, account, &at_paypal(&format!("CERT-{account}-{id}")), now).await;
    }
    paypal.asked().len() - before
}

#[tokio::test]
async fn who_goes_through_addresses_holds_up_his_own_account_and_nobody_else_before_he_has_four() {
    let (paypal, now) = (PayPal::start().await, Utc::now());
    let certificates = paypal.certificates();

    let of_one = try_out(&paypal, &certificates, "a", 20, now).await;
    let of_three_more = [
        try_out(&paypal, &certificates, "b", 20, now).await,
        try_out(&paypal, &certificates, "c", 20, now).await,
        try_out(&paypal, &certificates, "d", 20, now).await,
    ];
    let of_a_fifth = try_out(&paypal, &certificates, "e", 20, now).await;

    assert_eq!((of_one, of_three_more, of_a_fifth), (16, [16; 3], 0));
    assert_eq!(try_out(&paypal, &certificates, "e", 20, now + TimeDelta::minutes(1)).await, 16);
}

#[tokio::test]
async fn what_was_fetched_well_counts_too_so_that_nobody_makes_us_fetch_without_end() {
    let (paypal, now) = (PayPal::start().await, Utc::now());
    for id in 0..20 {
        paypal.show(&at_paypal(&format!("CERT-a-{id}")), Shown::Text(certificate()));
    }

    let of_one = try_out(&paypal, &paypal.certificates(), "a", 20, now).await;

    assert_eq!(of_one, 16);
}

#[tokio::test]
async fn the_certificate_in_use_is_pushed_out_by_no_others_however_many_are_named() {
    let (paypal, url) = (PayPal::start().await, at_paypal("CERT-in-use"));
    paypal.show(&url, Shown::Text(certificate()));
    for id in 0..80 {
        paypal.show(&at_paypal(&format!("CERT-{id}")), Shown::Text(certificate()));
    }
    let certificates = paypal.certificates();
    let door = door(certificates.clone()).await;
    exchange(door.address, &signed("pp", &url)).await;
    fetched(&certificates).await;
    assert_eq!(exchange(door.address, &signed("pp", &url)).await.status, 200);

    // Sixteen a minute, as fast as one account may.
    let later = |id: i32| Utc::now() + TimeDelta::minutes(2 + i64::from(id / 16));
    for id in 0..80 {
        is_at_hand(&certificates, "stranger", &at_paypal(&format!("CERT-{id}")), later(id)).await;
    }

    assert_eq!(paypal.asked().len(), 81);
    assert!(is_at_hand(&certificates, "shop", &url, later(80)).await);
    assert!(is_at_hand(&certificates, "stranger", &at_paypal("CERT-17"), later(80)).await);
    assert!(!is_at_hand(&certificates, "stranger", &at_paypal("CERT-16"), later(80)).await, "no more than 64 are kept");
}

#[tokio::test]
async fn a_fetch_that_panics_is_a_failure_like_any_other() {
    let (begun, now) = (Arc::new(AtomicUsize::new(0)), Utc::now());
    let counted = begun.clone();
    let certificates = Certificates::new(move |_| {
        counted.fetch_add(1, Relaxed);
        panic!("a bug")
    });

    for (seconds, expected) in [(0, 1), (59, 1), (60, 2)] {
        assert!(!is_at_hand(&certificates, "shop", &at_paypal("CERT-1"), now + TimeDelta::seconds(seconds)).await);
        assert_eq!(begun.load(Relaxed), expected, "{seconds}");
    }
}

#[tokio::test]
async fn with_a_certificate_of_its_own_a_source_needs_nobody_to_be_asked_and_without_one_it_needs_a_way() {
    let door = door(Certificates::default()).await;
    let without = exchange(door.address, &signed("pp", &at_paypal("CERT-1"))).await;

    let settings = serde_json::json!({"certificates": certificate()}).as_object().unwrap().clone();
    door.publish(3, &[Source { settings, ..paypal_source("pp", "shop") }], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    let with = exchange(door.address, &signed("pp", &at_paypal("CERT-1"))).await;

    assert_eq!((without.error().0, without.retry_after().is_some(), with.status), (503, true, 200));
}
