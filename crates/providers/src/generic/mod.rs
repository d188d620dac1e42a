//! A sender that has no file here, described by its source's settings alone.
//!
//! * `settings.rs`: what can be said; `recipe.rs`: what goes together.
//! * `template.rs`: what is signed; `verify.rs`: by whom, and when; `sample.rs`: the other way round.
//!
//! What is taken from a sender must be signed, for else it is the word of whoever sends the request: the body always, the
//! time if it is to count. A key in a header is not signed by most; TLS is then what keeps it.

mod recipe;
mod sample;
mod settings;
mod template;
#[cfg(test)]
mod tests;
mod verify;

use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use vocabulary::{Effect, Event, Item, RawEvent, Source};

use crate::{
    About, Answer, Handshake, Request, Sample, SecretForm, SettingsError, Verdict,
    json::{Fault, Json, Path, Text, key},
    reason,
    request::Signed,
    rules::Rules,
    signature::{Doubt, only_parameter, verdict},
    single::{clean_kind, joined, required, sha256},
};
use recipe::{Algorithm, Known, Place, Recipe};

/// A sender that is described by settings.
pub(crate) struct Generic;

const ABOUT: About = About {
    name: "generic",
    title: "any other sender",
    page: "the page of the sender that says how its webhooks are verified",
    secret: "what the sender signs with: its secret, its public key, or the token that it sends",
    url: "where the sender takes the URL",
    verify_token: None,
    signature: "as the settings say",
    key: "as the settings key_header, key_pointer or, as the last resort, key_hash say",
    repeats_for: None,
    // Which these are, the settings say.
    kept_headers: &[],
    body_limit: 3 * 1024 * 1024,
    settings: settings::SETTINGS,
};

/// What an event is called whose sender does not say.
const KIND: &str = "event";

/// Bytes. Who asks whether we are there says little else, and nothing longer is read at the door.
const MAX_QUESTION: usize = 16 * 1024;

impl Rules for Generic {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check_settings(&self, settings: &Map<String, Value>) -> Result<(), SettingsError> {
        Recipe::of(settings).map(|_| ())
    }

    fn secret_form(&self, settings: &Map<String, Value>, secret: &str) -> SecretForm {
        Recipe::of(settings).map_or(SecretForm::Usual, |recipe| recipe.form_of(secret))
    }

    /// A token that vouches for a request is a secret, and not kept with it.
    fn kept_headers<'s>(&self, settings: &'s Map<String, Value>) -> Vec<&'s str> {
        let Ok(recipe) = Recipe::of(settings) else { return Vec::new() };
        let signature = match (recipe.algorithm, &recipe.place) {
            (Algorithm::Equal, _) | (_, Place::Query(_)) => None,
            (_, Place::Header(name)) => Some(*name),
        };
        let time = recipe.timestamp.and_then(|timestamp| timestamp.from.ok());
        let known = [Some(&recipe.key), recipe.kind.as_ref()].map(|known| known.and_then(Known::header));
        let mut names: Vec<_> = [signature, time, recipe.id_header].into_iter().chain(known).flatten().collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn verify(&self, source: &Source, request: &Request<'_>) -> Verdict {
        verdict(believe(source, request))
    }

    fn handshake(&self, source: &Source, query: &[(String, String)]) -> Handshake {
        let Some(name) = setting(source, "challenge_query") else { return Handshake::None };
        only_parameter(query, name).map_or(Handshake::Refused, |challenge| Handshake::Answer(challenge.to_owned()))
    }

    fn greeting(&self, source: &Source, request: &Request<'_>) -> Option<Answer> {
        let pointer = setting(source, "challenge_pointer").filter(|_| request.body.len() <= MAX_QUESTION)?;
        let body: Value = serde_json::from_slice(request.body).ok()?;
        Some(Answer::text(body.pointer(pointer)?.as_str()?.to_owned()))
    }

    fn split(&self, source: &Source, raw_event: &RawEvent) -> Vec<Item> {
        let read = || read(&Recipe::of(&source.settings).map_err(|error| unfit(&error))?, raw_event);
        vec![read().map_err(|fault: Fault| fault.rejects_body(raw_event.body.clone()))]
    }

    fn signed_url(&self) -> Option<&'static str> {
        Some("url")
    }

    fn can_sign(&self, source: &Source) -> bool {
        !Recipe::of(&source.settings).is_ok_and(|recipe| matches!(recipe.algorithm, Algorithm::Public(_)))
    }

    fn sample(&self, source: &Source, sample: &Sample<'_>) -> Option<Signed> {
        sample::of(&Recipe::of(&source.settings).ok()?, source.secrets.first()?.expose_secret(), sample)
    }
}

fn setting<'s>(source: &'s Source, name: &str) -> Option<&'s str> {
    source.settings.get(name).and_then(Value::as_str)
}

fn believe(source: &Source, request: &Request<'_>) -> Result<(), Doubt> {
    let recipe = Recipe::of(&source.settings).map_err(|_| "the source's settings do not go together")?;
    verify::believe(&recipe, source, request)
}

fn unfit(error: &SettingsError) -> Fault {
    Fault::at("the source's settings", reason::MISSING_ID, error)
}

/// One body is one event. It need be no JSON, if nothing is looked for in it.
fn read(recipe: &Recipe<'_>, raw_event: &RawEvent) -> Result<Event, Fault> {
    let text = Text::of(&raw_event.body);
    let body = match (&recipe.key, &recipe.kind) {
        (Known::Pointers(_), _) => text.root()?.value()?,
        (_, Some(Known::Pointers(_))) => text.root().and_then(|node| node.value()).unwrap_or_default(),
        _ => Json::Null,
    };
    let kind = recipe.kind.as_ref().and_then(|kind| kind.find(raw_event, &body).ok());
    Ok(Event {
        key: key(&Path::default(), recipe.key.find(raw_event, &body)?)?,
        kind: clean_kind(kind.as_deref().unwrap_or(KIND)),
        occurred_at: None,
        raw: raw_event.body.clone(),
        raw_is_json: false,
        effect: Effect::Notice,
        quiet: false,
    })
}

impl<'s> Known<'s> {
    fn header(&self) -> Option<&'s str> {
        if let Self::Header(name) = self { Some(name) } else { None }
    }

    /// What is said where it is looked for.
    ///
    /// # Errors
    /// Names the first place where nothing is said.
    fn find(&self, raw_event: &RawEvent, body: &Json<'_>) -> Result<String, Fault> {
        match self {
            Self::Header(name) => required(raw_event, name).map(str::to_owned),
            Self::Pointers(pointers) => {
                let missing = |pointer| Fault::at(pointer, reason::MISSING_ID, "there is no string or number there");
                let said = |pointer| body.pointer(pointer).and_then(Json::loose_text).ok_or_else(|| missing(pointer));
                let parts = pointers.iter().copied().map(said).collect::<Result<Vec<_>, _>>()?;
                Ok(joined(parts.iter().map(AsRef::as_ref)))
            }
            Self::Hash => Ok(format!("sha256:{}", sha256(&raw_event.body))),
        }
    }
}
