//! What is being read takes memory too: whose it is counts from the first byte on.

use chrono::Utc;
use producer::IntakeSettings;

use super::{
    door::{Door, Plan, TOKEN, enqueue, eventually, open_to_apps, raw_events_of, signature, signed},
    http::{Connection, exchange, head},
};

/// A door of so much memory, for the sources `wa` and `other`, whose apps may have 100 bytes on their way each.
async fn of_memory(reading_bytes: usize) -> Door {
    let redis = tests::redis().await;
    let intake = IntakeSettings { reading_bytes, source_bytes: 100, ..IntakeSettings::default() };
    let door = Plan { intake, ..Plan::default() }.open(&redis.url, &redis.prefix).await;
    door.publish(2, &[open_to_apps("wa"), open_to_apps("other")], Utc::now()).await;
    door.intake.look(Utc::now()).await;
    door
}

/// Begins a body of so many bytes, and keeps the last one back.
async fn all_but_one(door: &Door, target: &str, shown: (&str, &str), bytes: usize) -> Connection {
    let mut connection = Connection::open(door.address).await;
    connection.send(&head(target, &[shown, ("content-length", &bytes.to_string())])).await;
    connection.send(&vec![b'x'; bytes - 1]).await;
    connection
}

async fn status(door: &Door, source: &str, bytes: usize) -> u16 {
    exchange(door.address, &enqueue(source, &[], &vec![b'x'; bytes])).await.status
}

#[tokio::test]
async fn bodies_of_an_app_that_are_not_ended_count_as_its_own_and_are_in_nobody_elses_way() {
    let door = of_memory(400).await;
    let token = format!("Bearer {TOKEN}");
    let shown = ("authorization", token.as_str());

    let mut slow = all_but_one(&door, &raw_events_of("wa"), shown, 91).await;
    eventually("its bytes are there", async || status(&door, "wa", 20).await == 429).await;
    let mut second = all_but_one(&door, &raw_events_of("wa"), shown, 91).await;
    let refused = second.receive().await.unwrap();
    let (other, hook) = (status(&door, "other", 90).await, exchange(door.address, &signed(&[b'x'; 90])).await.status);
    slow.send(b"x").await;

    assert_eq!((refused.error().0, refused.retry_after().is_some()), (429, true));
    assert_eq!((other, hook, slow.receive().await.unwrap().status), (202, 200, 202));
    assert_eq!(status(&door, "wa", 100).await, 202, "it is given back");
}

#[tokio::test]
async fn strangers_at_the_door_of_one_source_leave_room_for_the_others() {
    let door = of_memory(400).await;
    let body = [b'x'; 90];
    let (tag, nobody) = (signature(super::door::SECRET, &body), ("x-hub-signature-256", "sha256=00"));
    let posted = super::http::post("/hooks/other", &[("x-hub-signature-256", &tag)], &body);

    let _stranger = all_but_one(&door, "/hooks/wa", nobody, 91).await;
    eventually("its bytes are there", async || exchange(door.address, &signed(&[b'x'; 20])).await.status == 503).await;
    let another = all_but_one(&door, "/hooks/wa", nobody, 91).await.receive().await.unwrap();
    let (other, app) = (exchange(door.address, &posted).await.status, status(&door, "wa", 90).await);

    assert_eq!((another.error().0, another.retry_after().is_some()), (503, true));
    assert_eq!((other, app), (200, 202));
}
