//! Reading JSON that others wrote, part by part, so that one odd part never costs its neighbours.
//!
//! * [`Text`]: a body, with what no parser takes mended in place; every part still knows its bytes in the body.
//! * [`Node`]: a part that has not been parsed yet. The way down to the items is walked in nodes.
//! * [`Json`]: a part that has been parsed. What is kept of it becomes a `Value`.
//! * [`Fields`]: an object that has been parsed: an item, or an object inside it.
//! * [`Fault`]: what is wrong with a part, and where: its [`Path`].
//!
//! `null` is the same as nothing everywhere, except in a [`Fields::word`].

mod canonical;
mod fault;
mod fields;
mod node;
mod parts;
mod path;
mod text;
mod value;

pub(crate) use canonical::canonical;
pub(crate) use fault::Fault;
pub(crate) use fields::{Fields, key, unix_millis, unix_time};
pub(crate) use node::{Node, Object};
pub(crate) use path::Path;
pub(crate) use text::Text;
pub(crate) use value::Json;
