//! The apps: `tests/clients/ruby/app.rb`, a process for each door.

use std::{path::Path, process::Stdio};

use serde::Deserialize;
use tokio::{process::Command, task::JoinHandle};

use super::{fleet::Fleet, scene::Scene};

/// As the program names them.
pub(super) const DOORS: [&str; 4] = ["one", "batch", "redis", "outbox"];

/// What an app says that it did.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Said {
    pub(super) sent: usize,
    pub(super) repeated: usize,
    pub(super) accepted: usize,
}

/// Whether it can be run here. What cannot is said, where whoever reads the test's output sees it: then nothing was shown.
pub(super) async fn is_at_hand() -> bool {
    let found = Command::new("ruby").arg("--version").output().await.is_ok_and(|said| said.status.success());
    if !found {
        eprintln!("NOT TESTED: ruby is missing, so nothing is known of an app in another language");
    }
    found
}

/// Starts the one that goes through this door. It ends when all of its events are taken.
pub(super) fn starts(door: &str, events: usize, scene: &Scene, fleet: &Fleet) -> JoinHandle<Said> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/ruby/app.rb");
    let mut command = Command::new("ruby");
    command.arg(program).arg(door).arg(events.to_string());
    command.env("LATCHHOOK_URL", format!("http://{}", fleet.front.address)).env("LATCHHOOK_TOKEN", &scene.token);
    command.env("REDIS_URL", &scene.pipeline.test_redis.url);
    command.env("LATCHHOOK_PREFIX", &scene.pipeline.test_redis.prefix);
    command.env("APP_DATABASE_URL", &scene.app_database.url);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let app = command.spawn().unwrap();
    let door = door.to_owned();
    tokio::spawn(async move {
        let output = app.wait_with_output().await.unwrap();
        assert!(output.status.success(), "the app at the door {door} failed: {}", output.status);
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

/// Waits for all of them.
pub(super) async fn end<const N: usize>(apps: [JoinHandle<Said>; N]) -> [Said; N] {
    let ended = futures::future::join_all(apps).await;
    ended.into_iter().map(Result::unwrap).collect::<Vec<_>>().try_into().unwrap()
}
