//! The wire protocol, version 1: what the relay and the poller say to each other and to visitors.
//!
//! Bodies, ids and error types only. Both halves and the tests speak through these types, so a
//! change of the wire is a change of one file here.

pub mod envelope;
pub mod error;
pub mod files;
pub mod ids;
pub mod operator;
pub mod poller;
pub mod proof;
pub mod visitor;

pub use envelope::{Failure, Success};
pub use error::ErrorType;
pub use ids::{Cursor, FileId, LeaseId, MessageId, SessionId, SiteId, Uid};
/// A moment, RFC 3339 in UTC on the wire.
pub use jiff::Timestamp;

/// Free-form JSON that travels with a message; always an object.
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// Where version 1 of the wire lives under the relay's address.
pub const BASE_PATH: &str = "/api/v1";

/// The header that makes a repeated write harmless (IETF draft-ietf-httpapi-idempotency-key-header).
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
