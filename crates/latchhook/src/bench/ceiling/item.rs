//! The item in a body, as cheaply as it can be had: what is read is borrowed, what is not needed is skipped.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    changes: Vec<Change<'a>>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    value: Value<'a>,
}

#[derive(Deserialize)]
struct Value<'a> {
    #[serde(borrow, default)]
    contacts: Vec<Contact<'a>>,
    #[serde(borrow, default)]
    messages: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Contact<'a> {
    #[serde(borrow)]
    profile: Profile<'a>,
    #[serde(borrow)]
    wa_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Profile<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    from: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    timestamp: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    text: Text<'a>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow)]
    body: Cow<'a, str>,
}

/// A text message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    /// Its key, which is also the message's id.
    pub wamid: Cow<'a, str>,
    pub from: Cow<'a, str>,
    /// What the sender is called.
    pub name: Option<Cow<'a, str>>,
    pub text: Cow<'a, str>,
    /// Seconds since 1970.
    pub sent_at: i64,
    /// All of it, as it was sent.
    pub raw: &'a str,
}

/// The text messages in a body, and how many items are something else.
pub(super) fn items(body: &[u8]) -> (Vec<Item<'_>>, usize) {
    let Ok(body) = serde_json::from_slice::<Body<'_>>(body) else { return (Vec::new(), 1) };
    let (mut items, mut others) = (Vec::new(), 0);
    for change in body.entry.into_iter().flat_map(|entry| entry.changes) {
        others += usize::from(change.value.messages.is_empty());
        for message in &change.value.messages {
            match item(message.get(), &change.value.contacts) {
                Some(item) => items.push(item),
                None => others += 1,
            }
        }
    }
    (items, others)
}

fn item<'a>(raw: &'a str, contacts: &[Contact<'a>]) -> Option<Item<'a>> {
    let Message { from, id, timestamp, kind, text } = serde_json::from_str(raw).ok()?;
    if kind != "text" {
        return None;
    }
    let name = contacts.iter().find(|contact| contact.wa_id == from).map(|contact| contact.profile.name.clone());
    Some(Item { wamid: id, from, name, text: text.body, sent_at: timestamp.parse().ok()?, raw })
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! recorded {
        ($name:literal) => {
            include_bytes!(concat!("../../../../../tests/fixtures/whatsapp/", $name, ".json"))
        };
    }

    #[test]
    fn a_text_is_read_whole() {
        let (items, others) = items(recorded!("01_text"));

        assert_eq!((items.len(), others), (1, 0));
        let Item { wamid, from, name, text, sent_at, raw } = &items[0];
        assert_eq!(wamid, "wamid.HBgLmC2ePrmW9VnmM/TRlN7zdh2Qn1o7ZH0a");
        assert_eq!((from.as_ref(), name.as_deref()), ("15550101234", Some("Ines Okafor")));
        assert_eq!((text.as_ref(), *sent_at), ("Hello, is the blue one in stock?", 1_771_000_000));
        assert!(raw.starts_with('{') && raw.ends_with('}'));
    }

    #[test]
    fn whatever_is_no_text_is_counted() {
        assert_eq!(items(recorded!("27_status_delivered")), (Vec::new(), 1));
        assert_eq!(items(recorded!("04_image_caption")), (Vec::new(), 1));
        assert_eq!(items(b"no JSON"), (Vec::new(), 1));
    }
}
