//! Extractors: who calls, and what they sent. Every rejection is an [`ApiError`].

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use postern_shared::{Cursor, FileId, IDEMPOTENCY_KEY, MessageId, SessionId};
use serde::de::DeserializeOwned;
use tokio::time;

use super::App;
use super::error::ApiError;
use crate::keyring::{Key, Opens};
use crate::presence::Call;
use crate::secret::SecretHash;
use crate::sites::{ServedSite, Sites};

/// How long a request's body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// The longest idempotency key, in characters.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// A caller that showed the key of a site's poller.
pub(super) struct PollerCaller {
    pub(super) site: Arc<ServedSite>,
}

/// A poller at its work: while this lives, the site's agent has its host there.
pub(super) struct PollerAtWork {
    pub(super) site: Arc<ServedSite>,
    _call: Call,
}

/// A caller that showed an operator's key.
pub(super) struct OperatorCaller;

/// A visitor of a site, and the hash of the token it showed; whose it is, the store knows.
pub(super) struct VisitorCaller {
    pub(super) site: Arc<ServedSite>,
    pub(super) token: Option<SecretHash>,
}

/// The `session_id` in the path.
pub(super) struct SessionPath(pub(super) SessionId);

/// The `message_id` in the path.
pub(super) struct MessagePath(pub(super) MessageId);

/// The `session_id` and the `file_id` in the path.
pub(super) struct FilePath(pub(super) SessionId, pub(super) FileId);

/// Whoever may read a session.
pub(super) enum Bearer {
    Visitor(SecretHash),
    Poller(Arc<ServedSite>),
    Operator,
}

/// The query string, read into a type.
pub(super) struct Query<T>(pub(super) T);

/// A body of JSON that is yet to be read, by handlers that know who calls: a stranger's is not. What else the
/// request was does not lie about meanwhile.
pub(super) struct JsonBody {
    body: Body,
    is_encoded: bool,
}

/// The `Idempotency-Key` header as it was sent.
pub(super) struct IdempotencyKeyHeader(pub(super) Option<String>);

impl VisitorCaller {
    /// The token of a call that cannot do without.
    pub(super) fn required_token(&self) -> Result<SecretHash, ApiError> {
        self.token
            .ok_or(ApiError::Unauthorized("show the session's token: Authorization: Bearer …"))
    }
}

/// The key that is shown, when it opens something.
pub(super) fn shown_key(app: &App, headers: &HeaderMap) -> Result<Option<Arc<Key>>, ApiError> {
    let shown = bearer(headers)?.map(SecretHash::of);
    Ok(shown.and_then(|shown| app.keyring.find(&shown)))
}

pub(super) const UNKNOWN_KEY: ApiError = ApiError::Unauthorized("the key is not known");

/// What the key that was shown opens.
fn opened(parts: &Parts) -> Result<&Opens, ApiError> {
    match parts.extensions.get::<Arc<Key>>() {
        Some(key) => Ok(&key.opens),
        None if bearer(&parts.headers)?.is_some() => Err(UNKNOWN_KEY),
        None => Err(ApiError::Unauthorized("show a key: Authorization: Bearer …")),
    }
}

pub(super) const OTHER_KEY: ApiError = ApiError::Forbidden("this key is not for this call");

impl FromRequestParts<App> for PollerCaller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        match opened(parts)? {
            Opens::Site(site) => Ok(Self { site: Arc::clone(site) }),
            Opens::Everything => Err(OTHER_KEY),
        }
    }
}

impl FromRequestParts<App> for PollerAtWork {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let PollerCaller { site } = PollerCaller::from_request_parts(parts, app).await?;
        Ok(Self { _call: site.presence.begin_call(), site })
    }
}

impl FromRequestParts<App> for OperatorCaller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        match opened(parts)? {
            Opens::Everything => Ok(Self),
            Opens::Site(_) => Err(OTHER_KEY),
        }
    }
}

impl FromRequestParts<App> for VisitorCaller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let site = visited_site(&app.sites, &parts.uri).ok_or(UNKNOWN_SITE)?;
        let token = bearer(&parts.headers)?;
        let token = token.map(|token| SecretHash::of_token(&site.site.id, token));
        Ok(Self { site: Arc::clone(site), token })
    }
}

const UNKNOWN_SITE: ApiError =
    ApiError::Invalid(Cow::Borrowed("site, in the query, must be the id of a site of this relay"));

/// The site that a visitor's call is for.
pub(super) fn visited_site<'a>(sites: &'a Sites, uri: &Uri) -> Option<&'a Arc<ServedSite>> {
    let query = uri.query().unwrap_or_default();
    let named = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "site");
    sites.named(named.as_ref().map(|(_, site)| &**site))
}

/// What `Authorization: Bearer …` shows; `None` without the header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .map(|(scheme, secret)| (scheme, secret.trim()))
        .filter(|(scheme, secret)| scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty())
        .map(|(_, secret)| Some(secret))
        .ok_or(ApiError::Unauthorized("Authorization must read: Bearer, a blank, and the secret"))
}

impl FromRequestParts<App> for SessionPath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let id = path_value(parts, app).await?;
        id.parse().map(Self).map_err(|problem| ApiError::field("session_id", problem))
    }
}

impl FromRequestParts<App> for MessagePath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let id = path_value(parts, app).await?;
        id.parse()
            .map(|id| Self(MessageId(id)))
            .map_err(|_| ApiError::field("message_id", "must be the number of a message"))
    }
}

impl FromRequestParts<App> for FilePath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let (session, file): (String, String) = path_values(parts, app).await?;
        let session = session.parse().map_err(|problem| ApiError::field("session_id", problem))?;
        let file = file.parse().map_err(|problem| ApiError::field("file_id", problem))?;
        Ok(Self(session, file))
    }
}

impl FromRequestParts<App> for Bearer {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let shown = bearer(&parts.headers)?;
        let shown = shown.ok_or(ApiError::Unauthorized("show a token: Authorization: Bearer …"))?;
        match app.keyring.find(&SecretHash::of(shown)).as_deref().map(|key| &key.opens) {
            Some(Opens::Site(site)) => Ok(Self::Poller(Arc::clone(site))),
            Some(Opens::Everything) => Ok(Self::Operator),
            None => {
                let visitor = VisitorCaller::from_request_parts(parts, app).await?;
                visitor.required_token().map(Self::Visitor)
            }
        }
    }
}

/// The path's one variable.
async fn path_value(parts: &mut Parts, app: &App) -> Result<String, ApiError> {
    path_values(parts, app).await
}

async fn path_values<T: DeserializeOwned + Send>(
    parts: &mut Parts,
    app: &App,
) -> Result<T, ApiError> {
    axum::extract::Path::<T>::from_request_parts(parts, app)
        .await
        .map(|path| path.0)
        .map_err(|_| ApiError::Invalid("the path is not valid UTF-8".into()))
}

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
            .map(Self)
            .map_err(|e| wrong_field(e.path(), e.inner()))
    }
}

impl FromRequestParts<App> for IdempotencyKeyHeader {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else {
            return Ok(Self(None));
        };
        let key = value.to_str().unwrap_or_default();
        if key.is_empty()
            || key.len() > MAX_IDEMPOTENCY_KEY
            || !key.bytes().all(|b| b.is_ascii_graphic())
        {
            let problem = "must be 1 to 255 visible ASCII characters, such as a UUID";
            return Err(ApiError::field("Idempotency-Key", problem));
        }
        Ok(Self(Some(key.to_owned())))
    }
}

/// A cursor as a caller gives it back, if it does.
pub(super) fn cursor(name: &'static str, text: Option<&str>) -> Result<Option<Cursor>, ApiError> {
    text.map(|text| text.parse().map_err(|_| ApiError::UnknownCursor(name))).transpose()
}

impl FromRequest<App> for JsonBody {
    type Rejection = Infallible;
    async fn from_request(request: Request, _: &App) -> Result<Self, Infallible> {
        let is_encoded = refuse_encoded(request.headers()).is_err();
        Ok(Self { body: request.into_body(), is_encoded })
    }
}

impl JsonBody {
    /// Reads at most `limit_bytes`. An error names the field.
    pub(super) async fn read<T: DeserializeOwned>(self, limit_bytes: usize) -> Result<T, ApiError> {
        if self.is_encoded {
            return Err(ApiError::Encoded);
        }
        let body = read_body(self.body, limit_bytes).await?;
        // A derived type would take an array of its fields too; the wire knows objects only.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(ApiError::field("the body", "must be a JSON object"));
        }
        let Ok(value) = serde_json::from_slice(&body) else { return Err(why_unread::<T>(&body)) };
        // What no field takes is not looked into above.
        str::from_utf8(&body).map_err(|e| not_json(&e))?;
        Ok(value)
    }
}

/// Reads once more what could not be read, and keeps the names on the way to each value, which takes as long
/// again.
fn why_unread<T: DeserializeOwned>(body: &[u8]) -> ApiError {
    let mut json = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(_) => json.end().map_or_else(|e| not_json(&e), |()| ApiError::Panicked),
        Err(e) => wrong_field(e.path(), e.inner()),
    }
}

fn not_json(problem: &dyn fmt::Display) -> ApiError {
    ApiError::field("the body", format_args!("is not JSON: {problem}"))
}

/// A body that was packed small could be of any size.
pub(super) fn refuse_encoded(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(ApiError::Encoded)
        }
        _ => Ok(()),
    }
}

async fn read_body(body: Body, limit_bytes: usize) -> Result<Bytes, ApiError> {
    let whole = time::timeout(BODY_DEADLINE, Limited::new(body, limit_bytes).collect());
    match whole.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge { limit_bytes }),
        Ok(Err(_)) => Err(ApiError::Invalid("the body did not arrive whole".into())),
        Err(_) => Err(ApiError::RequestTimeout),
    }
}

/// Names the field that could not be read, as far as the reader came to one; a missing field is
/// named by the problem itself.
fn wrong_field(path: &serde_path_to_error::Path, problem: &impl fmt::Display) -> ApiError {
    match path.to_string().as_str() {
        "." | "?" => ApiError::field("the request", format_args!("cannot be read: {problem}")),
        field => ApiError::field(field, format_args!("cannot be read: {problem}")),
    }
}
