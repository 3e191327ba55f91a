//! The kinds of failure a caller can tell apart.

use serde::{Deserialize, Serialize};

/// The `type` of an error body. Names are stable; new ones may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorType {
    /// 400: a field is missing, of the wrong type, or out of its range.
    InvalidRequest,
    /// 400: the cursor is not one this session has given out; start again without one.
    UnknownCursor,
    /// 401: no credential, or one the relay does not know.
    Unauthorized,
    /// 401: the token that says who the visitor is does not, or the site wants one.
    InvalidIdentity,
    /// 403: the session is of another verified visitor: begin a new one.
    OtherVisitor,
    /// 403: a good credential, for something else.
    Forbidden,
    /// 403: the call comes from a page whose origin the site does not allow.
    ForeignOrigin,
    /// 404: there is no such path, session or message.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 408: the request did not arrive in time.
    RequestTimeout,
    /// 409: the lease has run out and the message was leased again.
    StaleLease,
    /// 409: the message is waiting; it must be leased before it can be answered.
    NotLeased,
    /// 409: the message has been answered.
    AlreadyAnswered,
    /// 409: the message is a dead letter.
    DeadLetter,
    /// 409: a piece of a reply does not follow on what is there; see `offset`.
    OffsetMismatch,
    /// 400: more files than go with one message; 409: too many files wait to go with one.
    TooManyFiles,
    /// 413: the body is larger than the relay takes.
    PayloadTooLarge,
    /// 415: the body is encoded; send it as it is.
    UnsupportedEncoding,
    /// 422: the idempotency key was used with another body.
    IdempotencyMismatch,
    /// 428: the site asks for a proof of work before a session is opened; see `challenge`.
    ProofRequired,
    /// 429: too many; see `retry_after`.
    RateLimited,
    /// 429: too many messages of the session wait for their replies.
    TooManyOpenMessages,
    /// 429: the site's agent has been given as many messages as it takes in a day; see `retry_after`.
    BudgetSpent,
    /// 500: the relay's own fault; its log has the cause under the request id.
    Internal,
    /// 503: not now; see `retry_after`.
    Unavailable,
    /// A kind this version does not know.
    #[serde(other)]
    Unknown,
}
