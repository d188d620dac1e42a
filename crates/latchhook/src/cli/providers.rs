//! `latchhook providers`: who can send to us, and what is to be known of each.

use std::time::Duration;

use clap::Args;
use providers::{About, Provider};
use serde_json::{Value, json};

use super::context::Context;

/// List the providers that sources can be of; or tell all that is to be known of one
#[derive(Debug, Args)]
pub(super) struct Providers {
    /// Which one
    #[arg(value_name = "P")]
    provider: Option<Provider>,
}

/// What is to be said of the memory for keys beside the time for which providers repeat themselves.
const MEMORY: &str = "The ledger forgets no key, so nobody repeats himself for longer than it remembers.";

impl Providers {
    /// Runs it.
    pub(super) fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        match self.provider {
            Some(provider) => context.out.object(&told(provider.about())),
            None => {
                let rows: Vec<_> = Provider::ALL.iter().map(|provider| told(provider.about())).collect();
                context.out.sentences(&["name", "key", "signature", "repeats_for", "body_limit"], &rows)?;
                context.note(MEMORY);
                Ok(())
            }
        }
    }
}

fn told(about: &About) -> Value {
    let settings: Vec<_> = about
        .settings
        .iter()
        .map(|setting| {
            let needed = if setting.needed { " (needed)" } else { "" };
            format!("{}{needed}: {}; {}", setting.name, setting.does, setting.expected)
        })
        .collect();
    json!({
        "name": about.name,
        "title": about.title,
        "signature": about.signature,
        "key": about.key,
        "repeats_for": about.repeats_for.map_or_else(|| "not said".to_owned(), in_words),
        "secret": about.secret,
        "verify_token": about.verify_token,
        "url": about.url,
        "settings": settings,
        "body_limit": about.body_limit,
        "page": about.page,
    })
}

fn in_words(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}
