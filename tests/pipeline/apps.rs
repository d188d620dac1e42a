//! An app in another language, which has nothing of ours but what anybody may copy: its events go in through every door there
//! is, while workers, the intake and the forwarder are killed and come back. Each is recorded once, and delivered once to a
//! customer that counts.
//!
//! `./justw from-another-language` does the same with 100,000 events, and prints what everybody has counted.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

mod apps {
    mod customer;
    mod fleet;
    mod ruby;
    mod scene;
    mod tally;

    use std::env;

    use super::apps::{fleet::Fleet, ruby::DOORS, scene::Scene, tally::Tally};

    /// How many, if nobody says otherwise: enough that every door is open while every process dies.
    const EVENTS: usize = 2_000;

    fn how_many() -> usize {
        env::var("LATCHHOOK_APP_EVENTS").map_or(EVENTS, |events| events.parse().expect("a number of events"))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_an_app_enqueues_through_any_door_is_recorded_and_delivered_once_while_processes_are_killed() {
        if !ruby::is_at_hand().await {
            return;
        }
        let (events, scene) = (how_many(), Scene::new().await);
        let mut fleet = Fleet::start(&scene).await;

        let apps = DOORS.map(|door| ruby::starts(door, events, &scene, &fleet));
        fleet.dies_over_and_over(events).await;
        let apps = ruby::end(apps).await;
        scene.stands().await;
        fleet.stop().await;

        let (tally, (audit, found_nothing)) = (Tally::of(&scene, events, apps).await, scene.audit().await);
        println!("{tally}\n{audit}");
        assert!(found_nothing, "{tally}");
        assert_eq!(
            (tally.sent(), tally.accepted(), tally.repeated()),
            (events + events / 10, tally.sent(), events / 10)
        );
        assert!(tally.deduplicated >= tally.repeated(), "{tally}");
        assert_eq!((tally.recorded, tally.delivered, tally.missing, tally.twice), (events, events, 0, 0), "{tally}");
        assert!(scene.has_committed_with_its_own_rows(tally.accepted_at("outbox")).await, "{tally}");
    }
}
