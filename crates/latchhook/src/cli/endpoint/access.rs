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

/// The parts of an access: what a customer's server asks of whoever calls it.
#[derive(Debug, Args)]
pub(super) struct GivenParts {
    /// A header that its requests carry, in place of those before; again for more
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
}

/// An access that is given, or not.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access: given anew as a whole, or kept as it is")]
pub(super) struct WantedAccess {
    #[command(flatten)]
    given: GivenParts,
    /// Nothing of that any more
    #[arg(long, conflicts_with = "GivenParts")]
    no_access: bool,
}

/// Parts of an access that change, and those that are taken away; what is not named stays.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access: what is given of it changes, and what is not named stays")]
pub(super) struct ChangedAccess {
    #[command(flatten)]
    given: GivenParts,
    /// No header any more
    #[arg(long, conflicts_with_all = ["headers", "header_file"])]
    no_header: bool,
    /// No user and password any more
    #[arg(long, conflicts_with_all = ["basic_auth", "basic_auth_file"])]
    no_basic_auth: bool,
    /// No certificate any more
    #[arg(long, conflicts_with = "client_cert_file")]
    no_client_cert: bool,
    /// Nothing of all that any more
    #[arg(long, conflicts_with = "GivenParts")]
    no_access: bool,
}

/// Which parts of an access are no longer as they were.
#[derive(Debug, Clone, Copy)]
struct Changed {
    headers: bool,
    basic_auth: bool,
    client_certificate: bool,
}

/// What is given of an access, and what it takes to keep it. Whether it fits is known once the endpoint is held.
pub(super) struct GivenAccess {
    /// Of the parts that change, what they are from now on; nothing of the others.
    given: Access,
    changed: Changed,
    /// Needed only where one is opened or sealed.
    master: anyhow::Result<MasterKey>,
    now: DateTime<Utc>,
}

impl GivenAccess {
    /// The parts that change, as commands name them.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let Changed { headers, basic_auth, client_certificate } = self.changed;
        let parts = [("header", headers), ("basic-auth", basic_auth), ("client-cert", client_certificate)];
        parts.into_iter().filter_map(|(name, is_changed)| is_changed.then_some(name)).collect()
    }

    /// Keeps what is given for an endpoint that has this URL from here on, beside what stays of what it carried, and sees that all
    /// of it fits. `there` is where its deliveries went, if it was there. In the transaction that changes the rest.
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
        let (is_changed, moves) = (!self.names().is_empty(), there.is_some_and(|there| there.url != url));
        if !is_changed && !moves {
            return Ok(());
        }
        let kept = self.kept(id, there)?;
        let is_for_it = kept.is_empty() || there.is_none_or(|there| origin(&there.url) == origin(url));
        ensure!(is_for_it, "the access of {id} was given for another server: give it again, or --no-access");
        self.given.check_given(url, self.now)?;
        let access = self.beside(kept);
        access.check(url)?;
        if is_changed {
            let json = (!access.is_empty()).then(|| access.to_json());
            endpoints::set_access(conn, self.master()?, id, json.as_ref()).await?;
        }
        Ok(())
    }

    /// What an endpoint carried and carries no longer, because its access was given anew without that.
    pub(super) fn taken_away(&self, id: &EndpointId, there: &Target) -> Vec<String> {
        let Some(sealed) = there.access.as_deref().filter(|_| !self.given.is_empty()) else { return Vec::new() };
        let Ok(before) = self.open(id, sealed) else { return vec!["an access that does not open".to_owned()] };
        let (before, now) = (before.shown(), self.given.shown());
        let headers = before.headers.iter().filter(|name| !now.headers.contains(name));
        let headers = headers.map(|name| format!("header {name}"));
        let basic_auth = (before.basic_auth && !now.basic_auth).then(|| "basic-auth".to_owned());
        let had_certificate = before.certificate_subject.is_some() && now.certificate_subject.is_none();
        headers.chain(basic_auth).chain(had_certificate.then(|| "client-cert".to_owned())).collect()
    }

    /// What stays of what is there. It is opened only where something may.
    fn kept(&self, id: &EndpointId, there: Option<&Target>) -> anyhow::Result<Access> {
        let Changed { headers, basic_auth, client_certificate } = self.changed;
        let may_stay = !(headers && basic_auth && client_certificate);
        let Some(sealed) = there.and_then(|there| there.access.as_deref()).filter(|_| may_stay) else {
            return Ok(Access::default());
        };
        let there = self.open(id, sealed).with_context(|| {
            format!("nothing of the access of {id} can be kept: give all of it again (endpoint add), or --no-access")
        })?;
        Ok(Access {
            headers: if headers { Vec::new() } else { there.headers },
            basic_auth: there.basic_auth.filter(|_| !basic_auth),
            client_certificate: there.client_certificate.filter(|_| !client_certificate),
        })
    }

    fn beside(&self, kept: Access) -> Access {
        let Access { headers, basic_auth, client_certificate } = self.given.clone();
        Access {
            headers: kept.headers.into_iter().chain(headers).collect(),
            basic_auth: basic_auth.or(kept.basic_auth),
            client_certificate: client_certificate.or(kept.client_certificate),
        }
    }

    fn open(&self, id: &EndpointId, sealed: &[u8]) -> anyhow::Result<Access> {
        Ok(Access::from_json(&endpoints::open_sealed(self.master()?, id.as_str(), sealed)?)?)
    }

    fn master(&self) -> anyhow::Result<&MasterKey> {
        self.master.as_ref().map_err(|closed| anyhow!("{closed:#}"))
    }
}

impl WantedAccess {
    /// What is given, from wherever it stands; all parts change, or none.
    ///
    /// # Errors
    /// When something of it cannot be read, or is no access.
    pub(super) fn read(self, context: &Context<'_>) -> anyhow::Result<GivenAccess> {
        let given = self.given.read()?;
        let all = self.no_access || !given.is_empty();
        let changed = Changed { headers: all, basic_auth: all, client_certificate: all };
        Ok(GivenAccess { given, changed, master: context.master_key(), now: context.now })
    }
}

impl ChangedAccess {
    /// What changes, from wherever it stands.
    ///
    /// # Errors
    /// When something of it cannot be read, or is no access.
    pub(super) fn read(self, context: &Context<'_>) -> anyhow::Result<GivenAccess> {
        let (given, all) = (self.given.read()?, self.no_access);
        let changed = Changed {
            headers: all || self.no_header || !given.headers.is_empty(),
            basic_auth: all || self.no_basic_auth || given.basic_auth.is_some(),
            client_certificate: all || self.no_client_cert || given.client_certificate.is_some(),
        };
        Ok(GivenAccess { given, changed, master: context.master_key(), now: context.now })
    }
}

impl GivenParts {
    fn read(self) -> anyhow::Result<Access> {
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
