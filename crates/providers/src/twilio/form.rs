//! What Twilio says in a form.

use std::borrow::Cow;

use form_urlencoded::Serializer;
use vocabulary::{Key, RawEvent};

use super::TOKEN;
use crate::{
    json::{Fault, Path, key},
    reason,
    single::{Single, header_key, sha256},
};

/// What became of a message: the newer name, and the older one.
const MESSAGE_STATUS: [&str; 2] = ["MessageStatus", "SmsStatus"];

/// The names and values of a form, sorted, each pair once.
pub(super) struct Form<'b>(Vec<(Cow<'b, str>, Cow<'b, str>)>);

impl<'b> Form<'b> {
    pub(super) fn read(body: &'b [u8]) -> Self {
        let mut pairs: Vec<_> = form_urlencoded::parse(body).collect();
        pairs.sort_unstable();
        pairs.dedup();
        Self(pairs)
    }

    /// As Twilio signs it.
    pub(super) fn signed(&self) -> String {
        self.0.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]).collect()
    }

    /// The first value by one of these names. A name that has two has none.
    fn value(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|wanted| {
            let mut values = self.0.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_ref());
            values.next().filter(|value| !value.is_empty() && values.next().is_none())
        })
    }

    /// The form as an event.
    ///
    /// # Errors
    /// When nothing in it, nor beside it, could be a key.
    pub(super) fn event(&self, raw_event: &RawEvent) -> Result<Single, Fault> {
        let has_token = raw_event.headers.iter().any(|(name, _)| name == TOKEN);
        let key = if has_token { header_key(raw_event, TOKEN)? } else { self.key()? };
        Ok(Single { key, kind: self.kind(), occurred_at: None })
    }

    /// A message is in each status once, unless something else happens to it that has a name of its own (`EventType`).
    fn key(&self) -> Result<Key, Fault> {
        let sid = self.value(&["MessageSid", "SmsSid", "CallSid"]).ok_or_else(|| {
            let what = format_args!("neither the header {TOKEN} nor MessageSid, SmsSid or CallSid is there, once");
            Fault::at(Path::default(), reason::MISSING_ID, what)
        })?;
        let status = self.value(&MESSAGE_STATUS).filter(|_| self.value(&["EventType"]).is_none());
        let rest = match status {
            Some(status) => status.to_owned(),
            None => sha256(Serializer::new(String::new()).extend_pairs(&self.0).finish()),
        };
        key(&Path::default(), format!("{sid}:{rest}"))
    }

    fn kind(&self) -> String {
        let message = || self.value(&MESSAGE_STATUS).map(|status| format!("message.{status}"));
        let call = || self.value(&["CallStatus"]).map(|status| format!("call.{status}"));
        let named = self.value(&["EventType"]).map(str::to_owned);
        named.or_else(message).or_else(call).unwrap_or_default()
    }
}
