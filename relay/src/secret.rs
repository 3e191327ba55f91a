//! Keys and tokens: made from the system's random source, kept and compared as SHA-256 only.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_shared::{SessionId, SiteId};
use rand::Rng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The SHA-256 of a key or token. Enough, unsalted, since what is hashed is long and random.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Hashes a secret as it was presented.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Hashes a session's token together with the site it is for, so that it is nobody's on another.
    pub fn of_token(site: &SiteId, token: &str) -> Self {
        let digest =
            Sha256::new().chain_update(site.as_str()).chain_update([0]).chain_update(token);
        Self(digest.finalize().into())
    }

    /// Stands for the token of a session that its id alone opens. No token hashes to it: none begins
    /// with a byte that no header may hold.
    pub fn of_session(site: &SiteId, session: &SessionId) -> Self {
        Self::of_token(site, &format!("\0{session}"))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 32]> for SecretHash {
    /// Takes a hash as it was kept.
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl PartialEq for SecretHash {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// A fresh secret of 256 random bits: 43 characters of base64url.
pub fn generate() -> String {
    text(random_bytes())
}

/// The secret of these random bits.
pub(crate) fn text(bits: [u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(bits)
}

/// `N` random bytes, good enough for secrets.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_secret_is_long_new_and_safe_in_a_header() {
        let (one, two) = (generate(), generate());
        assert_ne!(one, two);
        assert_eq!(one.len(), 43);
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn a_hash_shows_nothing_when_it_is_printed() {
        assert_eq!(format!("{:?}", SecretHash::of("something")), "SecretHash(..)");
    }
}
