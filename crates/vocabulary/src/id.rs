//! Names that operators give, and that end up in Redis keys, URLs and columns: `[A-Za-z0-9_-]{1,64}`, nothing else.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a string is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no id: 1 to 64 of the characters A-Z a-z 0-9 _ - are allowed")]
pub struct IdError(String);

fn parse(text: &str) -> Result<Arc<str>, IdError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(Arc::from(text))
    } else {
        Err(IdError(text.chars().take(80).collect()))
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A tenant; owns sources and endpoints.
    AccountId
}
id! {
    /// Where raw events come from; the scope of a key.
    SourceId
}
id! {
    /// A customer's URL.
    EndpointId
}

impl SourceId {
    /// Where what latchhook itself tells an account comes from. No source that anybody adds can be called so, because of the
    /// colon.
    pub fn of_notices(account: &AccountId) -> Self {
        Self(Arc::from(format!("latchhook:{account}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_nothing_that_could_leave_its_place_in_a_redis_key_or_a_url() {
        for good in ["a", "wa_support-1", &"x".repeat(64)] {
            assert_eq!(good.parse::<SourceId>().unwrap().as_str(), good);
        }
        for bad in ["", "a:b", "a/b", "a b", "{a}", "é", &"x".repeat(65)] {
            assert!(bad.parse::<SourceId>().is_err(), "{bad:?}");
        }
    }
}
