//! Ids as types, checked where they enter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not the id it was meant to be; reads on after the field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not `[A-Za-z0-9_-]{1,64}`.
    #[error("must be 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")]
    Token,
    /// Not 16 hex digits.
    #[error("must be 16 lower-case hex digits")]
    Uid,
    /// Not a whole number that is zero or more.
    #[error("must be a cursor that the relay gave out")]
    Cursor,
}

/// Defines a text id: a checked newtype over `String`.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:path, $error:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                if $check(&text) { Ok(Self(text)) } else { Err($error) }
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// One conversation of one visitor: `[A-Za-z0-9_-]{1,64}`. Not a secret.
    SessionId, is_token, InvalidId::Token
);
text_id!(
    /// A visitor's lasting identity over sessions: 16 hex digits.
    Uid, is_uid, InvalidId::Uid
);
text_id!(
    /// One file of a session: `[A-Za-z0-9_-]{1,64}`. Not a secret.
    FileId, is_token, InvalidId::Token
);
text_id!(
    /// One web site that a relay serves: `[A-Za-z0-9_-]{1,64}`. Not a secret.
    SiteId, is_token, InvalidId::Token
);
text_id!(
    /// One lease of one message; a new one each time it is leased: `[A-Za-z0-9_-]{1,64}`.
    LeaseId, is_token, InvalidId::Token
);

impl SessionId {
    /// An id of random bits: 32 hex digits.
    pub fn of_bits(bits: u128) -> Self {
        Self(format!("{bits:032x}"))
    }
}

impl Uid {
    /// An id of random bits.
    pub fn of_bits(bits: u64) -> Self {
        Self(format!("{bits:016x}"))
    }
}

impl Default for SiteId {
    /// The site of a relay that has no other.
    fn default() -> Self {
        Self("default".into())
    }
}

fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_uid(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A stored message or reply. Both count in one sequence, in the order they were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub i64);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a session's conversation: everything stored after it is still to be shown.
///
/// Opaque text to callers; `0` is the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor(i64);

impl Cursor {
    /// The place just after a message.
    pub fn after(id: MessageId) -> Self {
        Self(id.0)
    }

    /// The last message this cursor has passed; 0 at the beginning.
    pub fn position(self) -> i64 {
        self.0
    }
}

impl FromStr for Cursor {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.parse() {
            Ok(position @ 0..) => Ok(Self(position)),
            _ => Err(InvalidId::Cursor),
        }
    }
}

impl TryFrom<String> for Cursor {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> String {
        cursor.to_string()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_take_the_contracts_characters_and_no_others() {
        for good in ["a", "session_lx2k_9-Z", &"x".repeat(64)] {
            assert!(good.parse::<SessionId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "ä", "a/b", "a\n", &"x".repeat(65)] {
            assert_eq!(bad.parse::<SessionId>(), Err(InvalidId::Token), "{bad}");
        }
    }

    #[test]
    fn uids_are_sixteen_lower_case_hex_digits() {
        assert!("00ff00ff00ff00ff".parse::<Uid>().is_ok());
        for bad in ["00FF00FF00FF00FF", "00ff", "00ff00ff00ff00fg"] {
            assert_eq!(bad.parse::<Uid>(), Err(InvalidId::Uid), "{bad}");
        }
    }

    #[test]
    fn cursors_are_never_negative() {
        assert_eq!("0".parse::<Cursor>(), Ok(Cursor::default()));
        for bad in ["", "-1", "x", "9223372036854775808", "1.0"] {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidId::Cursor), "{bad}");
        }
    }
}
