//! Whether what is given as a secret can be one, before it is kept.

use anyhow::bail;
use providers::{Provider, SecretForm};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::Context;

/// Says of a secret that looks like another thing that it does, and refuses one that no webhook would ever be genuine by.
///
/// # Errors
/// Says what it is not, what is to be given instead, and where that is shown. Never shows it.
pub(super) fn check(
    context: &Context<'_>,
    provider: Provider,
    settings: &Map<String, Value>,
    secrets: &[SecretString],
) -> anyhow::Result<()> {
    let about = provider.about();
    for (number, secret) in secrets.iter().enumerate() {
        let place = if secrets.len() == 1 { String::new() } else { format!(" {}", number + 1) };
        let what = |wrong: &str| format!("secret{place} is none of {}: {wrong}. Give {}", about.title, about.secret);
        match provider.secret_form(settings, secret) {
            SecretForm::Usual => {}
            SecretForm::Unusual(odd) => context.note(&format!("Taken, but perhaps {}", what(odd))),
            SecretForm::Unusable(wrong) => bail!(what(wrong)),
        }
    }
    Ok(())
}
