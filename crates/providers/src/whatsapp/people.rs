//! Who wrote a message. People may hide their phone number: a business-scoped user id (BSUID) is then all there is.

use std::collections::HashMap;

use serde_json::Value;
use vocabulary::Sender;

use crate::json::{Fields, loose_text};

/// The names that people chose, as a change's `contacts` give them.
#[derive(Debug, Default)]
pub(super) struct People {
    names: HashMap<String, String>,
    only: Option<Only>,
}

/// The only contact of a change.
#[derive(Debug)]
struct Only {
    name: String,
    user_id: Option<String>,
    phone: Option<String>,
}

/// Numbers of Brazil, Argentina and Mexico come with and without a digit behind the country code; the rest stays.
const LASTING_DIGITS: usize = 8;

impl Only {
    /// Whether it may be whoever wrote a message, although neither id is the same: nothing that both have differs.
    fn may_be(&self, user_id: Option<&String>, phone: Option<&String>) -> bool {
        let tail = |number: &String| number.chars().rev().take(LASTING_DIGITS).collect::<String>();
        let differ =
            |ours: Option<String>, theirs: Option<String>| ours.is_some() && theirs.is_some() && ours != theirs;
        !differ(self.user_id.clone(), user_id.cloned()) && !differ(self.phone.as_ref().map(tail), phone.map(tail))
    }
}

impl People {
    /// Reads `contacts`. Whoever is oddly described has no name.
    pub(super) fn of(contacts: &Value) -> Self {
        let contacts = contacts.as_array().map_or(&[][..], Vec::as_slice);
        let mut people = Self::default();
        for contact in contacts {
            let Some(name) = contact.pointer("/profile/name").and_then(loose_text) else { continue };
            for id in [contact.get("user_id"), contact.get("wa_id")] {
                people.names.extend(id.and_then(loose_text).map(|id| (id, name.clone())));
            }
            let text = |field| contact.get(field).and_then(loose_text);
            let only = Only { name, user_id: text("user_id"), phone: text("wa_id") };
            people.only = (contacts.len() == 1).then_some(only);
        }
        people
    }

    /// The sender of a message, as far as it says.
    pub(super) fn sender_of(&self, message: &Fields<'_>) -> Option<Sender> {
        let (user_id, phone) = (message.loose_text("from_user_id"), message.loose_text("from"));
        let known_as = |id: &Option<String>| self.names.get(id.as_ref()?).cloned();
        let only = || self.only.as_ref().filter(|only| only.may_be(user_id.as_ref(), phone.as_ref()));
        let name = known_as(&user_id).or_else(|| known_as(&phone)).or_else(|| only().map(|only| only.name.clone()));
        let sender = Sender { id: user_id.or_else(|| phone.clone()), phone, name };
        (sender != Sender::default()).then_some(sender)
    }
}

/// The lasting id of whoever wrote a message, also where that is the business itself.
pub(super) fn author_of(message: &Fields<'_>) -> Option<String> {
    message.loose_text("from_user_id").or_else(|| message.loose_text("from"))
}
