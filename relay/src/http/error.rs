//! The one error of the HTTP side, and its one body.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postern_shared::proof::Challenge;
use postern_shared::{ErrorType, Failure, Timestamp};
use tracing::error;

use crate::call;
use crate::identity::IdentityError;
use crate::limits::{Exceeded, Limit};
use crate::store::StoreError;

/// The longest sentence, in characters.
const MAX_SENTENCE: usize = 250;

/// What is left of a limit, and what it allows (draft-ietf-httpapi-ratelimit-headers-10).
pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const PROOF_REQUIRED: &str =
    "a conversation begins with a proof of work, which a page that came by https can compute";

/// How long a caller is asked to wait when the store is busy, its disk is full, or the caller has too
/// much under way.
const RETRY_AFTER_SECONDS: u64 = 2;

/// Every way a request can fail.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// A field or header is missing or wrong; the sentence names it.
    Invalid(Cow<'static, str>),
    /// No cursor of ours; in which parameter or header.
    UnknownCursor(&'static str),
    /// No credential, or an unknown one.
    Unauthorized(&'static str),
    /// A credential for something else.
    Forbidden(&'static str),
    /// A token that does not say who the visitor is.
    Identity(IdentityError),
    /// A page of an origin that its site does not allow.
    ForeignOrigin,
    /// No such thing; the sentence says what.
    NotFound(&'static str),
    /// The path takes other methods.
    MethodNotAllowed,
    /// The body took too long.
    RequestTimeout,
    /// The body is too large.
    TooLarge { limit_bytes: usize },
    /// More files than go with one message.
    TooManyFiles { max: usize },
    /// Too many calls of one client are under way.
    Crowded,
    /// The body is compressed, and the relay unpacks nothing.
    Encoded,
    /// The reply that is being written is too long.
    ReplyTooLong { limit_bytes: usize },
    /// The site's budget is spent; in the site's own words.
    BudgetSpent(Exceeded, String),
    /// The site asks for this before it opens a session.
    ProofRequired(Challenge),
    /// The store refused or failed.
    Store(StoreError),
    /// A handler panicked.
    Panicked,
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Exceeded> for ApiError {
    fn from(exceeded: Exceeded) -> Self {
        Self::Store(exceeded.into())
    }
}

impl ApiError {
    /// A wrong field, named first.
    pub(crate) fn field(name: &str, problem: impl std::fmt::Display) -> Self {
        // Both may repeat what the caller sent.
        let sentence: String = format!("{name} {problem}").chars().take(MAX_SENTENCE).collect();
        Self::Invalid(sentence.into())
    }

    fn kind(&self) -> ErrorType {
        match self {
            Self::Invalid(_) => ErrorType::InvalidRequest,
            Self::UnknownCursor(_) => ErrorType::UnknownCursor,
            Self::Unauthorized(_) => ErrorType::Unauthorized,
            Self::Forbidden(_) => ErrorType::Forbidden,
            Self::Identity(_) => ErrorType::InvalidIdentity,
            Self::ForeignOrigin => ErrorType::ForeignOrigin,
            Self::NotFound(_) => ErrorType::NotFound,
            Self::MethodNotAllowed => ErrorType::MethodNotAllowed,
            Self::RequestTimeout => ErrorType::RequestTimeout,
            Self::TooLarge { .. } | Self::ReplyTooLong { .. } => ErrorType::PayloadTooLarge,
            Self::TooManyFiles { .. } => ErrorType::TooManyFiles,
            Self::Crowded => ErrorType::RateLimited,
            Self::Encoded => ErrorType::UnsupportedEncoding,
            Self::BudgetSpent(..) => ErrorType::BudgetSpent,
            Self::ProofRequired(_) => ErrorType::ProofRequired,
            Self::Store(error) => store_kind(error),
            Self::Panicked => ErrorType::Internal,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::UnknownCursor(_) | Self::TooManyFiles { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized(_) | Self::Identity(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } | Self::ReplyTooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Crowded => StatusCode::TOO_MANY_REQUESTS,
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BudgetSpent(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::ProofRequired(_) => StatusCode::PRECONDITION_REQUIRED,
            Self::Store(error) => store_status(error),
            Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Where the next piece of a reply is to begin.
    fn wanted_offset(&self) -> Option<u64> {
        match self {
            Self::Store(StoreError::OffsetMismatch { wanted }) => Some(*wanted as u64),
            _ => None,
        }
    }

    /// What is to be computed first.
    fn challenge(&self) -> Option<Challenge> {
        match self {
            Self::ProofRequired(challenge) => Some(challenge.clone()),
            _ => None,
        }
    }

    /// The limit that was reached.
    fn exceeded(&self) -> Option<&Exceeded> {
        match self {
            Self::BudgetSpent(exceeded, _) | Self::Store(StoreError::Exceeded(exceeded)) => {
                Some(exceeded)
            }
            _ => None,
        }
    }

    /// In how many seconds the call may be made again.
    fn retry_after(&self) -> Option<u64> {
        match self.exceeded() {
            Some(exceeded) => Some(whole_seconds(exceeded.retry_after)),
            None => {
                let is_for_now = matches!(
                    self.status(),
                    StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
                );
                is_for_now.then_some(RETRY_AFTER_SECONDS)
            }
        }
    }

    /// The sentence for a person. It says nothing of the inside.
    fn sentence(&self) -> Cow<'static, str> {
        match self {
            Self::Invalid(sentence) => sentence.clone(),
            Self::UnknownCursor(name) => {
                format!("{name} must be a cursor that the relay gave out").into()
            }
            Self::Unauthorized(sentence) | Self::Forbidden(sentence) | Self::NotFound(sentence) => {
                Cow::Borrowed(sentence)
            }
            Self::Identity(problem) => {
                format!("identity does not say who the visitor is: {problem}").into()
            }
            Self::ForeignOrigin => "the site does not allow pages of this origin".into(),
            Self::MethodNotAllowed => "this path does not take this method".into(),
            Self::RequestTimeout => "the body did not arrive in time".into(),
            Self::TooLarge { limit_bytes } => {
                format!("the body is larger than {limit_bytes} bytes").into()
            }
            Self::TooManyFiles { max } => format!("files must be at most {max}").into(),
            Self::Crowded => {
                "too many calls of this address are under way: try again shortly".into()
            }
            Self::Encoded => "the body must be sent as it is, without Content-Encoding".into(),
            Self::ReplyTooLong { limit_bytes } => {
                format!("the reply is longer than {limit_bytes} bytes").into()
            }
            Self::BudgetSpent(_, sentence) => sentence.clone().into(),
            Self::ProofRequired(_) => PROOF_REQUIRED.into(),
            Self::Store(error) => store_sentence(error).into(),
            Self::Panicked => "the relay failed; its log has the cause".into(),
        }
    }
}

fn store_kind(error: &StoreError) -> ErrorType {
    match error {
        StoreError::TokenMissing | StoreError::UnknownToken => ErrorType::Unauthorized,
        StoreError::ForeignToken => ErrorType::Forbidden,
        StoreError::IdentityRequired => ErrorType::InvalidIdentity,
        StoreError::ProofRequired => ErrorType::ProofRequired,
        StoreError::OtherVisitor => ErrorType::OtherVisitor,
        StoreError::UnknownSession
        | StoreError::UnknownMessage
        | StoreError::UnknownReply
        | StoreError::UnknownFile
        | StoreError::UnknownDeadLetter => ErrorType::NotFound,
        StoreError::ForeignMessage | StoreError::NotWaiting | StoreError::WeakOpeningKey => {
            ErrorType::InvalidRequest
        }
        StoreError::TooManyFiles => ErrorType::TooManyFiles,
        StoreError::UnknownCursor => ErrorType::UnknownCursor,
        StoreError::StaleLease => ErrorType::StaleLease,
        StoreError::NotLeased => ErrorType::NotLeased,
        StoreError::OffsetMismatch { .. } => ErrorType::OffsetMismatch,
        StoreError::AlreadyAnswered => ErrorType::AlreadyAnswered,
        StoreError::DeadLetter => ErrorType::DeadLetter,
        StoreError::IdempotencyMismatch => ErrorType::IdempotencyMismatch,
        StoreError::Exceeded(exceeded) => match exceeded.limit {
            Limit::SessionOpenMessages => ErrorType::TooManyOpenMessages,
            Limit::SiteDailyBudget => ErrorType::BudgetSpent,
            _ => ErrorType::RateLimited,
        },
        StoreError::Overloaded | StoreError::Unavailable(_) | StoreError::Closed => {
            ErrorType::Unavailable
        }
        StoreError::Broken(_) => ErrorType::Internal,
    }
}

fn store_status(error: &StoreError) -> StatusCode {
    match error {
        StoreError::TokenMissing | StoreError::UnknownToken | StoreError::IdentityRequired => {
            StatusCode::UNAUTHORIZED
        }
        StoreError::ProofRequired => StatusCode::PRECONDITION_REQUIRED,
        StoreError::ForeignToken | StoreError::OtherVisitor => StatusCode::FORBIDDEN,
        StoreError::UnknownSession
        | StoreError::UnknownMessage
        | StoreError::UnknownReply
        | StoreError::UnknownFile
        | StoreError::UnknownDeadLetter => StatusCode::NOT_FOUND,
        StoreError::ForeignMessage
        | StoreError::NotWaiting
        | StoreError::UnknownCursor
        | StoreError::WeakOpeningKey => StatusCode::BAD_REQUEST,
        StoreError::StaleLease
        | StoreError::NotLeased
        | StoreError::OffsetMismatch { .. }
        | StoreError::AlreadyAnswered
        | StoreError::DeadLetter
        | StoreError::TooManyFiles => StatusCode::CONFLICT,
        StoreError::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
        StoreError::Exceeded(_) => StatusCode::TOO_MANY_REQUESTS,
        StoreError::Overloaded | StoreError::Unavailable(_) | StoreError::Closed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        StoreError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn store_sentence(error: &StoreError) -> &'static str {
    match error {
        StoreError::TokenMissing => "session_id names a session that is taken: show its token",
        StoreError::UnknownToken => "the session token is not known",
        StoreError::ForeignToken => "the session token belongs to another session",
        StoreError::IdentityRequired => {
            "identity is missing: this site takes only visitors that it vouches for"
        }
        StoreError::ProofRequired => PROOF_REQUIRED,
        StoreError::OtherVisitor => "the session is of another visitor: begin a new one",
        StoreError::UnknownSession => "session_id names no session",
        StoreError::UnknownMessage => "message_id names no message of a visitor",
        StoreError::UnknownFile => "file_id names no file of this session",
        StoreError::NotWaiting => {
            "files names a file that was not sent to this session, or went with another message"
        }
        StoreError::TooManyFiles => {
            "too many files of this session wait for a message: send it before the next file"
        }
        StoreError::UnknownReply => "message_id names no reply of this session",
        StoreError::UnknownDeadLetter => "message_id names no dead letter",
        StoreError::ForeignMessage => "message_id names a message of another session",
        StoreError::UnknownCursor => {
            "the cursor, in after or Last-Event-ID, was not given out for this session"
        }
        StoreError::StaleLease => {
            "lease_id is not the message's latest lease: it ran out, and the message was leased again"
        }
        StoreError::NotLeased => "the message is not leased: lease it first",
        StoreError::OffsetMismatch { .. } => {
            "text does not follow on what is known of the reply: send it from the offset given here"
        }
        StoreError::AlreadyAnswered => "the message has been answered",
        StoreError::DeadLetter => "the message was given up and is a dead letter",
        StoreError::IdempotencyMismatch => {
            "Idempotency-Key was used before with another body: take a new key"
        }
        StoreError::WeakOpeningKey => {
            "Idempotency-Key must have at least 16 characters to open a session, such as a UUID"
        }
        StoreError::Exceeded(exceeded) => limit_sentence(exceeded.limit),
        StoreError::Overloaded => "the relay is busy: try again shortly",
        StoreError::Unavailable(_) => "the relay cannot store anything now: try again shortly",
        StoreError::Closed => "the relay is shutting down: try again shortly",
        StoreError::Broken(_) => "the relay failed; its log has the cause",
    }
}

fn limit_sentence(limit: Limit) -> &'static str {
    match limit {
        Limit::AddressMessagesPerMinute
        | Limit::AddressMessagesPerHour
        | Limit::SessionMessagesPerMinute
        | Limit::SessionMessagesPerDay => "too many messages at once: the next may be sent shortly",
        Limit::AddressSessionsPerHour => {
            "too many conversations were begun from here: try again later"
        }
        Limit::AddressFailuresPerMinute => {
            "too many keys or tokens that are not known: try again later"
        }
        Limit::AddressCallsPerMinute => "too many calls: try again shortly",
        Limit::AddressStreams | Limit::SessionStreams => "too many event streams are open",
        Limit::SessionOpenMessages => {
            "earlier messages wait for their replies: send it after those"
        }
        Limit::SiteDailyBudget => "the day's budget of messages is spent: try again tomorrow",
        Limit::SiteMessagesPerMinute | Limit::SiteOpenMessages | Limit::SiteSessions => {
            "too many people are writing: try again shortly"
        }
    }
}

/// Rounded up: a caller that comes a moment early is refused again.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// What was asked for too often, and when to come back, in the words of the draft standard.
fn insert_rate_limit(headers: &mut HeaderMap, exceeded: &Exceeded) {
    let (name, quota) = (exceeded.limit.name(), exceeded.quota);
    let window = exceeded.window.map(|window| format!(";w={}", window.as_secs()));
    let policy = format!("\"{name}\";q={quota}{}", window.unwrap_or_default());
    let left = format!("\"{name}\";r=0;t={}", whole_seconds(exceeded.retry_after));
    // Names and numbers always make a header.
    headers.extend(HeaderValue::try_from(policy).map(|policy| (RATE_LIMIT_POLICY, policy)));
    headers.extend(HeaderValue::try_from(left).map(|left| (RATE_LIMIT, left)));
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            error!(request.id = call::id(), error = ?self, "a request failed");
        }
        let retry_after = self.retry_after();
        let body = Failure {
            success: false,
            error: self.sentence().into_owned(),
            code: status.as_u16(),
            kind: self.kind(),
            timestamp: Timestamp::now(),
            retry_after,
            offset: self.wanted_offset(),
            challenge: self.challenge(),
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(exceeded) = self.exceeded() {
            insert_rate_limit(headers, exceeded);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(exceeded) = self.exceeded() {
            response.extensions_mut().insert(exceeded.limit);
        }
        response
    }
}
