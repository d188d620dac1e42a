//! The fleet: real processes of the real binary, which are killed as the work goes on, and come back.
//!
//! The dispatcher alone lives on: one that is killed sends again what it was sending, under the same id, and what is counted
//! here is how often a customer is told who has no dead dispatchers.

use tests::{Front, Pipeline, Process};

use super::scene::Scene;

const WORKERS: usize = 2;
/// One that is dead for longer has lost its jobs to the other: shorter than in production, so that this does not wait long.
const LEASES: [&str; 2] = ["--worker-lease=2s", "--claim-lease=3s"];

pub(super) struct Fleet<'s> {
    scene: &'s Scene,
    workers: Vec<Process>,
    intake: Process,
    /// Before the intake, as a load balancer is.
    pub(super) front: Front,
    forwarder: Process,
    dispatcher: Process,
}

impl<'s> Fleet<'s> {
    pub(super) async fn start(scene: &'s Scene) -> Self {
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            workers.push(worker(&scene.pipeline).await);
        }
        let intake = intake(&scene.pipeline).await;
        let front = Front::of(intake.address()).await;
        let dispatcher = Process::start(&scene.pipeline, "dispatcher", None, &[]).await;
        Self { scene, workers, intake, front, forwarder: forwarder(scene).await, dispatcher }
    }

    /// Each time that a part of the events is recorded one of the workers is killed, and by turns the intake or the forwarder
    /// too; until all is recorded, or it is clear that it will not be.
    pub(super) async fn dies_over_and_over(&mut self, events: usize) {
        let deaths = 8 + events / 1_000;
        for death in 0..deaths {
            if !self.scene.has_recorded(events * death / deaths).await {
                return;
            }
            self.lose_one(death).await;
        }
    }

    /// Whoever is replaced is dropped, which is SIGKILL.
    async fn lose_one(&mut self, death: usize) {
        self.workers[death % WORKERS] = worker(&self.scene.pipeline).await;
        if death.is_multiple_of(2) {
            self.intake = intake(&self.scene.pipeline).await;
            self.front.leads_to(self.intake.address());
        } else {
            self.forwarder = forwarder(self.scene).await;
        }
    }

    /// Ends all of them in order.
    pub(super) async fn stop(self) {
        for process in self.workers.into_iter().chain([self.intake, self.forwarder, self.dispatcher]) {
            process.stop().await;
        }
    }
}

async fn worker(pipeline: &Pipeline) -> Process {
    Process::start(pipeline, "worker", None, &LEASES).await
}

async fn intake(pipeline: &Pipeline) -> Process {
    Process::start(pipeline, "producer", None, &[]).await
}

async fn forwarder(scene: &Scene) -> Process {
    let outbox = format!("--outbox-url={}", scene.app_database.url);
    Process::start(&scene.pipeline, "forwarder", None, &[&outbox]).await
}
