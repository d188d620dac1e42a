//! Secrets at rest: AES-256-GCM under a master key that never leaves the process.
//!
//! A sealed secret is `version (1) ‖ key id (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. The place where it is kept
//! (`source:wa`, `endpoint:e1`) is authenticated with it, so a sealed secret cannot be moved to another row. Nonces are
//! random: fine for the thousands of secrets an installation has (NIST SP 800-38D allows 2^32 a key).

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const HEAD_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;

/// The keys that seal and open secrets. The first seals; all of them open, so that a master key can be rotated.
pub struct MasterKey {
    keys: Vec<(KeyId, LessSafeKey)>,
}

type KeyId = [u8; KEY_ID_LEN];

/// Which master key something is sealed under, as the order of the keys tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SealedUnder {
    /// The one that seals.
    First,
    /// One behind it: it must be named for as long as this is kept.
    Old,
    /// None that is named, or it was not sealed at all.
    Unnamed,
}

/// Why a text is no master key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the master key must be 32 bytes in base64 (make one: head -c 32 /dev/urandom | base64); several with commas, the first seals"
)]
pub struct MasterKeyError;

/// Why a sealed secret does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Sealed under a key that this process was not given.
    #[error("sealed under a master key that LATCHHOOK_MASTER_KEY does not name; add that key behind the first one")]
    UnknownKey,
    /// Changed, cut, or moved from another place.
    #[error("the sealed secret of {0} is damaged or was sealed for another place")]
    Damaged(String),
}

impl MasterKey {
    /// Reads one or several keys in base64, separated by commas.
    ///
    /// # Errors
    /// When there is none, or one is not 32 bytes in base64.
    pub fn parse(text: &SecretString) -> Result<Self, MasterKeyError> {
        let keys = text.expose_secret().split(',').map(|key| {
            let bytes = BASE64.decode(key.trim()).map_err(|_| MasterKeyError)?;
            Self::key(&bytes)
        });
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// A fresh key, as text, for a first installation.
    pub fn generate() -> SecretString {
        BASE64.encode(random::<32>()).into()
    }

    fn key(bytes: &[u8]) -> Result<(KeyId, LessSafeKey), MasterKeyError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| MasterKeyError)?;
        let mut id = KeyId::default();
        id.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..KEY_ID_LEN]);
        Ok((id, LessSafeKey::new(key)))
    }

    /// What everything begins with that it seals: enough to tell whether something is sealed under the first key, for who
    /// has no keys.
    pub fn mark(&self) -> Vec<u8> {
        [&[VERSION][..], &self.keys[0].0].concat()
    }

    /// Which of the keys something is sealed under. It is not opened.
    pub fn sealed_under(&self, sealed: &[u8]) -> SealedUnder {
        let id = sealed.get(1..=KEY_ID_LEN).filter(|_| sealed[0] == VERSION);
        match id.and_then(|id| self.keys.iter().position(|(known, _)| known == id)) {
            Some(0) => SealedUnder::First,
            Some(_) => SealedUnder::Old,
            None => SealedUnder::Unnamed,
        }
    }

    /// Whether something is sealed under a key that is none of these: it would not open, by [`SealError::UnknownKey`].
    pub fn lacks_key_of(&self, sealed: &[u8]) -> bool {
        let is_sealed = sealed.len() >= HEAD_LEN && sealed[0] == VERSION;
        is_sealed && self.sealed_under(sealed) == SealedUnder::Unnamed
    }

    /// Seals anew, under the first key, what was sealed for `place`; what is under it already stays as it is.
    ///
    /// # Errors
    /// As [`MasterKey::open`].
    pub fn reseal(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        match self.sealed_under(sealed) {
            SealedUnder::First => Ok(sealed.to_vec()),
            _ => Ok(self.seal(place, &self.open(place, sealed)?)),
        }
    }

    /// Seals `plain` for `place`.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let (id, key) = &self.keys[0];
        let nonce = random::<NONCE_LEN>();
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut sealed)
            .expect("AES-GCM seals anything below 64 GiB");
        [&[VERSION][..], id, &nonce, &sealed].concat()
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// When the key is not at hand, or the bytes are not what was sealed there.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let damaged = || SealError::Damaged(place.to_owned());
        if sealed.len() < HEAD_LEN || sealed[0] != VERSION {
            return Err(damaged());
        }
        let (head, ciphertext) = sealed.split_at(HEAD_LEN);
        let id = &head[1..=KEY_ID_LEN];
        let (_, key) = self.keys.iter().find(|(known, _)| known == id).ok_or(SealError::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(&head[1 + KEY_ID_LEN..]).map_err(|_| damaged())?;
        let mut plain = ciphertext.to_vec();
        let len = key.open_in_place(nonce, Aad::from(place), &mut plain).map_err(|_| damaged())?.len();
        plain.truncate(len);
        Ok(plain)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({} keys)", self.keys.len())
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_only_in_the_place_it_was_sealed_for() {
        let master = MasterKey::parse(&MasterKey::generate()).unwrap();

        let sealed = master.seal("source:wa", b"app secret");

        assert_eq!(master.open("source:wa", &sealed).unwrap(), b"app secret");
        assert!(matches!(master.open("source:other", &sealed), Err(SealError::Damaged(_))));
        assert!(!sealed.windows(3).any(|window| window == b"app"));
    }

    #[test]
    fn what_an_old_master_key_sealed_opens_while_it_stands_behind_the_new_one() {
        let (old, new) = (MasterKey::generate(), MasterKey::generate());
        let sealed = MasterKey::parse(&old).unwrap().seal("p", b"s");

        let both = format!("{},{}", new.expose_secret(), old.expose_secret()).into();

        assert_eq!(MasterKey::parse(&both).unwrap().open("p", &sealed).unwrap(), b"s");
        assert_eq!(MasterKey::parse(&new).unwrap().open("p", &sealed), Err(SealError::UnknownKey));
        assert!(MasterKey::parse(&"too short".to_owned().into()).is_err());
    }

    #[test]
    fn what_is_sealed_anew_needs_the_old_master_key_no_longer() {
        let (old, new) = (MasterKey::generate(), MasterKey::generate());
        let both = MasterKey::parse(&format!("{},{}", new.expose_secret(), old.expose_secret()).into()).unwrap();
        let (old, new) = (MasterKey::parse(&old).unwrap(), MasterKey::parse(&new).unwrap());
        let sealed = old.seal("p", b"s");

        let anew = both.reseal("p", &sealed).unwrap();

        assert_eq!(new.open("p", &anew).unwrap(), b"s");
        assert_eq!(both.reseal("p", &anew).unwrap(), anew, "there is nothing more to do");
        assert_eq!(both.reseal("q", &sealed), Err(SealError::Damaged("q".to_owned())));
        assert_eq!(new.reseal("p", &sealed), Err(SealError::UnknownKey));
    }

    #[test]
    fn which_master_key_something_needs_is_told_without_opening_it() {
        let (old, new) = (MasterKey::generate(), MasterKey::generate());
        let both = MasterKey::parse(&format!("{},{}", new.expose_secret(), old.expose_secret()).into()).unwrap();
        let (old, new) = (MasterKey::parse(&old).unwrap(), MasterKey::parse(&new).unwrap());

        let (by_old, by_new) = (old.seal("p", b"s"), both.seal("p", b"s"));

        assert_eq!((both.sealed_under(&by_new), both.sealed_under(&by_old)), (SealedUnder::First, SealedUnder::Old));
        assert_eq!((new.sealed_under(&by_new), new.sealed_under(&by_old)), (SealedUnder::First, SealedUnder::Unnamed));
        assert_eq!((new.sealed_under(b""), new.sealed_under(b"\x01abc")), (SealedUnder::Unnamed, SealedUnder::Unnamed));
        assert!(new.lacks_key_of(&by_old) && !new.lacks_key_of(&by_new) && !both.lacks_key_of(&by_old));
        assert!(!new.lacks_key_of(b"") && !new.lacks_key_of(b"\x01abcd"), "damaged, under whatever key");
        assert!(by_new.starts_with(&both.mark()) && !by_old.starts_with(&both.mark()));
    }
}
