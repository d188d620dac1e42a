//! How wide a role is: threads that bear its name.

use std::thread::available_parallelism;

use tests::{Pipeline, Process, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_role_has_a_thread_for_every_two_cores_alone_as_beside_others() {
    let pipeline = Pipeline::new().await;
    let one_for_two_cores = available_parallelism().unwrap().get().div_ceil(2);

    let alone = Process::start(&pipeline, "worker", None, &[]).await;
    let beside = Process::start(&pipeline, "worker,dispatcher", None, &[]).await;

    for (process, role) in [(&alone, "worker"), (&beside, "worker"), (&beside, "dispatcher")] {
        until("its threads have their names", async || process.threads(role) == one_for_two_cores).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_has_as_many_threads_as_it_is_told() {
    let pipeline = Pipeline::new().await;
    let two_more = available_parallelism().unwrap().get().div_ceil(2) + 2;

    let process = Process::start(&pipeline, "worker,dispatcher", None, &[&format!("--threads={two_more}")]).await;

    for role in ["worker", "dispatcher"] {
        until("its threads have their names", async || process.threads(role) == two_more).await;
    }
}
