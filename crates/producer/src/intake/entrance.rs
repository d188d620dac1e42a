//! Where connections come in: as many as there are places, and the next one waits with its foot in the door.

use std::{
    io::{Error, ErrorKind},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tracing::warn;

/// After an accept that failed for want of something (file descriptors), until some may have been given back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Accepts that fail within this of each other are one spell, which is logged once.
const SPELL: Duration = Duration::from_secs(60);
/// Who was asked to leave may have begun a request instead; then the next one is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A connection, and the place that it takes.
pub(super) struct Guest {
    pub(super) stream: TcpStream,
    pub(super) place: OwnedSemaphorePermit,
}

pub(super) struct Entrance {
    listener: TcpListener,
    places: Arc<Semaphore>,
    make_room: Arc<Notify>,
    failed_at: Option<Instant>,
}

impl Entrance {
    /// `make_room` asks one connection to leave, each time that it is notified.
    pub(super) fn new(listener: TcpListener, places: usize, make_room: Arc<Notify>) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(places)), make_room, failed_at: None }
    }

    /// The next connection, once there is a place for it.
    pub(super) async fn next(&mut self) -> Guest {
        // Accepted before there is a place: else nobody could tell a full server from one that somebody waits for.
        let stream = self.accept().await;
        let place = self.place().await;
        Guest { stream, place }
    }

    async fn accept(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.fail(&error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn fail(&mut self, error: &Error) {
        if self.failed_at.is_none_or(|failed_at| failed_at.elapsed() > SPELL) {
            let error = error as &dyn std::error::Error;
            warn!(error, "cannot accept connections; raise the limit of open files");
        }
        self.failed_at = Some(Instant::now());
    }

    async fn place(&self) -> OwnedSemaphorePermit {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return place;
        }
        loop {
            self.make_room.notify_one();
            if let Ok(place) = timeout(ASK_EVERY, self.places.clone().acquire_owned()).await {
                return place.expect("the semaphore is never closed");
            }
        }
    }
}

fn is_of_one_connection(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}
