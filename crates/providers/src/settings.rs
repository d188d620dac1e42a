//! What a source may be told, and whether it can be used.

use http::HeaderName;
use serde_json::{Map, Value};

use crate::Provider;

/// A setting of a provider's sources.
#[derive(Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it does, for people.
    pub does: &'static str,
    /// What it can be, as it follows on `NAME must be`.
    pub expected: &'static str,
    /// Whether a source cannot do without.
    pub needed: bool,
    /// Whether a value can be used.
    pub takes: fn(&Value) -> bool,
}

/// Why a source cannot have these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Nothing reads it: most likely misspelt.
    #[error("{provider} has no setting {field:?}: it has {known}")]
    Unknown {
        /// Whose source it was to be.
        provider: Provider,
        /// The setting.
        field: String,
        /// Those that there are.
        known: String,
    },
    /// Not a value that it can have.
    #[error("{field} must be {expected}")]
    Value {
        /// The setting.
        field: &'static str,
        /// What it can be.
        expected: &'static str,
    },
    /// It cannot do without.
    #[error("a source of {provider} needs the setting {field}: {expected}. Write --setting {field}=VALUE")]
    Missing {
        /// Whose source it was to be.
        provider: Provider,
        /// The setting.
        field: &'static str,
        /// What it can be.
        expected: &'static str,
    },
    /// Each could be had, but not together: a sentence that names them.
    #[error("{0}")]
    Unfit(String),
}

pub(crate) fn check(provider: Provider, settings: &Map<String, Value>) -> Result<(), SettingsError> {
    let known = provider.about().settings;
    if let Some(field) = settings.keys().find(|field| !known.iter().any(|setting| setting.name == *field)) {
        let names: Vec<_> = known.iter().map(|setting| setting.name).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(SettingsError::Unknown { provider, field: field.clone(), known });
    }
    for Setting { name: field, expected, needed, takes, .. } in known {
        match settings.get(*field) {
            Some(value) if takes(value) => {}
            Some(_) => return Err(SettingsError::Value { field, expected }),
            None if *needed => return Err(SettingsError::Missing { provider, field, expected }),
            None => {}
        }
    }
    Ok(())
}

/// Whether it is a header's name as we look for it: in lower case.
pub(crate) fn is_header(value: &Value) -> bool {
    value.as_str().is_some_and(|name| HeaderName::from_lowercase(name.as_bytes()).is_ok())
}
