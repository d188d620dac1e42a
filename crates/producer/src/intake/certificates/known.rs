//! Which certificates are at hand, and which addresses have just been asked: the bounds. No I/O and no clock.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use providers::Certificate;
use vocabulary::AccountId;

/// Certificates that are kept. A provider signs with a few at a time.
const MOST_KEPT: usize = 64;
/// Addresses that are asked within [`PAUSE`].
const MOST_ASKED: usize = 64;
/// Of these, for the sources of one account.
const SHARE: usize = MOST_ASKED / 4;
/// An address is asked once in so long, whatever came of it.
pub(super) const PAUSE: TimeDelta = TimeDelta::minutes(1);

#[derive(Default)]
pub(super) struct Known {
    kept: HashMap<String, Kept>,
    asked: HashMap<String, Asked>,
}

struct Kept {
    certificate: Arc<Certificate>,
    since: DateTime<Utc>,
    /// When a genuine request was last verified by it.
    vouched_at: Option<DateTime<Utc>>,
}

struct Asked {
    account: AccountId,
    at: DateTime<Utc>,
    under_way: bool,
    /// The log has said that it was in vain.
    told: bool,
}

/// What there is at an address.
pub(super) enum Found {
    /// This, as it was fetched.
    Certificate(Arc<Certificate>),
    /// Nobody knows: it is to be fetched, and counts as asked from now on.
    ToFetch,
    /// Nothing that could be had just now: it is being asked or has just been asked, or too many others are.
    Nothing,
}

impl Known {
    /// What there is at `url` at this moment, for a source of this account.
    pub(super) fn look_up(&mut self, account: &AccountId, url: &str, now: DateTime<Utc>) -> Found {
        self.forget(now);
        if let Some(kept) = self.kept.get(url) {
            return Found::Certificate(kept.certificate.clone());
        }
        if self.asked.contains_key(url) || !self.admits(account) {
            return Found::Nothing;
        }
        let asked = Asked { account: account.clone(), at: now, under_way: true, told: false };
        self.asked.insert(url.to_owned(), asked);
        Found::ToFetch
    }

    /// A stranger who goes through addresses holds up the account that he writes to, and nobody else before he knows the
    /// sources of four.
    fn admits(&self, account: &AccountId) -> bool {
        let own = self.asked.values().filter(|asked| asked.account == *account).count();
        own < SHARE && self.asked.len() < MOST_ASKED
    }

    /// What has ended, and what may be asked again. A clock that is set back makes nobody wait for longer than a pause.
    fn forget(&mut self, now: DateTime<Utc>) {
        self.kept.retain(|_, kept| now <= kept.certificate.until());
        self.asked.retain(|_, asked| asked.under_way || (now - asked.at).abs() < PAUSE);
    }

    /// Keeps what was fetched at `now`.
    pub(super) fn keep(&mut self, url: String, certificate: Certificate, now: DateTime<Utc>) {
        self.end(&url);
        if self.kept.len() >= MOST_KEPT {
            // One that nothing genuine was signed with, if there is any: addresses are easily named, and signatures are not.
            let idle = self.kept.iter().min_by_key(|(_, kept)| (kept.vouched_at, kept.since));
            let idle = idle.map(|(url, _)| url.clone());
            idle.and_then(|url| self.kept.remove(&url));
        }
        self.kept.insert(url, Kept { certificate: Arc::new(certificate), since: now, vouched_at: None });
    }

    /// Nothing was to be had. Whether the log is to say so: once in a pause for each account.
    pub(super) fn fail(&mut self, url: &str) -> bool {
        let Some(account) = self.end(url) else { return true };
        if self.asked.values().any(|asked| asked.told && asked.account == account) {
            return false;
        }
        self.asked.entry(url.to_owned()).and_modify(|asked| asked.told = true);
        true
    }

    fn end(&mut self, url: &str) -> Option<AccountId> {
        let asked = self.asked.get_mut(url)?;
        asked.under_way = false;
        Some(asked.account.clone())
    }

    /// A genuine request was verified by what is at this address.
    pub(super) fn vouched(&mut self, url: &str, now: DateTime<Utc>) {
        if let Some(kept) = self.kept.get_mut(url) {
            kept.vouched_at = Some(now);
        }
    }

    /// How many addresses are being asked.
    pub(super) fn under_way(&self) -> usize {
        self.asked.values().filter(|asked| asked.under_way).count()
    }
}
