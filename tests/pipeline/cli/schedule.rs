//! Schedules: refused at the door where they make no sense, previewed where one looks.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tests::{Pipeline, a_text};

use super::{CommandLine, stores};

fn at(moment: &Value) -> DateTime<Utc> {
    moment.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_shows_when_each_attempt_would_be_made_and_when_a_delivery_would_be_given_up() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let add = "endpoint add --account acme --url http://127.0.0.1:9/ --events * --id own --schedule 10s,2h";

    latchhook.json(add).await;
    let own = latchhook.json("endpoint show own").await;
    let fleets = latchhook.json("endpoint show bot").await;
    let told = latchhook.json("endpoint show bot --retry-after 1m").await;
    let for_people = latchhook.run("endpoint show own").await.out;

    let attempts = json!([
        {"attempt": 1, "after_s": 0.0, "at_most_s": 0.0},
        {"attempt": 2, "after_s": 10.0, "at_most_s": 11.0},
        {"attempt": 3, "after_s": 7210.0, "at_most_s": 7811.0},
    ]);
    assert_eq!((&own["schedule_s"], &own["attempts"]), (&json!([10, 7200]), &attempts));
    assert_eq!((&own["gives_up_after_s"], &own["gives_up_after_at_most_s"]), (&json!(7210.0), &json!(7811.0)));
    assert_eq!(fleets["gives_up_after_s"], json!(272_105.0), "75 h 35 min 5 s");
    assert_eq!(told["gives_up_after_s"], json!(60.0));
    assert!(for_people.contains("2h 10s; with jitter 2h 10m 11s at most"), "{for_people}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_of_none_is_one_attempt_and_an_endpoint_that_is_added_again_without_one_has_the_fleets() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    let add = "endpoint add --account acme --url http://127.0.0.1:9/ --events * --id own";

    latchhook.json(&format!("{add} --schedule none")).await;
    let once = latchhook.json("endpoint show own").await;
    latchhook.json(add).await;
    let fleets = latchhook.json("endpoint show own").await;

    assert_eq!((&once["schedule_s"], &once["gives_up_after_s"]), (&json!([]), &json!(0.0)));
    assert_eq!(once["attempts"].as_array().unwrap().len(), 1);
    assert_eq!((&fleets["schedule_s"], fleets["attempts"].as_array().unwrap().len()), (&Value::Null, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_out_of_bounds_is_refused_and_nothing_is_added() {
    let (_database, _redis, latchhook) = stores().await;
    latchhook.json("account add --id acme --name Acme").await;
    let fifty_one = vec!["1s"; 51].join(",");
    let refused = [
        ("8d", "a pause is from 1s to 7d, in whole seconds, and not 8d"),
        ("5s,500ms", "a pause is from 1s to 7d, in whole seconds, and not 500ms"),
        ("5", "\"5\" is no time: the pauses of a schedule are times with commas"),
        (&fifty_one, "a schedule has 1 to 50 pauses, not 51"),
    ];

    for (schedule, what) in refused {
        let add = "endpoint add --account acme --url http://127.0.0.1:9/ --events *";
        let failure = latchhook.fails(&format!("{add} --schedule {schedule}")).await;
        assert!(failure.contains("--schedule") && failure.contains(what), "{failure}");
    }

    assert_eq!(latchhook.json("endpoint list").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_delivery_says_when_it_is_tried_next_and_when_it_is_given_up_at_the_latest() {
    let pipeline = Pipeline::new().await;
    let latchhook = CommandLine::of(&pipeline);
    pipeline.receive(a_text("wamid.1", "hello")).await;
    pipeline.execute("UPDATE endpoints SET schedule_s = '{10,100,1000}'").await;
    pipeline.execute("UPDATE due SET attempts = 1, due_at = now() + interval '100 seconds'").await;

    let delivery = latchhook.json("deliveries list").await[0].clone();
    let story = latchhook.json("events show wamid.1").await;
    latchhook.json("endpoint disable bot").await;
    let held = latchhook.json("deliveries list").await[0].clone();

    let left = TimeDelta::seconds(110 + 1100);
    assert_eq!(at(&delivery["gives_up_at"]), at(&delivery["due_at"]) + left);
    assert_eq!(story["deliveries"][0]["gives_up_at"], delivery["gives_up_at"]);
    let told = story["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!(told["what"], "given up for bot, at the latest, if every attempt fails");
    assert_eq!(at(&told["at"]), at(&delivery["gives_up_at"]));
    assert_eq!((&held["held"], &held["gives_up_at"]), (&json!(true), &Value::Null));
}
