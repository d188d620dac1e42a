//! The directories that private servers live in.

use std::{
    env,
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rand::distr::{Alphanumeric, SampleString};

use super::ServerError;

/// What the address of a Unix socket may have in bytes on every system: 104 on macOS, 108 on Linux, with a NUL.
const LONGEST_SOCKET_PATH: usize = 103;
/// A test run's servers need about a quarter of this.
const ROOM_NEEDED: u64 = 1 << 30;

/// What is below has doors of its own. A Postgres that root has started as another user must get to its own.
const LISTED_BY_US: u32 = 0o711;

/// A directory that one process uses at a time.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held open: the lock goes when the process does, however it ends.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be, and takes it for this process.
    ///
    /// # Errors
    /// When it can't be written, or another process holds it.
    pub fn take(path: &Path) -> Result<Self, ServerError> {
        let path = make(path, LISTED_BY_US)?;
        let lock = File::create(path.join("lock")).map_err(unusable(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ServerError::InUse(path)),
            Err(TryLockError::Error(source)) => Err(unusable(&path)(source)),
        }
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A directory in memory where there is room, else below TMPDIR, that vanishes with its process: when it is dropped, and
/// also when the process is killed.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
    /// Waits for the end of its standard input, which comes when we close it or die; then removes the directory.
    janitor: Child,
}

impl ScratchDir {
    /// Makes one.
    ///
    /// # Errors
    /// When no place can be written.
    pub fn new() -> Result<Self, ServerError> {
        let name = format!("latchhook-{}", Alphanumeric.sample_string(&mut rand::rng(), 8));
        let path = make(&roomy().join(name), LISTED_BY_US)?;
        // Once more until it is gone: a server may still be writing its last files.
        let script = r#"cat; until rm -rf "$1"; do sleep 0.1; done"#;
        let mut janitor = Command::new("/bin/sh");
        janitor.args(["-c", script, "janitor"]).arg(&path).process_group(0);
        janitor.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let janitor = janitor.spawn().map_err(unusable(&path))?;
        Ok(Self { path, janitor })
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // `wait` closes the janitor's input first.
        let _ = self.janitor.wait();
    }
}

fn roomy() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |stats| stats.f_bavail * stats.f_frsize);
    if room > ROOM_NEEDED { memory.to_owned() } else { env::temp_dir() }
}

/// Makes a directory that only this user can enter, and names it absolutely.
pub(super) fn private(path: &Path) -> Result<PathBuf, ServerError> {
    make(path, 0o700)
}

fn make(path: &Path, mode: u32) -> Result<PathBuf, ServerError> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(unusable(path))?;
    path.canonicalize().map_err(unusable(path))
}

/// The directory for the sockets of a server.
#[derive(Debug)]
pub(super) struct SocketDir {
    path: PathBuf,
    /// Not the server's own directory, and removed when the server is gone.
    elsewhere: bool,
}

impl SocketDir {
    /// The server's own directory, unless the name of the socket would be too long there; then one in a temporary place,
    /// always the same for the same directory, so that an address can be kept. `owners` says whose that may be.
    pub(super) fn of(dir: &Path, socket: &str, owners: &[u32]) -> Result<Self, ServerError> {
        let fits = |dir: &Path| dir.as_os_str().len() + 1 + socket.len() <= LONGEST_SOCKET_PATH;
        if fits(dir) {
            return Ok(Self { path: dir.to_owned(), elsewhere: false });
        }
        let name = format!("latchhook-{:016x}", fingerprint(dir));
        let short = [env::temp_dir(), PathBuf::from("/tmp")].map(|temp| temp.join(&name));
        let path = private(short.iter().find(|dir| fits(dir)).unwrap_or(&short[1]))?;
        let owner = fs::metadata(&path).map_err(unusable(&path))?.uid();
        if owners.contains(&owner) { Ok(Self { path, elsewhere: true }) } else { Err(ServerError::Foreign(path)) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        if self.elsewhere {
            // Not empty after a crash: the next start finds it, and uses it again.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// FNV-1a: stable over versions of Rust, unlike std's hasher.
fn fingerprint(path: &Path) -> u64 {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// A path as a part of a URL.
pub(super) fn url_encoded(path: &Path, kept: &[u8]) -> String {
    let encode = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(*byte).to_string(),
        byte if kept.contains(byte) => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.as_os_str().as_encoded_bytes().iter().map(encode).collect()
}

pub(super) fn unusable(path: &Path) -> impl FnOnce(io::Error) -> ServerError {
    let path = path.to_owned();
    |source| ServerError::Directory { path, source }
}
