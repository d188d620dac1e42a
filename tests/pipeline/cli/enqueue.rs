//! `latchhook enqueue`: raw events from files.

use queue::Redis;

use super::{setup::ADD_SOURCE, stores};

#[tokio::test(flavor = "multi_thread")]
async fn files_are_enqueued_under_numbers_that_follow_each_other() {
    let (_database, redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    latchhook.json(ADD_SOURCE).await;
    let dir = latchhook::servers::ScratchDir::new().unwrap();
    let files = ["a", "b", "c"].map(|name| dir.path().join(name));
    files.iter().for_each(|file| std::fs::write(file, b"\xff{}").unwrap());
    let [a, b, c] = files.map(|file| file.display().to_string());

    let enqueued = latchhook.json(&format!("enqueue --source wa {a} {b} {c}")).await;

    let numbers: Vec<_> = enqueued.as_array().unwrap().iter().map(|it| it["raw_event"].as_str().unwrap()).collect();
    let numbers: Vec<_> = numbers.iter().map(|stamp| stamp.rsplit_once('-').unwrap().1).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    let inbound = queue::Inbound::new(&Redis::new(&redis.url, &redis.prefix).unwrap());
    assert_eq!(inbound.depth().await.unwrap().ready, 3);
    assert!(latchhook.fails(&format!("enqueue --source wa {a} missing")).await.contains("nothing was enqueued"));
    assert_eq!(inbound.depth().await.unwrap().ready, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_larger_than_its_source_takes_is_refused_and_of_its_headers_those_are_kept_that_the_intake_keeps()
 {
    let (_database, redis, latchhook) = stores().await;
    latchhook.json("account add --id acme").await;
    let add = "source add --provider generic --account acme --id own --name Own --app-secret s --max-body 2KiB";
    latchhook
        .json(&format!("{add} --setting algorithm=equal --setting signature_header=x-token --setting key_header=x-id"))
        .await;
    let dir = latchhook::servers::ScratchDir::new().unwrap();
    let files = [("fits", 2048), ("large", 2049)].map(|(name, bytes)| {
        std::fs::write(dir.path().join(name), vec![b'x'; bytes]).unwrap();
        dir.path().join(name).display().to_string()
    });
    let inbound = queue::Inbound::new(&Redis::new(&redis.url, &redis.prefix).unwrap());

    let refused = latchhook.fails(&format!("enqueue --source own {} {}", files[0], files[1])).await;
    let before = inbound.depth().await.unwrap().ready;
    latchhook.json(&format!("enqueue --source own --header X-Id:1 --header X-Token:s {}", files[0])).await;

    let why =
        "is too large for source own (its --max-body), nothing was enqueued: the body has 2049 bytes, of 2048 that";
    assert!(refused.contains(why) && refused.contains(&files[1]), "{refused}");
    assert_eq!((before, inbound.depth().await.unwrap().ready), (0, 1));
    let mut connection = redis::Client::open(redis.url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let ask = redis::cmd("HVALS").arg(format!("{}:inbound:data", redis.prefix)).to_owned();
    let jobs: Vec<Vec<u8>> = ask.query_async(&mut connection).await.unwrap();
    let job = vocabulary::Job::decode(&jobs[0].clone().into()).unwrap();
    assert_eq!(job.entries[0].raw_event.headers, [("x-id".to_owned(), "1".to_owned())]);
    assert!(latchhook.fails("enqueue --source own --header X-Id Cargo.toml").await.contains("NAME: VALUE"));
}
