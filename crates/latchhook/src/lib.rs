//! latchhook
