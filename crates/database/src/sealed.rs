//! What is sealed, whatever table it is in: which rows need an old master key, and what they hold under the first one.

use diesel::Queryable;
use vocabulary::{MasterKey, SealError, SealedUnder};

/// A row, with everything that is sealed in it, still sealed.
#[derive(Debug, PartialEq, Eq, Queryable)]
pub struct SealedRow {
    /// Its id.
    pub id: String,
    pub(crate) secrets: Vec<Vec<u8>>,
    /// A source's verify token, an endpoint's access.
    pub(crate) other: Option<Vec<u8>>,
}

impl SealedRow {
    /// Which key the row needs, of several the one that stands furthest back: one that is not named before an old one, an
    /// old one before the first.
    pub fn needs(&self, master: &MasterKey) -> SealedUnder {
        let under = self.secrets.iter().chain(&self.other).map(|value| master.sealed_under(value));
        under.max().unwrap_or(SealedUnder::First)
    }

    /// Whether something in it is sealed under a key that is not named. What is damaged is no matter of keys.
    pub fn lacks_key_of(&self, master: &MasterKey) -> bool {
        self.secrets.iter().chain(&self.other).any(|value| master.lacks_key_of(value))
    }

    /// The row under the first key; `None` when it is so already.
    pub(crate) fn reseal(&self, master: &MasterKey, place: &str) -> Result<Option<Self>, SealError> {
        let anew = |sealed: &Vec<u8>| master.reseal(place, sealed);
        let secrets = self.secrets.iter().map(anew).collect::<Result<_, _>>()?;
        let renewed = Self { id: self.id.clone(), secrets, other: self.other.as_ref().map(anew).transpose()? };
        Ok((renewed != *self).then_some(renewed))
    }
}
