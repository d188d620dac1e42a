//! Where the servers' binaries are: what one says, what is installed, what `./justw tools` has put below `.tools/`.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::ServerError;

/// Names the directory of Postgres's `postgres` and `initdb`, above all else.
pub const POSTGRES_VARIABLE: &str = "LATCHHOOK_POSTGRES_BIN";
/// Names a `redis-server` or `valkey-server`, above all else.
pub const REDIS_VARIABLE: &str = "LATCHHOOK_REDIS_SERVER";
/// Names the directory that `./justw tools` installs to; `.tools` below the current one when unset.
pub const TOOLS_VARIABLE: &str = "LATCHHOOK_TOOLS";

const POSTGRES: &str = "postgres and initdb";
const REDIS: &str = "redis-server or valkey-server";

/// The directory of `postgres` and `initdb`. Looked for where Debian puts them (the newest version), on PATH, in
/// Homebrew's directories and in `.tools`.
///
/// # Errors
/// When they are nowhere, or not where [`POSTGRES_VARIABLE`] says.
pub fn postgres() -> Result<PathBuf, ServerError> {
    let has_postgres = |dir: &PathBuf| dir.join("postgres").is_file() && dir.join("initdb").is_file();
    if let Some(dir) = named_by(POSTGRES_VARIABLE) {
        return Some(dir.clone()).filter(has_postgres).ok_or_else(|| misplaced(POSTGRES_VARIABLE, dir, POSTGRES));
    }
    let debian = newest_first(Path::new("/usr/lib/postgresql")).into_iter().map(|version| version.join("bin"));
    let remedy = either("apt-get install -y postgresql", "brew install postgresql@18");
    debian.chain(common_places()).find(has_postgres).ok_or_else(|| missing(POSTGRES, remedy, POSTGRES_VARIABLE))
}

/// The file of a Redis or Valkey server. Looked for on PATH, in Homebrew's directories and in `.tools`.
///
/// # Errors
/// When there is none, or not where [`REDIS_VARIABLE`] says.
pub fn redis() -> Result<PathBuf, ServerError> {
    if let Some(file) = named_by(REDIS_VARIABLE) {
        return Some(file.clone()).filter(|file| file.is_file()).ok_or_else(|| misplaced(REDIS_VARIABLE, file, REDIS));
    }
    let servers = |dir: PathBuf| ["redis-server", "valkey-server"].map(|name| dir.join(name));
    let remedy = either("apt-get install -y redis-server", "brew install valkey");
    let mut candidates = common_places().flat_map(servers);
    candidates.find(|file| file.is_file()).ok_or_else(|| missing(REDIS, remedy, REDIS_VARIABLE))
}

fn common_places() -> impl Iterator<Item = PathBuf> {
    let path: Vec<_> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    let homebrew = ["/opt/homebrew", "/usr/local"].map(Path::new).into_iter().flat_map(homebrew_places);
    let tools = named_by(TOOLS_VARIABLE).unwrap_or_else(|| PathBuf::from(".tools"));
    path.into_iter().chain(homebrew).chain([tools.join("bin")])
}

/// Homebrew links what has a version in its name (`postgresql@18`) to `opt` only.
fn homebrew_places(prefix: &Path) -> impl Iterator<Item = PathBuf> {
    let formulas = newest_first(&prefix.join("opt")).into_iter();
    let ours =
        formulas.filter(|dir| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("postgresql")));
    [prefix.join("bin")].into_iter().chain(ours.map(|formula| formula.join("bin")))
}

/// What is in a directory, the highest version number first; names without one come last.
fn newest_first(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort_by_key(|path| std::cmp::Reverse(version(path)));
    entries
}

fn version(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    name.rsplit('@').next()?.parse().ok()
}

fn named_by(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn misplaced(variable: &'static str, path: PathBuf, wanted: &'static str) -> ServerError {
    ServerError::Misplaced { variable, path, wanted }
}

fn missing(wanted: &'static str, remedy: &'static str, variable: &'static str) -> ServerError {
    ServerError::NotFound { wanted, remedy, variable }
}

fn either(linux: &'static str, macos: &'static str) -> &'static str {
    if cfg!(target_os = "macos") { macos } else { linux }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_18_comes_before_version_9() {
        assert!(version(Path::new("/usr/lib/postgresql/18")) > version(Path::new("/usr/lib/postgresql/9")));
        assert!(version(Path::new("/opt/postgresql@9")) > version(Path::new("/opt/postgresql")));
    }
}
