//! Who wrote a message. People may hide their phone number: a business-scoped user id (BSUID) is then all there is.

use std::{borrow::Cow, cell::OnceCell, collections::HashMap};

use vocabulary::Sender;

use super::shared::is_short;
use crate::json::{Fields, Json, Node};

/// The end of a phone number that its forms share. Brazil, Argentina and Mexico have two for a mobile phone: with and
/// without a digit between the country's code and the rest.
const SHARED_DIGITS: usize = 8;

/// The names that people chose, as a change's `contacts` give them. Read when the first message asks for one.
pub(super) struct People<'t> {
    contacts: Option<Node<'t>>,
    messages: Option<Node<'t>>,
    named: OnceCell<Named<'t>>,
    author: OnceCell<Option<Cow<'t, str>>>,
}

/// Whoever has a name.
#[derive(Default)]
struct Named<'t> {
    names: HashMap<Cow<'t, str>, Cow<'t, str>>,
    /// The only contact of a change.
    lone: Option<(Cow<'t, str>, Ids<'t>)>,
}

/// What a person is known by, as a contact or a message says.
struct Ids<'t> {
    user_id: Option<Cow<'t, str>>,
    phone: Option<Cow<'t, str>>,
}

impl<'t> People<'t> {
    /// Takes a change's `contacts`, and its `messages`, which tell how many people wrote them.
    pub(super) fn of(contacts: Option<Node<'t>>, messages: Option<Node<'t>>) -> Self {
        Self { contacts, messages, named: OnceCell::new(), author: OnceCell::new() }
    }

    /// The sender of a message, as far as it says.
    pub(super) fn sender_of(&self, message: &Fields<'_>) -> Option<Sender> {
        let ids = Ids { user_id: message.loose_text("from_user_id"), phone: message.loose_text("from") };
        let known = ids.each().find_map(|id| self.named().names.get(id));
        let name = known.or_else(|| self.lone_name_of(&ids)).map(|name| name.to_string());
        let id = ids.lasting().map(|id| id.to_string());
        let sender = Sender { id, phone: ids.phone.map(Cow::into_owned), name };
        (sender != Sender::default()).then_some(sender)
    }

    fn named(&self) -> &Named<'t> {
        self.named.get_or_init(|| {
            let contacts = self.contacts.as_ref().and_then(|contacts| contacts.value().ok());
            contacts.as_ref().and_then(Json::as_array).map(Named::of).unwrap_or_default()
        })
    }

    /// The name of the only contact, if that can only be the author with these ids.
    fn lone_name_of(&self, ids: &Ids<'_>) -> Option<&Cow<'t, str>> {
        let (name, lone) = self.named().lone.as_ref()?;
        let author = ids.lasting()?;
        (lone.may_be(ids) && self.author().is_some_and(|by| by == author)).then_some(name)
    }

    /// Whoever wrote all messages of the change.
    fn author(&self) -> Option<&Cow<'t, str>> {
        self.author.get_or_init(|| lone_author(self.messages?)).as_ref()
    }
}

impl<'t> Named<'t> {
    /// Whoever is oddly described has no name.
    fn of(contacts: &[Json<'t>]) -> Self {
        let mut named: Vec<_> = contacts.iter().filter_map(named).collect();
        let of_ids = |(name, ids): &(Cow<'t, str>, Ids<'t>)| {
            [&ids.user_id, &ids.phone].map(|id| Some((id.clone()?, name.clone())))
        };
        let names = named.iter().flat_map(of_ids).flatten().collect();
        Self { names, lone: if contacts.len() == 1 { named.pop() } else { None } }
    }
}

impl Ids<'_> {
    /// All of them, the lasting one first.
    fn each(&self) -> impl Iterator<Item = &str> {
        self.user_id.iter().chain(&self.phone).map(AsRef::as_ref)
    }

    fn lasting(&self) -> Option<&str> {
        self.each().next()
    }

    /// Whether nothing that both have speaks against one person.
    fn may_be(&self, other: &Ids<'_>) -> bool {
        let user_ids = self.user_id.as_ref().zip(other.user_id.as_ref());
        let phones = self.phone.as_ref().zip(other.phone.as_ref());
        user_ids.is_none_or(|(one, two)| one == two) && phones.is_none_or(|(one, two)| are_forms_of_one(one, two))
    }
}

/// The lasting id of whoever wrote a message, also where that is the business itself.
pub(super) fn author_of<'v>(message: &Fields<'v>) -> Option<Cow<'v, str>> {
    message.loose_text("from_user_id").or_else(|| message.loose_text("from"))
}

fn named<'t>(contact: &Json<'t>) -> Option<(Cow<'t, str>, Ids<'t>)> {
    let name = contact.get("profile")?.get("name").and_then(Json::loose_text)?;
    let id = |name| contact.get(name).and_then(Json::loose_text);
    let ids = Ids { user_id: id("user_id"), phone: id("wa_id") };
    (is_short(&name) && ids.each().all(is_short)).then_some((name, ids))
}

/// Of messages that are not all by one author, or do not all say by whom they are, there is none.
fn lone_author<'t>(messages: Node<'t>) -> Option<Cow<'t, str>> {
    let mut authors = messages.peek().ok()?.map(|message| {
        let message = message.object().ok()?;
        let id = |name| message.get(name)?.value().ok()?.loose_text();
        id("from_user_id").or_else(|| id("from"))
    });
    let first = authors.next()?;
    first.filter(|first| authors.all(|author| author.as_ref() == Some(first)))
}

fn are_forms_of_one(number: &str, other: &str) -> bool {
    let end =
        |number: &str| -> Vec<char> { number.chars().rev().filter(char::is_ascii_digit).take(SHARED_DIGITS).collect() };
    end(number).len() == SHARED_DIGITS && end(number) == end(other)
}
