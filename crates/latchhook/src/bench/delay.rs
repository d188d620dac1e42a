//! A store that is farther away: what is said to it is held for a while, so that each round trip takes that much longer.
//!
//! Chunks are held side by side, not one after the other: this adds to the latency and takes nothing from the throughput.
//! Answers pass at once. Threads, because a runtime's timers count in whole milliseconds, which is what is to be added.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// In front of which store, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The store's socket
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// How much longer a round trip takes
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    hold: Duration,
}

const READ_AT_ONCE: usize = 64 << 10;

/// Something said, and when it is to be passed on.
type Held = (Instant, Vec<u8>);

/// A proxy that listens.
pub(crate) struct Delay {
    listener: TcpListener,
    options: Options,
}

impl Delay {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn listen(options: Options) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind("127.0.0.1:0")?, options })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for as long as the process lives.
    pub(crate) fn serve(self) {
        for client in self.listener.incoming().flatten() {
            let (to, hold) = (self.options.to.clone(), self.options.hold);
            // A store that is away shows as a connection that ends at once.
            thread::spawn(move || forward(client, &to, hold));
        }
    }
}

fn forward(client: TcpStream, to: &Path, hold: Duration) -> io::Result<()> {
    client.set_nodelay(true)?;
    let store = UnixStream::connect(to)?;
    let (mut from_client, mut to_client) = (client.try_clone()?, client);
    let (to_store, mut from_store) = (store.try_clone()?, store);
    let (said, held) = channel();
    thread::spawn(move || pass_on(&held, to_store));
    thread::spawn(move || {
        let _ = io::copy(&mut from_store, &mut to_client);
        to_client.shutdown(Shutdown::Both)
    });
    let mut buffer = vec![0; READ_AT_ONCE];
    loop {
        let len = from_client.read(&mut buffer)?;
        let gone = len == 0 || said.send((Instant::now() + hold, buffer[..len].to_vec())).is_err();
        if gone {
            return Ok(());
        }
    }
}

/// Until nothing more will be said; then the store is told so.
fn pass_on(held: &Receiver<Held>, mut store: UnixStream) -> io::Result<()> {
    for (due, bytes) in held {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        store.write_all(&bytes)?;
    }
    store.shutdown(Shutdown::Write)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_round_trip_takes_longer_and_ten_at_a_time_take_no_longer_than_one() {
        let directory = std::env::temp_dir().join(format!("latchhook-delay-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let socket = directory.join("store.sock");
        let store = UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            for connection in store.incoming() {
                let connection = connection.unwrap();
                thread::spawn(move || io::copy(&mut connection.try_clone().unwrap(), &mut &connection));
            }
        });
        let delay = Delay::listen(Options { to: socket, hold: Duration::from_millis(50) }).unwrap();
        let address = delay.address().unwrap();
        thread::spawn(move || delay.serve());

        let began = Instant::now();
        let mut client = TcpStream::connect(address).unwrap();
        for _ in 0..10 {
            client.write_all(b"ping").unwrap();
            thread::sleep(Duration::from_millis(1));
        }
        client.read_exact(&mut [0; 40]).unwrap();

        let took = began.elapsed();
        assert!(took >= Duration::from_millis(50) && took < Duration::from_millis(400), "{took:?}");
        let _ = std::fs::remove_dir_all(directory);
    }
}
