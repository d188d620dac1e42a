//! What an endpoint's requests carry beside the signature, as `endpoint add` is told it.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, ensure};
use chrono::Utc;
use clap::Args;
use database::endpoints::{self, Target};
use dispatcher::{Access, AccessShown, ClientCertificate};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;
use vocabulary::{EndpointId, MasterKey};

use crate::cli::secret::from_file;

/// What a customer's server asks of whoever calls it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access: given anew as a whole, or kept as it is")]
pub(super) struct WantedAccess {
    /// A header that its requests carry; again for more
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<SecretString>,
    /// A file with such headers, one a line, or - for stdin
    #[arg(long, value_name = "FILE")]
    header_file: Option<PathBuf>,
    /// User and password that its requests carry
    #[arg(long, value_name = "USER:PASS", conflicts_with = "basic_auth_file")]
    basic_auth: Option<SecretString>,
    /// A file that holds them, or - for stdin
    #[arg(long, value_name = "FILE")]
    basic_auth_file: Option<PathBuf>,
    /// A certificate to show in the TLS handshake, and the chain behind it
    #[arg(long, value_name = "PEM", requires = "client_key_file")]
    client_cert_file: Option<PathBuf>,
    /// Its private key, not encrypted
    #[arg(long, value_name = "PEM", requires = "client_cert_file")]
    client_key_file: Option<PathBuf>,
    /// Nothing of that any more
    #[arg(long, conflicts_with_all = ["headers", "header_file", "basic_auth", "basic_auth_file", "client_cert_file"])]
    no_access: bool,
}

/// What becomes of an endpoint's access.
pub(super) enum Wanted {
    /// As it was.
    Kept(Option<Access>),
    /// This one; an empty one is none.
    Given(Access),
}

impl WantedAccess {
    /// What becomes of the access of an endpoint that is to have this URL. `there` is what it was, if it was.
    ///
    /// # Errors
    /// When requests to this URL cannot carry it, or when what was made for one server would go to another.
    pub(super) fn read(
        self,
        id: &EndpointId,
        url: &str,
        there: Option<&Target>,
        master: &MasterKey,
    ) -> anyhow::Result<Wanted> {
        let is_removed = self.no_access;
        let given = self.given()?;
        if is_removed || !given.is_empty() {
            given.check_given(url, Utc::now())?;
            return Ok(Wanted::Given(given));
        }
        let Some((there, sealed)) = there.and_then(|there| Some((there, there.access.as_deref()?))) else {
            return Ok(Wanted::Kept(None));
        };
        ensure!(
            origin(&there.url) == origin(url),
            "the access of {id} was given for another server: give it again, or --no-access"
        );
        let kept = Access::from_json(&endpoints::open_sealed(master, id.as_str(), sealed)?)?;
        kept.check(url)?;
        Ok(Wanted::Kept(Some(kept)))
    }

    fn given(self) -> anyhow::Result<Access> {
        let mut access = Access::default();
        let lines = self.header_file.map(|file| from_file(&file)).transpose()?;
        let lines = lines.as_ref().map(|text| text.expose_secret().lines()).into_iter().flatten();
        let lines = lines.filter(|line| !line.trim().is_empty());
        for line in self.headers.iter().map(ExposeSecret::expose_secret).chain(lines) {
            access.add_header(line)?;
        }
        let from_file = self.basic_auth_file.map(|file| from_file(&file)).transpose()?;
        access.basic_auth = self.basic_auth.or(from_file).map(|pair| pair.expose_secret().to_owned());
        if let (Some(chain), Some(key)) = (self.client_cert_file, self.client_key_file) {
            access.client_certificate = Some(ClientCertificate { chain: pem(&chain)?, key: pem(&key)? });
        }
        Ok(access)
    }
}

impl Wanted {
    /// What people may see of it.
    pub(super) fn shown(&self) -> Option<AccessShown> {
        let access = match self {
            Self::Kept(kept) => kept.as_ref()?,
            Self::Given(given) => given,
        };
        (!access.is_empty()).then(|| access.shown())
    }
}

fn pem(file: &PathBuf) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("no certificate or key can be read from {}", file.display()))
}

/// Scheme, host and port: whom a secret was given for.
fn origin(url: &str) -> Option<url::Origin> {
    Url::parse(url).ok().map(|url| url.origin())
}

/// What people may see of an access as it is kept; where it does not open, why.
pub(super) fn shown(id: &EndpointId, sealed: Option<&[u8]>, master: anyhow::Result<MasterKey>) -> Value {
    let Some(sealed) = sealed else { return Value::Null };
    let opened = || anyhow::Ok(Access::from_json(&endpoints::open_sealed(&master?, id.as_str(), sealed)?)?.shown());
    match opened() {
        Ok(shown) => json!(shown),
        Err(closed) => json!(format!("{closed:#}")),
    }
}
