//! `quarantine`
