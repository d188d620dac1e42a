//! What is peculiar to each provider: how it signs, how it asks whether we are there, and what its bodies hold.
//!
//! * [`Provider`]: one of those that we know, and the only door to the rest of this crate.
//! * [`Verdict`], [`Handshake`]: what the producer asks before it takes a raw event in.
//! * [`Provider::split`]: what the worker asks: a raw event's items, each an event or the [`reason`] why not.
//!
//! Pure: no I/O and no clock, so that the same bytes give the same items, in the same order, on every run. Receipts and
//! replays count on that.

mod json;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub mod reason;
mod signature;
mod whatsapp;

use std::{fmt, str::FromStr};

use serde_json::{Map, Value};
use vocabulary::{Item, RawEvent, Source};

/// Whoever sends raw events, and whose rules apply to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Meta's WhatsApp Cloud API.
    WhatsApp,
}

/// Whether a request comes from whom it says it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One of the source's secrets signed exactly these bytes.
    Genuine,
    /// Not so. One of a few phrases, for logs and counters: the sender is never told which.
    Forged(&'static str),
}

/// What to answer to a provider that asks whether we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// Answer 200 with this text and nothing around it.
    Answer(String),
    /// Answer 403.
    Refused,
    /// The provider has no handshake.
    None,
}

/// Why a text names no provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no provider that latchhook knows: use one of {known}", known = known_providers())]
pub struct ProviderError {
    given: String,
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
        known: &'static str,
    },
    /// Not a value that it can have.
    #[error("{field} must be {expected}")]
    Value {
        /// The setting.
        field: &'static str,
        /// What it can be.
        expected: &'static str,
    },
}

impl Provider {
    /// All that there are.
    pub const ALL: &[Self] = &[Self::WhatsApp];

    /// As sources, metrics and event types spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WhatsApp => "whatsapp",
        }
    }

    /// Whether one of the source's secrets signed exactly these bytes. Compares in constant time.
    ///
    /// A source without secrets takes nothing.
    pub fn verify(self, source: &Source, headers: &http::HeaderMap, body: &[u8]) -> Verdict {
        match self {
            Self::WhatsApp => whatsapp::verify(source, headers, body),
        }
    }

    /// What to answer to a GET, by its decoded query.
    pub fn handshake(self, source: &Source, query: &[(String, String)]) -> Handshake {
        match self {
            Self::WhatsApp => whatsapp::handshake(source, query),
        }
    }

    /// The headers worth keeping with a raw event, in lower case.
    pub fn kept_headers(self) -> &'static [&'static str] {
        match self {
            Self::WhatsApp => whatsapp::KEPT_HEADERS,
        }
    }

    /// The largest body that it sends, in bytes.
    pub fn body_limit(self) -> usize {
        match self {
            Self::WhatsApp => whatsapp::BODY_LIMIT,
        }
    }

    /// Splits a raw event into its items, in the order in which they stand in it.
    ///
    /// Never fails as a whole, and never loses an item: what cannot be read is a [`vocabulary::Rejection`], and its mates
    /// go on. What an item is called and where it counts from 0 depends on nothing but the bytes.
    pub fn split(self, source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        match self {
            Self::WhatsApp => whatsapp::split(source, raw_event),
        }
    }

    /// Checks the settings of a new source.
    ///
    /// # Errors
    /// Names the first setting that the provider does not have, or whose value it cannot use.
    pub fn check_settings(self, settings: &Map<String, Value>) -> Result<(), SettingsError> {
        match self {
            Self::WhatsApp => whatsapp::check_settings(settings),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Self, ProviderError> {
        let named = Self::ALL.iter().find(|provider| provider.as_str() == text);
        named.copied().ok_or_else(|| ProviderError { given: text.chars().take(80).collect() })
    }
}

fn known_providers() -> String {
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
        let error = "whatsap".parse::<Provider>().unwrap_err();

        assert_eq!(error.to_string(), "\"whatsap\" is no provider that latchhook knows: use one of whatsapp");
    }
}
