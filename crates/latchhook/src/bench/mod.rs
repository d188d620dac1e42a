//! `latchhook bench`: how fast, at which cost, and whether it was right.
//!
//! The cast: the *sender* ([`send`]) and the *customer* ([`receive`]) are processes of their own, made so cheap that they
//! measure and do not compete. They need nothing of latchhook, so anything that takes signed webhooks and delivers some can
//! stand between them.

mod clock;
mod histogram;
pub(crate) mod one_thread;
mod payload;
pub(crate) mod receive;
pub(crate) mod send;
mod stream;
mod usage;
mod wire;
