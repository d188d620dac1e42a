//! Who asks for the addresses of a name: on whose behalf, and how patiently.

use std::time::Duration;

use crate::settings::Settings;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asker<'a> {
    /// Whose endpoint it is.
    pub(crate) account: &'a str,
    /// The deadline of the attempt.
    pub(crate) patience: Duration,
}

impl Default for Asker<'_> {
    /// Outside of an attempt: an operator at the door, who is of no account.
    fn default() -> Self {
        Self { account: "", patience: Settings::default().deadline }
    }
}
