//! What is to be done at the provider's, once there is a source.

use database::sources::NewSource;
use providers::{NoSample, Provider, Sample};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::form_urlencoded;
use vocabulary::Source;

use super::{Context, path};

/// Stands for a secret, which is never printed.
const STAND_IN: &str = "THE-SECRET";

/// Says it, line by line.
pub(super) fn say(context: &Context<'_>, provider: Provider, new: &NewSource<'_>) {
    for line in lines(context, provider, new) {
        context.note(&line);
    }
}

fn lines(context: &Context<'_>, provider: Provider, new: &NewSource<'_>) -> Vec<String> {
    let (id, about, path) = (new.id, provider.about(), path(new.id.as_str()));
    let sample = Sample { id: "sample", now: context.now };
    let base = signed_url(provider, new).and_then(|url| url.strip_suffix(&path)).unwrap_or("https://YOUR-HOST");
    let mut lines = what_to_paste(provider, new, &sample, &format!("{base}{path}"));
    if let Some(token) = about.verify_token.filter(|_| new.verify_token.is_none()) {
        let rotate = format!("latchhook source rotate {id} --verify-token T");
        lines.push(format!("Its handshake will be refused until {id} has a verify token ({rotate}): {token}"));
    }
    lines.push(format!("The secret must be {}", about.secret));
    lines.push(what_to_try(provider, new, &sample, base));
    lines
}

fn what_to_paste(provider: Provider, new: &NewSource<'_>, sample: &Sample<'_>, url: &str) -> Vec<String> {
    let (path, into) = (path(new.id.as_str()), provider.about().url);
    let paste = |url: &str| format!("Paste {url} into: {into}");
    match (signed_url(provider, new), Shown::of(provider, new, sample)) {
        (Some(signed), _) if signed.split('?').next().is_some_and(|url| url.ends_with(&path)) => vec![paste(signed)],
        (Some(signed), _) => vec![paste(signed), format!("A proxy must pass what comes there on to {path}")],
        (None, Some(Shown::Query(query))) => vec![
            paste(&format!("{url}?{query}")),
            format!("There, {STAND_IN} stands for the secret, with %XX for what is no letter, digit, - or _"),
        ],
        (None, Some(Shown::Header(header))) => vec![
            paste(url),
            format!("Each request must have the header {header}, where {STAND_IN} stands for the secret"),
        ],
        (None, None) => vec![paste(url)],
    }
}

/// The URL that the sender is given, where it signs that.
fn signed_url<'a>(provider: Provider, new: &NewSource<'a>) -> Option<&'a str> {
    new.settings.get(provider.signed_url()?).and_then(Value::as_str)
}

fn what_to_try(provider: Provider, new: &NewSource<'_>, sample: &Sample<'_>, base: &str) -> String {
    let test = format!("latchhook source test {} --to {base}", new.id);
    match provider.sample(&source(provider, new, new.secrets), sample) {
        Err(NoSample::OnlyTheSenders) => {
            format!("Then: {test}, which shows that it is reached and refuses; only the sender can send what is taken")
        }
        _ => format!("Then: {test}"),
    }
}

/// Where a request shows the secret itself: the sender must be told to.
enum Shown {
    /// `NAME=THE-SECRET`.
    Query(String),
    /// `NAME: THE-SECRET`, with whatever stands around it.
    Header(String),
}

impl Shown {
    /// Looks for a longer secret in a sample, whole: a signature cannot hold it by chance.
    fn of(provider: Provider, new: &NewSource<'_>, sample: &Sample<'_>) -> Option<Self> {
        let longer = format!("{}-{STAND_IN}", new.secrets.first()?.expose_secret());
        let signed = provider.sample(&source(provider, new, &[longer.clone().into()]), sample).ok()?;
        let query = form_urlencoded::parse(signed.query.trim_start_matches('?').as_bytes());
        let in_query = query.into_iter().find(|(_, value)| value.contains(&longer));
        if let Some((name, value)) = in_query {
            return Some(Self::Query(format!("{name}={}", value.replace(&longer, STAND_IN))));
        }
        let values = signed.headers.iter().filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
        let (name, value) = values.into_iter().find(|(_, value)| value.contains(&longer))?;
        Some(Self::Header(format!("{name}: {}", value.replace(&longer, STAND_IN))))
    }
}

fn source(provider: Provider, new: &NewSource<'_>, secrets: &[SecretString]) -> Source {
    Source {
        id: new.id.clone(),
        account_id: new.account_id.clone(),
        name: new.name.to_owned(),
        provider: provider.as_str().to_owned(),
        enabled: true,
        secrets: secrets.to_vec(),
        verify_token: None,
        tokens: Vec::new(),
        body_limit: None,
        settings: new.settings.clone(),
        revision: 0,
    }
}
