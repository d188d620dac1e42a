//! Secrets on the command line: as they are, or from a file, or from stdin (`-`), so that no process list shows them.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use clap::{Args, error::ErrorKind};
use dispatcher::signing::{PublicKey, SigningSecret};
use providers::About;
use secrecy::{ExposeSecret, SecretString};

/// What [`AppSecrets`] and [`VerifyToken`] are called, for whoever needs one of them.
pub(super) const SECRETS: [&str; 4] = ["app_secret", "app_secret_file", "verify_token", "verify_token_file"];

/// `--app-secret` and `--app-secret-file`.
#[derive(Debug, Args)]
pub(super) struct AppSecrets {
    /// What the provider signs with: latchhook providers P says what that is. Again for a second one while it is rotated
    #[arg(id = "app_secret", long = "app-secret", value_name = "S", hide_env_values = true)]
    given: Vec<SecretString>,

    /// A file that holds it, or - for stdin
    #[arg(id = "app_secret_file", long = "app-secret-file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// `--verify-token` and `--verify-token-file`.
#[derive(Debug, Args)]
pub(super) struct VerifyToken {
    /// What the provider's handshake must show, if it has one: Meta's have
    #[arg(id = "verify_token", long = "verify-token", value_name = "T", conflicts_with = "verify_token_file")]
    token: Option<SecretString>,

    /// A file that holds it, or - for stdin
    #[arg(id = "verify_token_file", long = "verify-token-file", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// `--secret`, `--secret-file` and `--ed25519`.
#[derive(Debug, Args)]
pub(super) struct NewSecret {
    /// Make a secret of scheme v1a: the customer verifies with a public key, and could not sign itself
    #[arg(long, conflicts_with_all = ["signing_secret", "signing_secret_file"])]
    ed25519: bool,

    /// What signs, in place of a secret that is made here: whsec_… (v1) or whsk_… (v1a)
    #[arg(id = "signing_secret", long = "secret", value_name = "S", conflicts_with = "signing_secret_file")]
    given: Option<SecretString>,

    /// A file that holds it, or - for stdin
    #[arg(id = "signing_secret_file", long = "secret-file", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What signs from now on.
pub(super) struct Chosen {
    /// As it is kept.
    pub(super) text: SecretString,
    /// What the customer verifies with who must not be able to sign: only v1a has it.
    pub(super) public_key: Option<PublicKey>,
    /// Whether whoever asks has it already: then it is not printed.
    pub(super) is_given: bool,
}

impl NewSecret {
    /// Whether one was given, or one of a certain kind asked for.
    pub(super) fn is_asked_for(&self) -> bool {
        self.ed25519 || self.given.is_some() || self.file.is_some()
    }

    /// The one that was given, or a fresh one.
    pub(super) fn read(self) -> anyhow::Result<Chosen> {
        let given = self.given.map(|secret| not_empty(secret, "--secret"));
        let given = given.or_else(|| self.file.map(|file| from_file(&file))).transpose()?;
        let is_given = given.is_some();
        let fresh = if self.ed25519 { SigningSecret::generate_ed25519 } else { SigningSecret::generate };
        let text = given.unwrap_or_else(fresh);
        let public_key = SigningSecret::parse(&text)?.public_key();
        Ok(Chosen { text, public_key, is_given })
    }
}

impl Chosen {
    /// The secret, for the only time that it is printed; nothing if it was given.
    pub(super) fn printed(&self) -> Option<&str> {
        (!self.is_given).then(|| self.text.expose_secret())
    }
}

impl AppSecrets {
    /// Whoever gives none is told what it is, and where it is found.
    pub(super) fn must_be_given(&self, about: &About) -> anyhow::Result<()> {
        if self.given.is_empty() && self.files.is_empty() {
            let About { name, secret, url, verify_token, .. } = about;
            let token = verify_token.map(|token| format!(". And --verify-token T, {token}")).unwrap_or_default();
            let what = format!(
                "a source of {name} needs --app-secret S, or --app-secret-file FILE (- for stdin): {secret}{token}. Its URL then \
                 goes into: {url}"
            );
            return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, what).into());
        }
        Ok(())
    }

    /// All of them, those given first.
    pub(super) fn read(self) -> anyhow::Result<Vec<SecretString>> {
        let given = self.given.into_iter().map(|secret| not_empty(secret, "--app-secret"));
        given.chain(self.files.iter().map(|file| from_file(file))).collect()
    }
}

impl VerifyToken {
    /// One that no handshake would ask for is most likely a secret that was put into the wrong place.
    pub(super) fn must_be_of_use(&self, about: &About) -> anyhow::Result<()> {
        let is_given = self.token.is_some() || self.file.is_some();
        if is_given && about.verify_token.is_none() {
            let what = format!("{} has no handshake that shows a verify token: leave --verify-token out", about.name);
            return Err(clap::Error::raw(ErrorKind::ValueValidation, what).into());
        }
        Ok(())
    }

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
