//! Who wrote a message. People may hide their phone number: a business-scoped user id (BSUID) is then all there is.

use std::collections::HashMap;

use serde_json::Value;
use vocabulary::Sender;

use crate::json::{Fields, loose_text};

/// The names that people chose, as a change's `contacts` give them.
#[derive(Debug, Default)]
pub(super) struct People {
    names: HashMap<String, String>,
    only: Option<String>,
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
            people.only = (contacts.len() == 1).then_some(name);
        }
        people
    }

    /// The sender of a message, as far as it says.
    pub(super) fn sender_of(&self, message: &Fields<'_>) -> Option<Sender> {
        let (user_id, phone) = (message.loose_text("from_user_id"), message.loose_text("from"));
        let known_as = |id: &Option<String>| self.names.get(id.as_ref()?).cloned();
        let name = known_as(&user_id).or_else(|| known_as(&phone)).or_else(|| self.only.clone());
        let sender = Sender { id: user_id.or_else(|| phone.clone()), phone, name };
        (sender != Sender::default()).then_some(sender)
    }
}

/// The lasting id of whoever wrote a message, also where that is the business itself.
pub(super) fn author_of(message: &Fields<'_>) -> Option<String> {
    message.loose_text("from_user_id").or_else(|| message.loose_text("from"))
}
