//! How many files the process may have open: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use super::server::ConnectionLimits;

/// Files that no client can take: connections to the stores and to customers, listeners, logs.
const RESERVED: u64 = 128;

impl ConnectionLimits {
    /// These limits with no more connections than the process may open files, less 128 for the stores and the deliveries;
    /// but with one at least. Raises the process's soft limit of open files to the hard one first, and logs when even that
    /// is too low.
    #[must_use]
    pub fn within_open_files(self) -> Self {
        let files = raise_open_files().unwrap_or(u64::MAX);
        let connections = connections_within(files, self.connections);
        if connections < self.connections {
            warn!(
                "{files} open files are enough for {connections} connections, not for {}; raise the hard limit of open files",
                self.connections
            );
        }
        Self { connections, ..self }
    }
}

/// How many files may be open from now on; `None` for any number.
fn raise_open_files() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    // Refused where the hard limit is above what the kernel allows: then the soft one is what there is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before });
    getrlimit(Resource::Nofile).current
}

fn connections_within(files: u64, asked: usize) -> usize {
    let room = files.saturating_sub(RESERVED).max(1);
    usize::try_from(room).map_or(asked, |room| room.min(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_itself_needs_is_left_to_it() {
        assert_eq!(connections_within(1024, 10_000), 896);
        assert_eq!(connections_within(u64::MAX, 10_000), 10_000);
        assert_eq!(connections_within(64, 10_000), 1);
    }

    #[test]
    fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: hard }).unwrap();

        let limits = ConnectionLimits { connections: 200, ..ConnectionLimits::default() }.within_open_files();

        assert_eq!(getrlimit(Resource::Nofile).current, hard);
        assert_eq!(limits.connections, 200);
    }
}
