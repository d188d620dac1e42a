//! Where deliveries go.

use std::{fmt, str::FromStr, time::Duration};

use serde::Serialize;

use crate::{Filter, GiveUpOn, SourceId};

/// What an endpoint asks for, beside where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// What it wants to hear of.
    pub event_types: EventTypes,
    /// Whose events; `None` are those of all sources of its account.
    pub sources: Option<Vec<SourceId>>,
    /// What their full body must say; `None` is anything.
    pub filter: Option<Filter>,
    /// Which body it is told.
    pub format: Format,
    /// The pauses between attempts; `None` is the dispatcher's schedule.
    pub schedule: Option<Vec<Duration>>,
    /// After which answers nothing is tried again; `None` is after none.
    pub give_up_on: Option<GiveUpOn>,
    /// Requests at the same time, of the whole fleet; `None` is what each dispatcher may.
    pub max_in_flight: Option<u32>,
    /// Requests per second, of the whole fleet; `None` is no limit.
    pub max_per_second: Option<f64>,
    /// What its deliveries are ordered by; `None` is no order.
    pub ordered_by: Option<OrderedBy>,
}

impl Terms {
    /// An endpoint that wants these events of all sources, as they come.
    pub fn of(event_types: EventTypes) -> Self {
        Self {
            event_types,
            sources: None,
            filter: None,
            format: Format::Full,
            schedule: None,
            give_up_on: None,
            max_in_flight: None,
            max_per_second: None,
            ordered_by: None,
        }
    }
}

/// Which body an endpoint is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Everything that is known of the event.
    #[default]
    Full,
    /// Ids only: who wants more asks for it.
    Thin,
}

/// What an endpoint's deliveries are ordered by: those of a lane are sent one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderedBy {
    /// A lane per source.
    Source,
    /// A lane per sender of a source; what has no sender shares its source's.
    Sender,
}

/// A name that is none of those that there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is neither {first} nor {second}")]
pub struct NameError {
    given: String,
    first: &'static str,
    second: &'static str,
}

impl Format {
    /// As columns and commands name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Thin => "thin",
        }
    }
}

impl FromStr for Format {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "full" => Ok(Self::Full),
            "thin" => Ok(Self::Thin),
            _ => Err(NameError { given: text.to_owned(), first: "full", second: "thin" }),
        }
    }
}

impl OrderedBy {
    /// As columns and commands name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sender => "sender",
        }
    }
}

impl FromStr for OrderedBy {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "source" => Ok(Self::Source),
            "sender" => Ok(Self::Sender),
            _ => Err(NameError { given: text.to_owned(), first: "source", second: "sender" }),
        }
    }
}

/// The event types that an endpoint wants: names, and beginnings of names with a `*` behind them. `message_*` is every type
/// that begins with `message_`, `whatsapp.*` every notice of WhatsApp, and `*` alone every type. A `*` stands nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct EventTypes(Vec<String>);

/// Why a list names no event types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventTypesError {
    /// Nothing in it.
    #[error("an endpoint without event types would hear of nothing: name some, or * for all")]
    Empty,
    /// Not a name.
    #[error(
        "{0:?} is no event type: letters, digits, _ and . (message_created, whatsapp.system), at the end a * for whatever \
         follows (message_*, whatsapp.*), or * for all"
    )]
    Name(String),
}

impl EventTypes {
    /// The names of which one makes an endpoint want an event.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether an event of this type is wanted.
    pub fn want(&self, event_type: &str) -> bool {
        self.0.iter().any(|name| match name.strip_suffix('*') {
            Some(beginning) => event_type.starts_with(beginning),
            None => name == event_type,
        })
    }

    /// Takes names as a column keeps them.
    ///
    /// # Errors
    /// When there is none, or one is neither `*` nor `[A-Za-z0-9_.]+` with at most a `*` behind it.
    pub fn from_names(names: Vec<String>) -> Result<Self, EventTypesError> {
        if names.is_empty() {
            return Err(EventTypesError::Empty);
        }
        match names.iter().find(|name| !is_name(name)) {
            Some(bad) => Err(EventTypesError::Name(bad.clone())),
            None => Ok(Self(names)),
        }
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    !name.is_empty() && name.strip_suffix('*').unwrap_or(name).bytes().all(allowed)
}

impl FromStr for EventTypes {
    type Err = EventTypesError;

    /// Reads a list with commas: `message_created,message_updated`.
    fn from_str(text: &str) -> Result<Self, EventTypesError> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Self::from_names(names.map(str::to_owned).collect())
    }
}

impl fmt::Display for EventTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(names: &str, event_type: &str) -> bool {
        names.parse::<EventTypes>().unwrap().want(event_type)
    }

    #[test]
    fn a_star_at_the_end_of_a_name_stands_for_whatever_follows() {
        for (names, event_type) in [
            ("*", "whatsapp.system"),
            ("message_*", "message_created"),
            ("message_*", "message_updated"),
            ("whatsapp.*", "whatsapp.system"),
            ("whatsapp.*", "whatsapp.a.b"),
            ("whatsapp.sys*", "whatsapp.system"),
            ("message_created*", "message_created"),
            ("whatsapp.*, message_created", "message_created"),
        ] {
            assert!(want(names, event_type), "{names} {event_type}");
        }
        for (names, event_type) in [
            ("message_*", "whatsapp.message_created"),
            ("whatsapp.*", "whatsapp_business.x"),
            ("whatsapp.*", "message_created"),
            ("message_created", "message_created_twice"),
            ("Message_*", "message_created"),
        ] {
            assert!(!want(names, event_type), "{names} {event_type}");
        }
    }

    #[test]
    fn a_star_anywhere_else_is_refused_with_what_is_allowed() {
        for bad in ["*.system", "mess*ge_created", "**", "message_**", "*,*x", "message-*", "whatsapp.?"] {
            let refused = bad.parse::<EventTypes>().unwrap_err().to_string();
            assert!(
                refused.contains("is no event type") && refused.contains("at the end a * for whatever"),
                "{refused}"
            );
        }
        assert_eq!(" , ".parse::<EventTypes>(), Err(EventTypesError::Empty));
    }
}
