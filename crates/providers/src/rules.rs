//! What a provider's file has to say.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use vocabulary::{Item, RawEvent, Source};

use crate::{
    About, Answer, Certificate, Handshake, Request, Sample, SecretForm, SettingsError, Verdict, request::Signed,
};

/// One provider's rules. Pure: no I/O and no clock.
pub(crate) trait Rules: Sync {
    /// What people are told, and what the door needs to know beforehand.
    fn about(&self) -> &'static About;

    /// Whether one of the source's secrets vouches for the request. Whatever is odd about it is a forgery.
    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict;

    /// Where the certificate is that a request says it is signed with: an address of the provider's own, whatever the request
    /// says.
    fn certificate_url<'r>(&self, _source: &Source, _request: &Request<'r>) -> Option<&'r str> {
        None
    }

    /// The same as [`Rules::verify`], with the certificate that is there.
    fn verify_by(&self, source: &Source, request: &Request<'_>, _certificate: &Certificate) -> Verdict {
        self.verify(source, request)
    }

    /// The items of a raw event that was genuine.
    fn split(&self, source: &Source, raw_event: &RawEvent) -> Vec<Item>;

    /// Whether settings, each of which could be had, go together.
    fn check_settings(&self, _settings: &Map<String, Value>) -> Result<(), SettingsError> {
        Ok(())
    }

    /// Whether settings that go together are of any use at this moment.
    fn check_dates(&self, _settings: &Map<String, Value>, _now: DateTime<Utc>) -> Result<(), SettingsError> {
        Ok(())
    }

    /// The setting that is the URL that the sender was given, where that is part of what is signed.
    fn signed_url(&self) -> Option<&'static str> {
        None
    }

    /// What can be said of a secret by its form alone.
    fn secret_form(&self, _settings: &Map<String, Value>, _secret: &str) -> SecretForm {
        SecretForm::Usual
    }

    /// The headers worth keeping with a raw event, in lower case.
    fn kept_headers<'s>(&self, _settings: &'s Map<String, Value>) -> Vec<&'s str> {
        self.about().kept_headers.to_vec()
    }

    /// What to answer to a GET.
    fn handshake(&self, _source: &Source, _query: &[(String, String)]) -> Handshake {
        Handshake::None
    }

    /// What to answer to a genuine POST that only asks whether we are there.
    fn greeting(&self, _source: &Source, _request: &Request<'_>) -> Option<Answer> {
        None
    }

    /// What to answer to what was enqueued.
    fn thanks(&self, _request: &Request<'_>) -> Answer {
        Answer::OK
    }

    /// Whether the source's first secret is what signs. Not where it only verifies: then there is no sample.
    fn can_sign(&self, _source: &Source) -> bool {
        true
    }

    /// A request as the provider would send it. `None` where the secret cannot be used.
    fn sample(&self, _source: &Source, _sample: &Sample<'_>) -> Option<Signed> {
        None
    }
}
