//! Proof of work: what a site may ask of a visitor's browser before a session is opened.

use serde::{Deserialize, Serialize};

/// What is asked for, in the error body of `proof_required`.
///
/// The one number below `max` is wanted for which SHA-256 of `<Idempotency-Key>:<number>`, the number
/// in decimal, begins with `hash`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Shows that the relay asked for this; to be sent back as it is, within 5 minutes.
    pub token: String,
    /// The first four bytes of the SHA-256, as a big-endian number.
    pub hash: u32,
    /// All numbers to try are below: half as many hashes are computed on average, and never more.
    pub max: u32,
}

/// The answer to a [`Challenge`], in a repeat of the call with the same idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The challenge's.
    pub token: String,
    /// What was found.
    pub number: u32,
}
