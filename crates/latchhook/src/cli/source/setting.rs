//! `--setting`: what only a source's provider understands.

use anyhow::ensure;
use chrono::{DateTime, Utc};
use hyper::Uri;
use providers::Provider;
use serde_json::{Map, Value};
use vocabulary::SourceId;

use super::{Context, path};

/// Splits what is given.
pub(super) fn parse(text: &str) -> Result<(String, String), String> {
    let (name, text) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), text.to_owned()))
}

/// The settings of a source, which its provider can use at this moment.
///
/// # Errors
/// Names the setting that is given twice, or that cannot be used, and says what it must be.
pub(super) fn all(
    provider: Provider,
    id: &SourceId,
    given: Vec<(String, String)>,
    now: DateTime<Utc>,
) -> anyhow::Result<Map<String, Value>> {
    let mut settings = Map::new();
    for (name, text) in given {
        let value = value(provider, &name, &text);
        ensure!(settings.insert(name.clone(), value).is_none(), "the setting {name} is given twice");
    }
    provider.check_settings(&settings)?;
    provider.check_dates(&settings, now)?;
    if let Some(name) = provider.signed_url()
        && let Some(Value::String(url)) = settings.get_mut(name)
    {
        *url = completed(name, url, id)?;
    }
    Ok(settings)
}

/// Says which settings a source that is added again has others of, and what that does to its keys.
pub(super) fn note_others(context: &Context<'_>, id: &SourceId, before: &Value, now: &Map<String, Value>) {
    let before = before.as_object().into_iter().flatten();
    let others: Vec<_> = before.filter(|(name, value)| now.get(*name) != Some(value)).map(|(name, _)| name).collect();
    let there: Vec<_> = others.iter().filter(|name| now.contains_key(**name)).map(|name| name.as_str()).collect();
    if !there.is_empty() {
        context.note(&format!("{id} has another setting than before: {}", there.join(", ")));
    }
    // What those of generic are called that say by what an event is known: it always has one.
    if others.iter().any(|name| name.starts_with("key_")) {
        context.note(
            "What its sender sends again of before may have another key now, and is then recorded as a new event",
        );
    }
}

/// What can be a text is one, as it stands: the digits of an id are no number. A text in JSON's quotes is what they hold.
fn value(provider: Provider, name: &str, text: &str) -> Value {
    let setting = provider.about().settings.iter().find(|setting| setting.name == name);
    let as_it_stands = Value::String(text.to_owned());
    match serde_json::from_str(text) {
        Ok(quoted @ Value::String(_)) => quoted,
        Ok(json) if !setting.is_some_and(|setting| (setting.takes)(&as_it_stands)) => json,
        _ => as_it_stands,
    }
}

/// The URL that the sender is given, of its host alone or whole. What is no URL with a host is left as it is: there are
/// senders that sign a path.
fn completed(name: &str, url: &str, id: &SourceId) -> anyhow::Result<String> {
    let Some((base, behind)) = base_of(url) else { return Ok(url.to_owned()) };
    let path = path(id.as_str());
    if matches!(behind, "" | "/") {
        return Ok(format!("{base}{path}"));
    }
    let own = behind.split('?').next().unwrap_or_default();
    ensure!(
        own.rsplit_once('/').is_some_and(|(_, last)| last == id.as_str()),
        "{name} is {url}, and the last part of its path is not the id of this source, {id}: its sender would be answered 404, \
         or its signature refused. Write --setting {name}={base}, which is completed to {base}{path}"
    );
    Ok(url.to_owned())
}

/// What stands before the path of a URL, and what from there on.
fn base_of(url: &str) -> Option<(&str, &str)> {
    url.parse::<Uri>().ok()?.authority()?;
    let host = url.find("://")? + "://".len();
    let end = url[host..].find(['/', '?']).map_or(url.len(), |place| host + place);
    Some(url.split_at(end))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(provider: Provider, given: &[&str]) -> anyhow::Result<Value> {
        let given = given.iter().map(|text| parse(text).unwrap()).collect();
        all(provider, &"tw".parse().unwrap(), given, DateTime::UNIX_EPOCH).map(Value::Object)
    }

    #[test]
    fn what_can_be_a_text_is_one_and_everything_else_is_json() {
        let generic = ["algorithm=equal", "signature_header=x-t", "key_pointer=/id", "form=prefix"];

        for (given, name, value) in [
            ("prefix=1", "prefix", json!("1")),
            ("prefix=true", "prefix", json!("true")),
            ("prefix=a=b", "prefix", json!("a=b")),
            ("prefix=\"1 \"", "prefix", json!("1 ")),
            ("prefix=\"", "prefix", json!("\"")),
        ] {
            let settings = settings(Provider::Generic, &[&generic[..], &[given]].concat()).unwrap();
            assert_eq!(settings[name], value, "{given}");
        }
        let stripe = ["algorithm=hmac-sha256", "signature_header=x-t", "key_hash=true", "signed={timestamp}{body}"];
        let timed = [&stripe[..], &["timestamp_header=x-time", "tolerance=60"]].concat();
        let timed = settings(Provider::Generic, &timed).unwrap();
        assert_eq!((&timed["key_hash"], &timed["tolerance"]), (&json!(true), &json!(60)));
        for id in ["106540352242922", "\"106540352242922\""] {
            let whatsapp = settings(Provider::WhatsApp, &[&format!("phone_number_id={id}")]).unwrap();
            assert_eq!(whatsapp["phone_number_id"], "106540352242922");
        }
    }

    #[test]
    fn a_url_that_is_signed_is_completed_with_the_path_of_the_source_or_leads_to_it() {
        let public_url = |url: &str| settings(Provider::Twilio, &[&format!("public_url={url}")]);

        for (given, whole) in [
            ("https://hooks.example.com", "https://hooks.example.com/hooks/tw"),
            ("https://hooks.example.com:8443/", "https://hooks.example.com:8443/hooks/tw"),
            ("https://hooks.example.com/hooks/tw", "https://hooks.example.com/hooks/tw"),
            ("https://hooks.example.com/in/tw?a=/b", "https://hooks.example.com/in/tw?a=/b"),
        ] {
            assert_eq!(public_url(given).unwrap()["public_url"], whole);
        }
        for wrong in ["/hooks/other", "/hooks/tw/", "/tw2", "?tw", "/hooks?/tw"] {
            let refusal = public_url(&format!("https://h.example{wrong}")).unwrap_err().to_string();
            let advice =
                "Write --setting public_url=https://h.example, which is completed to https://h.example/hooks/tw";
            assert!(refusal.contains("not the id of this source, tw") && refusal.ends_with(advice), "{refusal}");
        }
        let signed = ["algorithm=hmac-sha256", "signature_header=x-t", "key_hash=true", "signed={url}{body}"];
        let url = |url| settings(Provider::Generic, &[&signed[..], &[url]].concat());
        assert_eq!(url("url=https://h.example").unwrap()["url"], "https://h.example/hooks/tw");
        assert_eq!(url("url=/a/path").unwrap()["url"], "/a/path", "what is no URL is the sender's");
        assert!(url("url=https://h.example/hooks/other").is_err());
    }
}
