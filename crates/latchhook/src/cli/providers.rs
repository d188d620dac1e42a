//! `latchhook providers`: who can send to us, and what is to be known of each.

use std::time::Duration;

use clap::Args;
use database::events::REMEMBERED_FOR;
use providers::{About, Provider, Setting};
use serde_json::{Value, json};

use super::context::Context;

/// List the providers that sources can be of; or tell all that is to be known of one
#[derive(Debug, Args)]
pub(super) struct Providers {
    /// Which one
    #[arg(value_name = "P")]
    provider: Option<Provider>,
}

impl Providers {
    /// Runs it.
    pub(super) fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let told = if context.out.is_json() { to_machines } else { to_people };
        match self.provider {
            Some(provider) => context.out.object(&told(provider.about())),
            None => {
                let rows: Vec<_> = Provider::ALL.iter().map(|provider| told(provider.about())).collect();
                context.out.sentences(&["name", "key", "signature", "repeats_for", "body_limit"], &rows)?;
                context.note(&memory(REMEMBERED_FOR));
                Ok(())
            }
        }
    }
}

/// Beside the time for which providers repeat themselves: whether the ledger remembers for as long.
fn memory(remembered: Option<Duration>) -> String {
    let Some(remembered) = remembered else {
        return "The ledger forgets no key, so nobody repeats himself for longer than it remembers.".to_owned();
    };
    let is_longer = |about: &&About| about.repeats_for.is_none_or(|repeats| repeats > remembered);
    let longer = Provider::ALL.iter().map(|provider| provider.about()).filter(is_longer);
    let longer: Vec<_> = longer.map(|about| about.name).collect();
    let remembered = in_words(remembered);
    format!(
        "The ledger forgets a key after {remembered}, and these may repeat themselves for longer; what they repeat then is a new \
         event: {}",
        longer.join(", ")
    )
}

fn to_machines(about: &About) -> Value {
    let settings = about.settings.iter().map(|Setting { name, does, expected, needed, .. }| {
        json!({"name": name, "needed": needed, "does": does, "expected": expected})
    });
    json!({
        "name": about.name,
        "title": about.title,
        "signature": about.signature,
        "key": about.key,
        "repeats_for_s": about.repeats_for.map(|span| span.as_secs()),
        "secret": about.secret,
        "verify_token": about.verify_token,
        "url": about.url,
        "settings": settings.collect::<Vec<_>>(),
        "body_limit": about.body_limit,
        "page": about.page,
    })
}

/// The same in words, and each setting on a line of its own.
fn to_people(about: &About) -> Value {
    let mut told = to_machines(about);
    if let Value::Object(fields) = &mut told {
        fields.remove("repeats_for_s");
        fields.remove("settings");
    }
    told["repeats_for"] = about.repeats_for.map_or_else(|| "not said".to_owned(), in_words).into();
    for Setting { name, does, expected, needed, .. } in about.settings {
        let needed = if *needed { "needed: " } else { "" };
        told[format!("setting {name}")] = format!("{needed}{does}; {expected}").into();
    }
    told
}

fn in_words(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_repeat_himself_for_longer_than_a_key_is_remembered_is_named() {
        let forgetful = memory(Some(Duration::from_hours(24)));
        let faithful = memory(None);

        let (what, names) = forgetful.rsplit_once(": ").unwrap();
        let names: Vec<_> = names.split(", ").collect();
        assert!(what.starts_with("The ledger forgets a key after 1day, and these may"), "{what}");
        assert!(["stripe", "generic", "whatsapp"].iter().all(|name| names.contains(name)), "{names:?}");
        assert!(!["sendgrid", "discord"].iter().any(|name| names.contains(name)), "a day is no longer than a day");
        assert!(faithful.starts_with("The ledger forgets no key"));
    }
}
