//! Secrets that are rotated while deliveries are owed: a customer can always verify, and what has ended signs nothing more.

use chrono::{DateTime, TimeDelta, Utc};
use database::endpoints::secrets::{RotateError, Rotation, rotate};
use diesel_async::AsyncConnection;
use dispatcher::signing::{PublicKey, SigningSecret};
use secrecy::SecretString;
use vocabulary::MasterKey;

use crate::{
    customer::{Customer, Received},
    promises::the_clock_shows_another_second,
    setting::{Setting, body, dispatch_all},
};

/// Gives `bot` another secret; the others sign for an hour more.
async fn rotated_to(setting: &Setting, secret: &SecretString) {
    let now = Utc::now();
    let rotation = Rotation { secret, others_end: now + TimeDelta::hours(1), now };
    let mut connection = setting.database.connection().await.unwrap();
    let rotating = connection.transaction(async |connection| -> Result<usize, RotateError> {
        rotate(connection, &setting.master, &"bot".parse().unwrap(), &rotation).await
    });
    rotating.await.unwrap();
}

/// What ends some day ends now, as it would once its overlap is over.
async fn overlaps_are_over(setting: &Setting) {
    setting.execute("UPDATE endpoints SET secret_ends = array_replace(secret_ends, secret_ends[1], now())").await;
}

fn signatures(request: &Received) -> usize {
    request.header("webhook-signature").split(' ').count()
}

#[tokio::test(flavor = "multi_thread")]
async fn during_an_overlap_the_holder_of_either_secret_is_content_and_afterwards_only_that_of_the_new_one() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let new = SigningSecret::generate();
    let mut dispatcher = setting.dispatcher();

    setting.owe("bot", "before").await;
    dispatch_all(&mut dispatcher).await;
    rotated_to(&setting, &new).await;
    setting.owe("bot", "during").await;
    dispatch_all(&mut dispatcher).await;
    overlaps_are_over(&setting).await;
    setting.owe("bot", "after").await;
    dispatch_all(&mut dispatcher).await;

    let received = customer.received();
    let by_old: Vec<_> = received.iter().map(|request| request.is_signed_by(&setting.secret)).collect();
    let by_new: Vec<_> = received.iter().map(|request| request.is_signed_by(&new)).collect();
    assert_eq!((by_old, by_new), (vec![true, true, false], vec![false, true, true]));
    assert_eq!(received.iter().map(signatures).collect::<Vec<_>>(), [1, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_the_overlap_has_the_same_id_and_bytes_and_no_signature_that_has_ended() {
    let customer = Customer::answering(&[500, 200]).await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let new = SigningSecret::generate();
    rotated_to(&setting, &new).await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher();

    dispatch_all(&mut dispatcher).await;
    overlaps_are_over(&setting).await;
    setting.pauses_are_over().await;
    the_clock_shows_another_second().await;
    dispatch_all(&mut dispatcher).await;

    let [first, second] = &customer.received()[..] else { panic!("two attempts") };
    assert_eq!((first.id(), &first.body), (second.id(), &second.body));
    assert_eq!(second.body, body("bot-1"));
    assert_ne!(first.header("webhook-timestamp"), second.header("webhook-timestamp"));
    assert!(first.is_signed_by(&new) && first.is_signed_by(&setting.secret));
    assert!(second.is_signed_by(&new) && !second.is_signed_by(&setting.secret));
    let shared = first.header("webhook-signature").split(' ').any(|it| second.header("webhook-signature").contains(it));
    assert!(!shared, "a signature of the first attempt came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_may_go_over_to_ed25519_and_its_customer_needs_the_public_side_only() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    let new = SigningSecret::generate_ed25519();
    let public_key = SigningSecret::parse(&new).unwrap().public_key().unwrap().to_string();
    rotated_to(&setting, &new).await;
    let mut dispatcher = setting.dispatcher();

    setting.owe("bot", "during").await;
    dispatch_all(&mut dispatcher).await;
    overlaps_are_over(&setting).await;
    setting.owe("bot", "after").await;
    dispatch_all(&mut dispatcher).await;

    let received = customer.received();
    let key = PublicKey::parse(&public_key).unwrap();
    let by_key = received.iter().map(|it| key.verify(&it.headers, &it.body, Utc::now()).is_ok()).collect::<Vec<_>>();
    let by_old = received.iter().map(|it| it.is_signed_by(&setting.secret)).collect::<Vec<_>>();
    assert_eq!((by_key, by_old), (vec![true, true], vec![true, false]));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_secret_has_ended_nothing_is_sent_until_there_is_a_new_one() {
    let customer = Customer::content().await;
    let setting = Setting::with_endpoint(&customer.url).await;
    setting.execute("UPDATE endpoints SET secret_ends = ARRAY[now()]").await;
    setting.owe("bot", "1").await;
    let mut dispatcher = setting.dispatcher();

    dispatch_all(&mut dispatcher).await;
    let unsent = setting.attempts().await;
    let detail: String = setting.rows("SELECT detail FROM attempts").await[0].get(0);
    let new = SigningSecret::generate();
    rotated_to(&setting, &new).await;
    setting.pauses_are_over().await;
    dispatch_all(&mut dispatcher).await;

    assert_eq!(unsent, [("secret".to_owned(), None)]);
    assert!(detail.contains("have ended") && detail.contains("latchhook endpoint rotate"), "{detail}");
    let received = customer.received();
    assert_eq!((received.len(), signatures(&received[0])), (1, 1), "what had ended is gone");
    assert!(received[0].is_signed_by(&new));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_whose_master_key_is_lost_can_be_replaced_and_one_that_goes_on_signing_must_open() {
    let setting = Setting::with_endpoint("https://bot.example/").await;
    let another_key = MasterKey::parse(&MasterKey::generate()).unwrap();
    let (now, bot) = (Utc::now(), "bot".parse().unwrap());
    let secret = SigningSecret::generate();
    let mut connection = setting.database.connection().await.unwrap();
    let mut rotated = async |others_end: DateTime<Utc>| {
        let rotation = Rotation { secret: &secret, others_end, now };
        connection.transaction(async |conn| rotate(conn, &another_key, &bot, &rotation).await).await
    };

    let beside = rotated(now + TimeDelta::hours(1)).await;
    let instead = rotated(now).await;

    assert!(matches!(beside, Err(RotateError::Open(_))), "{beside:?}");
    assert_eq!(instead.unwrap(), 1);
}
