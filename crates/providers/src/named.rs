//! The names that providers go by, and what people write in their place.

use std::str::FromStr;

use crate::Provider;

/// Why a text names no provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no provider that latchhook knows: {advice} {known}", known = known())]
pub struct ProviderError {
    given: String,
    advice: String,
}

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Self, ProviderError> {
        let named = Self::ALL.iter().find(|provider| provider.as_str() == text);
        named.copied().ok_or_else(|| {
            let meant = meant(text).map(|provider| format!("did you mean {provider}? There are"));
            ProviderError {
                given: text.chars().take(80).collect(),
                advice: meant.unwrap_or_else(|| "use one of".to_owned()),
            }
        })
    }
}

/// Letters that must be the same: with fewer, `git` would be GitHub's.
const ENOUGH: usize = 5;

/// Whose name or title this is, were it not for capitals and signs, or for what is missing at its end or stands behind it.
fn meant(text: &str) -> Option<Provider> {
    let given = letters(text);
    let is_close = |name: &str| {
        let (name, given) = (letters(name), given.as_str());
        name == given || name.len().min(given.len()) >= ENOUGH && (name.starts_with(given) || given.starts_with(&name))
    };
    Provider::ALL.iter().copied().find(|provider| [provider.as_str(), provider.about().title].into_iter().any(is_close))
}

fn letters(text: &str) -> String {
    text.chars().filter(|char| char.is_ascii_alphanumeric()).map(|char| char.to_ascii_lowercase()).collect()
}

fn known() -> String {
    Provider::ALL.iter().map(|provider| provider.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_found_by_the_name_it_goes_by() {
        for provider in Provider::ALL {
            assert_eq!(provider.to_string().parse(), Ok(*provider));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "fax".parse::<Provider>().unwrap_err();

        let expected = format!("\"fax\" is no provider that latchhook knows: use one of {}", known());
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_name_in_other_letters_or_a_title_or_part_of_it_is_answered_with_the_name_that_was_meant() {
        for (given, meant) in [
            ("Stripe", "stripe"),
            ("STRIPE", "stripe"),
            ("360dialog", "dialog360"),
            ("standard-webhooks", "standard_webhooks"),
            ("whatsap", "whatsapp"),
            ("whatsapp-cloud", "whatsapp"),
            ("github_enterprise", "github"),
        ] {
            let error = given.parse::<Provider>().unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean {meant}? There are {}", known())), "{error}");
        }
        for unknown in ["", "git", "gitea", "-", "pay"] {
            assert!(unknown.parse::<Provider>().unwrap_err().to_string().contains("use one of"), "{unknown}");
        }
    }
}
