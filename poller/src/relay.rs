//! The relay as the poller calls it: each call is one request, bounded in time and size.

use std::path::Path;
use std::time::Duration;
use std::{fmt, io};

use futures_util::StreamExt;
use postern_shared::files::{File, FileStored};
use postern_shared::operator::Health;
use postern_shared::poller::{
    ChunkTaken, ExtendRequest, Extended, Inbox, LeaseRequest, Leased, LeasedMessage, NackRequest,
    Nacked, PostChunk, PostReply, ReplyStored,
};
use postern_shared::{
    BASE_PATH, ErrorType, Failure, IDEMPOTENCY_KEY, LeaseId, MessageId, SessionId, Success,
};
use reqwest::header::{self, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use crate::agent::ReplyFile;
use crate::private;

/// How long a connection may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take, beyond what the call asks to be held.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a file may take.
const FILE_TIMEOUT: Duration = Duration::from_secs(600);

/// The largest answer that is read; a lease of a hundred long messages stays well below.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Why a call did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The address is no `http` or `https` address.
    #[error("--relay must be an address such as https://relay.example: {0}")]
    BadAddress(String),
    /// The TLS or HTTP client could not be made.
    #[error("no HTTP client: {0}")]
    NoClient(String),
    /// No answer, or half of one.
    #[error("the relay cannot be reached: {0}")]
    Unreachable(String),
    /// 401 or 403.
    #[error("the relay refuses the key ({status}): {sentence}")]
    KeyRefused {
        /// The status.
        status: u16,
        /// What the relay said.
        sentence: String,
    },
    /// Someone else has the message now.
    #[error("the lease was lost: {0}")]
    LeaseLost(String),
    /// There is a gap between what the relay knows of a reply and the piece it was sent.
    #[error("the relay wants the reply from byte {wanted} on")]
    Gap {
        /// The offset that is wanted, in bytes.
        wanted: u64,
    },
    /// The message is answered, given up or gone: nothing more is to be done for it.
    #[error("the message is settled: {0}")]
    Settled(String),
    /// 429 or 5xx.
    #[error("the relay is not ready ({status}): {sentence}")]
    Busy {
        /// The status.
        status: u16,
        /// What the relay said.
        sentence: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Any other refusal; asking again would change nothing.
    #[error("the relay refuses the call ({status}): {sentence}")]
    Refused {
        /// The status.
        status: u16,
        /// What the relay said.
        sentence: String,
    },
    /// The relay takes no more files for now, or not so many with one reply.
    #[error("the relay takes no more files: {0}")]
    TooManyFiles(String),
    /// A file of a reply is not where it was put.
    #[error("the file cannot be read: {0}")]
    NoFile(#[source] io::Error),
    /// A file did not come as it was announced, or could not be put down here.
    #[error("the file {0}")]
    BadFile(String),
    /// Not a relay's answer.
    #[error("what answers at this address does not speak as a relay does: {0}")]
    NotARelay(String),
}

impl RelayError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Busy { .. } | Self::BadFile(_) | Self::NotARelay(_) => {
                true
            }
            Self::BadAddress(_)
            | Self::NoClient(_)
            | Self::KeyRefused { .. }
            | Self::LeaseLost(_)
            | Self::Gap { .. }
            | Self::Settled(_)
            | Self::TooManyFiles(_)
            | Self::NoFile(_)
            | Self::Refused { .. } => false,
        }
    }

    /// How long the relay asks to wait; a least, not an exact time.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Calls one relay with one key; cheap to clone.
#[derive(Debug, Clone)]
pub struct Relay {
    client: Client,
    base: Url,
    authorization: HeaderValue,
}

impl Relay {
    /// Prepares calls to the relay at an address such as `https://relay.example`.
    ///
    /// # Errors
    /// [`RelayError::BadAddress`] or [`RelayError::NoClient`]; nothing is sent yet.
    pub fn new(address: &str, key: &str) -> Result<Self, RelayError> {
        let base = base_url(address)?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {key}"))
            .map_err(|_| RelayError::NoClient("the key does not fit into a header".into()))?;
        authorization.set_sensitive(true);
        let client = Client::builder()
            .user_agent(concat!("postern-poller/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the key to wherever it points.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|cause| RelayError::NoClient(cause.to_string()))?;
        Ok(Self { client, base, authorization })
    }

    /// The relay's address.
    pub fn address(&self) -> &Url {
        &self.base
    }

    /// Whether the way to the relay is encrypted, or never leaves this machine.
    pub fn is_private(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default();
        self.base.scheme() == "https" || matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    }

    /// Leases up to `limit` messages, waiting up to `wait` for the first.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn lease(
        &self,
        limit: u32,
        wait: Duration,
        lease: Duration,
    ) -> Result<Vec<LeasedMessage>, RelayError> {
        let body = LeaseRequest {
            limit: Some(limit),
            wait_seconds: Some(seconds(wait)),
            lease_seconds: Some(seconds(lease)),
        };
        let call = self.post("/inbox/lease", &body).timeout(wait + ANSWER_TIMEOUT);
        self.send::<Leased>(call).await.map(|leased| leased.messages)
    }

    /// Keeps a lease; held up to `wait`, the answer says at once when the visitor wants no reply any
    /// more.
    ///
    /// # Errors
    /// [`RelayError`]; [`RelayError::LeaseLost`] when someone else has the message.
    pub async fn extend(
        &self,
        message: MessageId,
        lease_id: LeaseId,
        lease: Duration,
        wait: Duration,
    ) -> Result<Extended, RelayError> {
        let body = ExtendRequest {
            lease_id,
            lease_seconds: seconds(lease),
            wait_seconds: Some(seconds(wait)),
        };
        let call = self.post(&format!("/inbox/{message}/extend"), &body);
        self.send_to_the_end(call.timeout(wait + ANSWER_TIMEOUT)).await
    }

    /// Shows a piece of a reply that is being written; a repeat is harmless.
    ///
    /// # Errors
    /// [`RelayError`]; [`RelayError::Gap`] when the relay lacks what was before the piece.
    pub async fn chunk(
        &self,
        message: MessageId,
        body: &PostChunk,
    ) -> Result<ChunkTaken, RelayError> {
        self.send_to_the_end(self.post(&format!("/inbox/{message}/chunks"), body)).await
    }

    /// Gives a message back.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn nack(&self, message: MessageId, body: &NackRequest) -> Result<Nacked, RelayError> {
        self.send(self.post(&format!("/inbox/{message}/nack"), body)).await
    }

    /// Posts a reply; a repeat under the same idempotency key is harmless.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn reply(
        &self,
        body: &PostReply,
        idempotency_key: &str,
    ) -> Result<ReplyStored, RelayError> {
        let call = self.post("/outbox", body).header(IDEMPOTENCY_KEY, idempotency_key);
        self.send(call).await
    }

    /// Streams a session's file to a place on this host.
    ///
    /// # Errors
    /// [`RelayError`]; [`RelayError::BadFile`] when it has another size than was announced, or the
    /// disk does not take it.
    pub async fn download(
        &self,
        session: &SessionId,
        file: &File,
        path: &Path,
    ) -> Result<(), RelayError> {
        let url = self.url(&format!("{BASE_PATH}/sessions/{session}/files/{}", file.id));
        let call = self.client.get(url).timeout(FILE_TIMEOUT);
        let response = answered(self.authorized(call)).await?;
        let mut place = private::create_file(path).await.map_err(|cause| bad_file(file, &cause))?;
        let mut pieces = response.bytes_stream();
        let mut size_bytes = 0;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|cause| unreachable(&cause))?;
            size_bytes += piece.len() as u64;
            if size_bytes > file.size_bytes {
                break;
            }
            place.write_all(&piece).await.map_err(|cause| bad_file(file, &cause))?;
        }
        place.flush().await.map_err(|cause| bad_file(file, &cause))?;
        if size_bytes == file.size_bytes {
            Ok(())
        } else {
            Err(bad_file(file, &"it has another size than was announced"))
        }
    }

    /// Streams a file that goes with a reply to its session; a repeat under the same idempotency key is
    /// harmless.
    ///
    /// # Errors
    /// [`RelayError`]; [`RelayError::NoFile`] when it is not here to be read.
    pub async fn upload(
        &self,
        session: &SessionId,
        file: &ReplyFile,
        idempotency_key: &str,
    ) -> Result<FileStored, RelayError> {
        let (bytes, size_bytes) = opened(&file.path).await.map_err(RelayError::NoFile)?;
        let url = self.url(&format!("{BASE_PATH}/sessions/{session}/files"));
        let url = Url::parse_with_params(&url, [("name", &file.name)])
            .map_err(|_| RelayError::BadAddress(url))?;
        let call = self.client.post(url).timeout(FILE_TIMEOUT).body(bytes);
        let call = call
            .header(header::CONTENT_TYPE, &file.media_type)
            .header(header::CONTENT_LENGTH, size_bytes)
            .header(IDEMPOTENCY_KEY, idempotency_key);
        self.send(call).await
    }

    /// Looks at the inbox without leasing: whether the key is good.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn peek(&self) -> Result<Inbox, RelayError> {
        let call = self.client.get(self.url(&format!("{BASE_PATH}/inbox?limit=1")));
        self.send(call).await
    }

    /// Whether the relay does its work; needs no key. Comes with the relay's clock.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn health(&self) -> Result<Success<Health>, RelayError> {
        read(self.client.get(self.url("/health")).timeout(ANSWER_TIMEOUT)).await
    }

    fn post(&self, path: &str, body: &impl Serialize) -> RequestBuilder {
        let url = self.url(&format!("{BASE_PATH}{path}"));
        self.client.post(url).timeout(ANSWER_TIMEOUT).json(body)
    }

    /// Keeps the address's own path, for a relay behind one.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    /// A call whose answer may stop being of interest: cutting it off would cost the connection, and
    /// the next call the time for another.
    async fn send_to_the_end<T: DeserializeOwned + Send + 'static>(
        &self,
        call: RequestBuilder,
    ) -> Result<T, RelayError> {
        let relay = self.clone();
        let answer = tokio::spawn(async move { relay.send(call).await });
        answer.await.unwrap_or_else(|ended| Err(RelayError::Unreachable(ended.to_string())))
    }

    async fn send<T: DeserializeOwned>(&self, call: RequestBuilder) -> Result<T, RelayError> {
        read::<Success<T>>(self.authorized(call)).await.map(|answer| answer.data)
    }

    fn authorized(&self, call: RequestBuilder) -> RequestBuilder {
        call.header(header::AUTHORIZATION, self.authorization.clone())
    }
}

fn base_url(address: &str) -> Result<Url, RelayError> {
    let url: Url = address.parse().map_err(|_| RelayError::BadAddress(address.to_owned()))?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if plain {
        Ok(url)
    } else {
        Err(RelayError::BadAddress("only scheme, host, port and path".into()))
    }
}

async fn read<T: DeserializeOwned>(call: RequestBuilder) -> Result<T, RelayError> {
    let body = read_body(answered(call).await?).await?;
    serde_json::from_slice(&body).map_err(|e| RelayError::NotARelay(e.to_string()))
}

/// A successful answer whose body is still to be read.
async fn answered(call: RequestBuilder) -> Result<Response, RelayError> {
    let response = call.send().await.map_err(|cause| unreachable(&cause))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = retry_after(&response);
    Err(refusal(status, retry_after, &read_body(response).await?))
}

/// A file to be read, and its size in bytes.
async fn opened(path: &Path) -> io::Result<(fs::File, u64)> {
    let file = fs::File::open(path).await?;
    let size_bytes = file.metadata().await?.len();
    Ok((file, size_bytes))
}

fn bad_file(file: &File, cause: &dyn fmt::Display) -> RelayError {
    RelayError::BadFile(format!("{}: {cause}", file.id))
}

async fn read_body(response: Response) -> Result<Vec<u8>, RelayError> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(|cause| unreachable(&cause))?);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(RelayError::NotARelay(format!("more than {MAX_ANSWER_BYTES} bytes")));
        }
    }
    Ok(body)
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> RelayError {
    let failure: Option<Failure> = serde_json::from_slice(body).ok();
    let kind = failure.as_ref().map_or(ErrorType::Unknown, |failure| failure.kind);
    let wanted = failure.as_ref().and_then(|failure| failure.offset).unwrap_or_default();
    let sentence = failure.map_or_else(
        || "an answer that is not a relay's, perhaps of a proxy in between".to_owned(),
        |failure| failure.error.chars().take(300).collect(),
    );
    let code = status.as_u16();
    match (code, kind) {
        (401 | 403, _) => RelayError::KeyRefused { status: code, sentence },
        (409, ErrorType::StaleLease | ErrorType::NotLeased) => RelayError::LeaseLost(sentence),
        (409, ErrorType::OffsetMismatch) => RelayError::Gap { wanted },
        (_, ErrorType::TooManyFiles) => RelayError::TooManyFiles(sentence),
        (404, ErrorType::NotFound) | (409, _) => RelayError::Settled(sentence),
        (408 | 429 | 500..=599, _) => RelayError::Busy { status: code, sentence, retry_after },
        (300..=399 | 404 | 405, _) => RelayError::NotARelay(format!("status {code}")),
        _ => RelayError::Refused { status: code, sentence },
    }
}

/// `Retry-After` in seconds; the form with a date is not one a relay gives.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The innermost cause says what happened; the outer ones repeat the address.
fn unreachable(error: &reqwest::Error) -> RelayError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let what = if error.is_timeout() { "no answer in time".into() } else { cause.to_string() };
    RelayError::Unreachable(what)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_scheme_host_and_path_only() {
        for good in ["https://relay.example", "http://127.0.0.1:8080/", "https://a.example/chat"] {
            assert!(base_url(good).is_ok(), "{good}");
        }
        for bad in ["relay.example", "ftp://a", "https://key@a.example", "https://a?key=1", ""] {
            assert!(matches!(base_url(bad), Err(RelayError::BadAddress(_))), "{bad}");
        }
    }

    #[test]
    fn a_path_of_the_relays_own_is_kept() {
        let relay = Relay::new("https://a.example/chat/", "a-key-of-many-characters").unwrap();
        assert_eq!(relay.url("/health"), "https://a.example/chat/health");
    }

    #[test]
    fn the_key_is_not_in_what_is_printed() {
        let relay = Relay::new("https://a.example", "a-key-of-many-characters").unwrap();
        assert!(!format!("{relay:?}").contains("a-key-of-many-characters"));
    }
}
