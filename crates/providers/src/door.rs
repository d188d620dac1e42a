//! What every door goes by at which raw events of a source come in: how large a body may be, and which headers are kept.
//!
//! The doors are many: the intake's two, the outbox, `latchhook enqueue`. The rule is one, and nothing that is secret is
//! needed to tell it.

use serde_json::{Map, Value};

use crate::Provider;

/// What the doors of a source go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door<'s> {
    /// The largest body that is taken, in bytes.
    pub most: usize,
    /// The headers that are kept, in lower case.
    pub kept_headers: Vec<&'s str>,
}

/// A body is larger than its source takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body has {bytes} bytes, of {most} that this source takes")]
pub struct TooLarge {
    /// How large it is.
    pub bytes: usize,
    /// How large it may be.
    pub most: usize,
}

impl Provider {
    /// What the doors of a source of this provider go by: its own limit in bytes, or what the provider sends at most; and the
    /// headers worth keeping, which are those that its settings name where the provider leaves that to them.
    pub fn door(self, body_limit: Option<u32>, settings: &Map<String, Value>) -> Door<'_> {
        let most = body_limit.map_or(self.body_limit(), |own| own as usize);
        Door { most, kept_headers: self.rules().kept_headers(settings) }
    }
}

impl Door<'_> {
    /// Refuses a body of so many bytes if that is more than the source takes.
    ///
    /// # Errors
    /// Then.
    pub fn check(&self, bytes: usize) -> Result<(), TooLarge> {
        if bytes > self.most { Err(TooLarge { bytes, most: self.most }) } else { Ok(()) }
    }

    /// Of the headers that came with a raw event those that are kept, in the order of the names that are kept, which are in
    /// lower case; one that came twice is kept twice.
    pub fn keep<'h, V: Into<String>>(&self, headers: impl IntoIterator<Item = (&'h str, V)>) -> Vec<(String, String)> {
        let place = |given: &str| self.kept_headers.iter().position(|name| name.eq_ignore_ascii_case(given));
        let named = headers.into_iter().filter_map(|(given, value)| Some((place(given)?, value)));
        let mut kept: Vec<(usize, V)> = named.collect();
        kept.sort_by_key(|(place, _)| *place);
        kept.into_iter().map(|(place, value)| (self.kept_headers[place].to_ascii_lowercase(), value.into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(settings: &Value) -> Map<String, Value> {
        settings.as_object().unwrap().clone()
    }

    #[test]
    fn a_source_takes_what_it_was_told_or_else_what_its_provider_sends_at_most() {
        let none = Map::new();

        let (told, untold) = (Provider::WhatsApp.door(Some(2048), &none), Provider::WhatsApp.door(None, &none));

        assert_eq!((told.most, untold.most), (2048, Provider::WhatsApp.body_limit()));
        assert_eq!((told.check(2048), told.check(2049)), (Ok(()), Err(TooLarge { bytes: 2049, most: 2048 })));
    }

    #[test]
    fn the_headers_that_the_provider_or_the_settings_name_are_kept_and_no_others() {
        let headers = [("X-ID", "1"), ("x-id", "2"), ("X-Token", "secret"), ("X-GitHub-Event", "push")];
        let by_settings = settings(&json!({"algorithm": "equal", "signature_header": "x-token", "key_header": "X-Id"}));
        let kept = |provider: Provider, settings| provider.door(None, settings).keep(headers);
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect::<Vec<_>>();

        let none = Map::new();

        assert_eq!(kept(Provider::Generic, &by_settings), pairs(&[("x-id", "1"), ("x-id", "2")]));
        assert_eq!(kept(Provider::GitHub, &none), pairs(&[("x-github-event", "push")]));
        assert_eq!(kept(Provider::Telegram, &none), []);
    }
}
