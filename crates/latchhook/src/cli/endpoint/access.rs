//! What an endpoint's requests carry beside the signature, as `endpoint add` and `set` are told it.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use chrono::{DateTime, Utc};
use clap::Args;
use database::{
    AsyncPgConnection,
    endpoints::{self, Target},
};
use dispatcher::{Access, ClientCertificate};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;
use vocabulary::{EndpointId, MasterKey};

use crate::cli::{context::Context, secret::from_file};

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

/// What is given of an access, and what it takes to keep it. Whether it fits is known once the endpoint is held.
pub(super) struct GivenAccess {
    /// `None` keeps what is there; an empty one is none.
    access: Option<Access>,
    /// Needed only where one is opened or sealed.
    master: anyhow::Result<MasterKey>,
    now: DateTime<Utc>,
}

impl GivenAccess {
    /// Whether it changes anything.
    pub(super) fn is_given(&self) -> bool {
        self.access.is_some()
    }

    /// Keeps what is given for an endpoint that has this URL from here on, or sees that what it carried still fits. `there` is
    /// where its deliveries went, if it was there. In the transaction that changes the rest.
    ///
    /// # Errors
    /// When requests to this URL cannot carry it, or when what was made for one server would go to another.
    pub(super) async fn put(
        &self,
        conn: &AsyncPgConnection,
        id: &EndpointId,
        url: &str,
        there: Option<&Target>,
    ) -> anyhow::Result<()> {
        let Some(given) = &self.access else { return self.must_fit(id, url, there) };
        given.check_given(url, self.now)?;
        let json = (!given.is_empty()).then(|| given.to_json());
        Ok(endpoints::set_access(conn, self.master()?, id, json.as_ref()).await?)
    }

    fn must_fit(&self, id: &EndpointId, url: &str, there: Option<&Target>) -> anyhow::Result<()> {
        let moved = there.filter(|there| there.url != url);
        let Some((there, sealed)) = moved.and_then(|there| Some((there, there.access.as_deref()?))) else {
            return Ok(());
        };
        ensure!(
            origin(&there.url) == origin(url),
            "the access of {id} was given for another server: give it again, or --no-access"
        );
        let kept = Access::from_json(&endpoints::open_sealed(self.master()?, id.as_str(), sealed)?)?;
        Ok(kept.check(url)?)
    }

    fn master(&self) -> anyhow::Result<&MasterKey> {
        self.master.as_ref().map_err(|closed| anyhow!("{closed:#}"))
    }
}

impl WantedAccess {
    /// What is given, from wherever it stands.
    ///
    /// # Errors
    /// When something of it cannot be read, or is no access.
    pub(super) fn read(self, context: &Context<'_>) -> anyhow::Result<GivenAccess> {
        let is_removed = self.no_access;
        let given = self.given()?;
        let access = (is_removed || !given.is_empty()).then_some(given);
        Ok(GivenAccess { access, master: context.master_key(), now: context.now })
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
