//! The nouns that latchhook's stages agree on, and the few rules that are true of them everywhere.
//!
//! Nothing in here talks to a server: no Redis, no Postgres, no HTTP. A crate that only wants to know what a raw event,
//! an event, a message or a delivery *is* needs this one and nothing else.
//!
//! * [`RawEvent`]: one inbound request as it came. [`Job`]: what the queue carries, one or more of them.
//! * [`Event`]: one item inside a raw event, with its [`Key`]; what it does is its [`Effect`].
//! * [`Message`]: what a chat event is about; its status is a join, so the order of arrival does not matter.
//! * [`Source`]: where raw events come from; an app shows one of its tokens, kept as a [`TokenHash`]. [`Once`]: by what a
//!   request is known again. [`Terms`]: what an endpoint asks for, to which deliveries go.
//! * [`MasterKey`]: seals their secrets at rest. [`Counter`]: how often something happened, for metrics. [`chain`]: an error in
//!   one line; [`links`]: it and its sources.

mod chain;
mod counter;
mod endpoint;
mod event;
mod filter;
mod give_up;
mod hash;
mod id;
mod job;
mod message;
mod once;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod raw_event;
mod seal;
mod source;
mod token;

pub use chain::{chain, links};
pub use counter::Counter;
pub use endpoint::{EventTypes, EventTypesError, Format, NameError, OrderedBy, Terms};
pub use event::{Change, Effect, Event, Item, Key, KeyError, Rejection, StatusUpdate};
pub use filter::{Answer, Condition, Filter, FilterError, Unreadable, View};
pub use give_up::{GiveUpOn, GiveUpOnError};
pub use hash::{KeyHash, WebhookId, lane_name};
pub use id::{AccountId, EndpointId, IdError, SourceId};
pub use job::{Decoded, Job, JobEntry, Replay, Undecodable};
pub use message::{Attachment, Changed, Direction, Message, NewMessage, Progress, Reaction, Sender};
pub use once::Once;
pub use raw_event::{Incarnation, RawEvent, Stamp, StampError, Unkeepable};
pub use seal::{MasterKey, MasterKeyError, SealError, SealedUnder};
pub use source::Source;
pub use token::{TokenHash, bearer};
