//! What a private server can be asked for, whichever it is: to be killed, started again, stopped.
//!
//! The cast: a [`Server`] holds one child process at a [`Place`], which knows where its files are and how to launch it.

use std::path::{Path, PathBuf};

use super::{ServerError, process::Process};

/// Where the files of a server are, and how it is launched there.
pub(super) trait Place {
    /// Runs it on the data that is there; stops first what outlived the process that had started it. Returns once it is
    /// ready.
    fn launch(&self) -> Result<Process, ServerError>;

    /// The directory of its socket.
    fn sockets(&self) -> &Path;

    /// The name of its socket there.
    const SOCKET: &str;

    /// The file of its socket.
    fn socket(&self) -> PathBuf {
        self.sockets().join(Self::SOCKET)
    }
}

/// A private server on a Unix socket; stopped when dropped.
#[derive(Debug)]
pub struct Server<P> {
    /// First, because it is dropped first.
    process: Process,
    pub(super) place: P,
}

#[expect(private_bounds, reason = "there are two places, both of them ours")]
impl<P: Place> Server<P> {
    pub(super) fn at(place: P) -> Result<Self, ServerError> {
        Ok(Self { process: place.launch()?, place })
    }

    /// The file of its socket. It is the same after a restart.
    pub fn socket(&self) -> PathBuf {
        self.place.socket()
    }

    /// The number of its first process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends it at once, as a crash would. Its first process has ended when this returns.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with the same data at the same address; stops it first if it runs.
    ///
    /// # Errors
    /// As its `start`.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.process.stop();
        self.process = self.place.launch()?;
        Ok(())
    }

    /// Ends it in order. Dropping it does the same.
    pub fn stop(self) {}
}
