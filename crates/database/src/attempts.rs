//! `attempts`
