//! Secrets on the command line: as they are, or from a file, or from stdin (`-`), so that no process list shows them.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

/// `--app-secret` and `--app-secret-file`.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct AppSecrets {
    /// What the provider signs with; again for a second one while it is rotated
    #[arg(long = "app-secret", value_name = "S", hide_env_values = true)]
    given: Vec<SecretString>,

    /// A file that holds it, or - for stdin
    #[arg(long = "app-secret-file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// `--verify-token` and `--verify-token-file`.
#[derive(Debug, Args)]
pub(super) struct VerifyToken {
    /// What the provider's handshake must show
    #[arg(long = "verify-token", value_name = "T", conflicts_with = "token_file")]
    token: Option<SecretString>,

    /// A file that holds it, or - for stdin
    #[arg(id = "token_file", long = "verify-token-file", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl AppSecrets {
    /// All of them, those given first.
    pub(super) fn read(self) -> anyhow::Result<Vec<SecretString>> {
        let given = self.given.into_iter().map(|secret| not_empty(secret, "--app-secret"));
        given.chain(self.files.iter().map(|file| from_file(file))).collect()
    }
}

impl VerifyToken {
    /// The token, if there is one.
    pub(super) fn read(self) -> anyhow::Result<Option<SecretString>> {
        let given = self.token.map(|token| not_empty(token, "--verify-token"));
        given.or_else(|| self.file.map(|file| from_file(&file))).transpose()
    }
}

/// The newline that editors and `echo` put behind it is no part of a secret.
pub(super) fn from_file(file: &Path) -> anyhow::Result<SecretString> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("no secret can be read from stdin")?;
        text
    } else {
        fs::read_to_string(file).with_context(|| format!("no secret can be read from {}", file.display()))?
    };
    let secret = text.trim_end_matches(['\r', '\n']).to_owned();
    not_empty(secret.into(), &file.display().to_string())
}

/// Nothing can be signed with an empty secret: a variable that was not set would silently refuse every webhook.
fn not_empty(secret: SecretString, place: &str) -> anyhow::Result<SecretString> {
    ensure!(!secret.expose_secret().is_empty(), "{place} holds no secret: it is empty");
    Ok(secret)
}
