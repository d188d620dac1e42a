//! What is peculiar to each provider: how it signs, how it asks whether we are there, and what its bodies hold.
//!
//! * [`Provider`]: one of those that we know, and the only door to the rest of this crate.
//! * [`Request`], [`Verdict`], [`Handshake`], [`Answer`]: what the producer asks before it takes a raw event in.
//! * [`Door`]: what every door asks of bytes and headers before it takes a raw event in.
//! * [`Provider::split`]: what the worker asks: a raw event's items, each an event or the [`reason`] why not.
//! * [`About`]: what people are told of a provider: where its secret is found, how long it repeats itself.
//!
//! A provider is a file with a type that has `Rules` (rules.rs), and a line in the list below.
//!
//! Pure: no I/O and no clock, so that the same bytes give the same items, in the same order, on every run. Receipts and
//! replays count on that.

mod about;
mod certificate;
mod dialog360;
mod discord;
mod door;
mod form;
mod generic;
mod github;
mod gitlab;
mod hex_headers;
mod json;
mod mailgun;
mod messenger;
mod meta;
mod named;
mod paddle;
mod paypal;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod public;
pub mod reason;
mod request;
mod rules;
mod sendgrid;
mod settings;
mod shopify;
mod signature;
mod single;
mod slack;
mod standard_webhooks;
mod stripe;
mod telegram;
#[cfg(test)]
mod testing;
mod twilio;
mod whatsapp;
mod zoom;

use std::fmt;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use vocabulary::{Item, RawEvent, Source};

pub use about::About;
pub use certificate::{Certificate, CertificateError};
pub use door::{Door, TooLarge};
pub use form::SecretForm;
pub use named::ProviderError;
pub use request::{Answer, Handshake, NoSample, Request, Sample, Signed, Verdict};
pub use settings::{Setting, SettingsError};

use rules::Rules;

/// Each with the name that it goes by here, and the type that has its rules.
macro_rules! providers {
    ($($(#[$doc:meta])* $name:ident => $rules:path,)+) => {
        /// Whoever sends raw events, and whose rules apply to them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Provider {
            $($(#[$doc])* $name,)+
        }

        impl Provider {
            /// All that there are.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            fn rules(self) -> &'static dyn Rules {
                match self {
                    $(Self::$name => &$rules,)+
                }
            }
        }
    };
}

providers! {
    /// Meta's WhatsApp Cloud API.
    WhatsApp => whatsapp::WhatsApp,
    /// 360dialog, which passes WhatsApp's webhooks on.
    Dialog360 => dialog360::Dialog360,
    /// Messenger: people who write to a page.
    Messenger => messenger::MESSENGER,
    /// Instagram: people who write to an account.
    Instagram => messenger::INSTAGRAM,
    /// GitLab's webhooks.
    GitLab => gitlab::GitLab,
    /// Shopify's webhooks and Events.
    Shopify => shopify::Shopify,
    /// Twilio's messages, calls and Event Streams.
    Twilio => twilio::Twilio,
    /// GitHub's webhooks.
    GitHub => github::GitHub,
    /// Discord's interactions and webhook events.
    Discord => discord::Discord,
    /// A sender that its source's settings describe.
    Generic => generic::Generic,
    /// SendGrid's Event Webhook.
    SendGrid => sendgrid::SendGrid,
    /// Stripe's webhooks.
    Stripe => stripe::Stripe,
    /// Paddle's webhooks.
    Paddle => paddle::Paddle,
    /// Telegram's bots.
    Telegram => telegram::Telegram,
    /// Slack's events, slash commands and interactions.
    Slack => slack::Slack,
    /// Any sender that keeps to Standard Webhooks.
    StandardWebhooks => standard_webhooks::StandardWebhooks,
    /// Mailgun's webhooks.
    Mailgun => mailgun::Mailgun,
    /// PayPal's webhooks.
    PayPal => paypal::PayPal,
    /// Zoom's webhooks.
    Zoom => zoom::Zoom,
}

impl Provider {
    /// As sources, metrics and event types spell it.
    pub fn as_str(self) -> &'static str {
        self.about().name
    }

    /// What people are told of it.
    pub fn about(self) -> &'static About {
        self.rules().about()
    }

    /// Whether the request comes from whom it says it comes from, and is none of long ago. Compares in constant time.
    ///
    /// A source without secrets takes nothing.
    pub fn verify(self, source: &Source, request: &Request<'_>) -> Verdict {
        self.rules().verify(source, request)
    }

    /// Where the certificate is that a request says it is signed with, if its provider signs with certificates that are to be
    /// fetched: `https`, and an address of the provider's own, whatever the request says. Such a request is for
    /// [`Provider::verify_by`], once the certificate is here; all others are for [`Provider::verify`], which without a
    /// certificate takes nothing that needs one.
    pub fn certificate_url<'r>(self, source: &Source, request: &Request<'r>) -> Option<&'r str> {
        self.rules().certificate_url(source, request)
    }

    /// As [`Provider::verify`], with the certificate that is at [`Provider::certificate_url`].
    pub fn verify_by(self, source: &Source, request: &Request<'_>, certificate: &Certificate) -> Verdict {
        self.rules().verify_by(source, request, certificate)
    }

    /// What to answer to a GET, by its decoded query.
    pub fn handshake(self, source: &Source, query: &[(String, String)]) -> Handshake {
        self.rules().handshake(source, query)
    }

    /// What to answer to a genuine POST that holds no event, but asks whether we are there: nothing of it is enqueued.
    /// `None` for all others.
    pub fn greeting(self, source: &Source, request: &Request<'_>) -> Option<Answer> {
        self.rules().greeting(source, request)
    }

    /// What to answer to a request that was enqueued.
    pub fn thanks(self, request: &Request<'_>) -> Answer {
        self.rules().thanks(request)
    }

    /// The largest body that it sends, in bytes.
    pub fn body_limit(self) -> usize {
        self.about().body_limit
    }

    /// Splits a raw event into its items, in the order in which they stand in it.
    ///
    /// Never fails as a whole, and never loses an item: what cannot be read is a [`vocabulary::Rejection`], and its mates
    /// go on. What an item is called and where it counts from 0 depends on nothing but the bytes and the kept headers.
    pub fn split(self, source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        self.rules().split(source, raw_event)
    }

    /// Checks the settings of a new source.
    ///
    /// # Errors
    /// Names the first setting that the provider does not have, or whose value it cannot use, or that it needs; else those that
    /// do not go together.
    pub fn check_settings(self, settings: &Map<String, Value>) -> Result<(), SettingsError> {
        settings::check(self, settings)?;
        self.rules().check_settings(settings)
    }

    /// Checks of settings that [`Provider::check_settings`] has taken whether they are of any use at this moment.
    ///
    /// # Errors
    /// Says which certificate has ended, or begins later.
    pub fn check_dates(self, settings: &Map<String, Value>, now: DateTime<Utc>) -> Result<(), SettingsError> {
        self.rules().check_dates(settings, now)
    }

    /// The setting that is the URL that the sender was given, where that is part of what is signed: a source that has another
    /// takes nothing.
    pub fn signed_url(self) -> Option<&'static str> {
        self.rules().signed_url()
    }

    /// What can be said of a secret of a source with these settings, by its form alone. Is to be asked before it is kept: one
    /// that is no key would have each webhook answered 401, and nobody would know why.
    pub fn secret_form(self, settings: &Map<String, Value>, secret: &SecretString) -> SecretForm {
        self.rules().secret_form(settings, secret.expose_secret())
    }

    /// A request as the provider would send it, signed with the source's first secret: what `source test` sends.
    ///
    /// # Errors
    /// When only the sender can sign, or the secret is of no use.
    pub fn sample(self, source: &Source, stamp: &Sample<'_>) -> Result<Signed, NoSample> {
        let rules = self.rules();
        let sample = rules.can_sign(source).then(|| rules.sample(source, stamp)).ok_or(NoSample::OnlyTheSenders)?;
        sample.ok_or(NoSample::Unusable)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
