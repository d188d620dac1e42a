//! What people are told of a provider.

use std::time::Duration;

use crate::Setting;

/// What people are told of a provider, and what the door needs to know before it has read a body.
#[derive(Debug)]
pub struct About {
    /// As sources, metrics and event types spell it: lower case, digits and `_`.
    pub name: &'static str,
    /// As it calls itself.
    pub title: &'static str,
    /// The page of its documentation that this follows.
    pub page: &'static str,
    /// What a secret of its sources is, and where its console shows it.
    pub secret: &'static str,
    /// Where its console takes the URL.
    pub url: &'static str,
    /// What its handshake must show, and who chooses that; `None` where it has no token of that kind.
    pub verify_token: Option<&'static str>,
    /// What is signed, and how.
    pub signature: &'static str,
    /// What a key is made of. Never of what changes between two deliveries of the same.
    pub key: &'static str,
    /// How long it goes on sending what was not answered with 2xx; `None` where it does not say.
    pub repeats_for: Option<Duration>,
    /// The headers worth keeping with a raw event, in lower case: what its key or its kind is made of, and the signature,
    /// so that what is kept can be verified once more.
    pub kept_headers: &'static [&'static str],
    /// The largest body that it sends, in bytes.
    pub body_limit: usize,
    /// What its sources may or must be told.
    pub settings: &'static [Setting],
}
