//! An address that stays the same while the producer behind it dies, and another takes its place; as a load balancer has it.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by its panic, its helpers too")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

/// What an app is told to connect to.
#[derive(Clone)]
pub struct Front {
    /// Where it listens, as long as the runtime lives.
    pub address: SocketAddr,
    behind: Arc<Mutex<SocketAddr>>,
}

impl Front {
    /// In front of this producer, until another one is named.
    ///
    /// # Panics
    /// When there is no port to be had.
    pub async fn of(producer: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = Self { address: listener.local_addr().unwrap(), behind: Arc::new(Mutex::new(producer)) };
        let serving = front.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(client));
            }
        });
        front
    }

    /// Whoever connects from here on comes to this one.
    pub fn leads_to(&self, producer: SocketAddr) {
        *self.behind.lock().unwrap() = producer;
    }

    /// Where nobody is behind it any more, its client is hung up on, as by the dead one itself.
    async fn serve(self, mut client: TcpStream) {
        let behind = *self.behind.lock().unwrap();
        if let Ok(mut producer) = TcpStream::connect(behind).await {
            let _ = copy_bidirectional(&mut client, &mut producer).await;
        }
    }
}
