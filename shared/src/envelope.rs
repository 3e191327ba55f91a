//! What wraps every body: success and failure look the same for every call.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ErrorType;
use crate::proof::Challenge;

/// The body of every successful answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Success<T> {
    /// Always true; tells a success from a [`Failure`] without the status line.
    pub success: bool,
    /// A few words for a person reading the answer.
    pub message: Cow<'static, str>,
    /// When the relay answered.
    pub timestamp: Timestamp,
    /// What was asked for.
    pub data: T,
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Always false.
    pub success: bool,
    /// A sentence for a person; it names the field that was wrong.
    pub error: String,
    /// The HTTP status, repeated.
    pub code: u16,
    /// The kind of failure; stable, for programs.
    #[serde(rename = "type")]
    pub kind: ErrorType,
    /// When the relay answered.
    pub timestamp: Timestamp,
    /// Seconds to wait before another try; on 429 and 503, as in `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The offset that is wanted, in bytes of UTF-8; with `offset_mismatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What is to be computed first; with `proof_required`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Challenge>,
}
