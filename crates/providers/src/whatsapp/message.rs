//! Messages: received, echoed from the business's own phone, or recalled from its history.

use std::borrow::Cow;

use serde_json::{Map, Value};
use vocabulary::{Direction, Effect, Event, NewMessage};

use super::{DISPLAY_PHONE_NUMBER, amendment, content::Content, envelope::Change};
use crate::{
    json::{Fault, Fields, Node, unix_time},
    single::clean_kind,
};

/// What a message says about itself beside its content, and where it went: kept verbatim among the details.
const CIRCUMSTANCES: [&str; 4] = ["group_id", "to", "to_user_id", "history_context"];

/// How we come to know of a message.
pub(super) enum Manner<'h> {
    /// Somebody wrote to the business.
    Received,
    /// The business wrote, with its phone.
    Echoed,
    /// Either of them wrote, before latchhook was there.
    Recalled {
        /// The thread that it stood in, without its messages.
        thread: Option<&'h Value>,
    },
    /// The file of a recalled message, which is sent afterwards under the same wamid.
    RecalledMedia,
}

impl Manner<'_> {
    /// The same wamid may come in several manners, each an event of its own.
    fn key(&self, wamid: &str) -> String {
        match self {
            Self::Received => wamid.to_owned(),
            Self::Echoed => format!("echo:{wamid}"),
            Self::Recalled { .. } => format!("history:{wamid}"),
            Self::RecalledMedia => format!("history:media:{wamid}"),
        }
    }

    fn is_recalled(&self) -> bool {
        matches!(self, Self::Recalled { .. } | Self::RecalledMedia)
    }

    fn direction(&self, change: &Change<'_>, message: &Fields<'_>) -> Direction {
        match self {
            Self::Received => Direction::Incoming,
            Self::Echoed => Direction::Outgoing,
            _ if is_business(change, message) => Direction::Outgoing,
            _ => Direction::Incoming,
        }
    }
}

fn is_business(change: &Change<'_>, message: &Fields<'_>) -> bool {
    let digits = |number: Cow<'_, str>| number.chars().filter(char::is_ascii_digit).collect::<String>();
    let (author, business) = (message.loose_text("from"), change.metadata(DISPLAY_PHONE_NUMBER));
    author.is_some() && author.map(digits) == business.map(digits)
}

/// Reads a message. One without a type is of kind `unknown`.
///
/// # Errors
/// When it has no id, its type is no string, or what its content is taken from has another JSON type.
pub(super) fn read(change: &Change<'_>, node: Node<'_>, manner: &Manner<'_>) -> Result<Event, Fault> {
    let value = node.value()?;
    let message = Fields::of(&value, node.path())?;
    let kind = clean_kind(message.word("type")?.unwrap_or_default());
    let id = message.id("id")?;
    let key = message.key("id", manner.key(id))?;
    let effect = match kind.as_str() {
        "system" => Effect::Notice,
        "reaction" | "edit" | "revoke" => amendment::read(&kind, &message)?,
        _ => Effect::Message(Box::new(new_message(change, id, &kind, &message, manner)?)),
    };
    let occurred_at = message.get("timestamp").and_then(unix_time);
    Ok(Event { key, kind, occurred_at, raw: node.raw(), raw_is_json: true, effect, quiet: manner.is_recalled() })
}

fn new_message(
    change: &Change<'_>,
    id: &str,
    kind: &str,
    message: &Fields<'_>,
    manner: &Manner<'_>,
) -> Result<NewMessage, Fault> {
    let Content { text, attachments, details } = Content::of(kind, message)?;
    let direction = manner.direction(change, message);
    Ok(NewMessage {
        external_id: id.to_owned(),
        direction,
        sender: (direction == Direction::Incoming).then(|| change.people.sender_of(message)).flatten(),
        content: text,
        attachments,
        context: message.get("context").map(Value::from),
        referral: message.get("referral").map(Value::from),
        errors: message.get("errors").map(Value::from),
        details: with_circumstances(kind, details, message, manner),
    })
}

fn with_circumstances(kind: &str, details: Option<Value>, message: &Fields<'_>, manner: &Manner<'_>) -> Option<Value> {
    let thread = match manner {
        Manner::Recalled { thread } => *thread,
        _ => None,
    };
    let said = CIRCUMSTANCES.into_iter().filter_map(|name| Some((name, message.get(name)?.into())));
    let said = said.chain(thread.map(|thread| ("thread", thread.clone())));
    let mut all: Map<String, Value> = said.map(|(name, value)| (name.to_owned(), value)).collect();
    all.extend(details.map(|own| (kind.to_owned(), own)));
    (!all.is_empty()).then_some(Value::Object(all))
}
