//! The relay as the poller calls it: each call is one request, bounded in time and size.

pub(crate) mod answer;
mod certificate;
mod error;

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
use postern_shared::{BASE_PATH, IDEMPOTENCY_KEY, LeaseId, MessageId, SessionId, Success};
use reqwest::header::{self, HeaderValue};
use reqwest::{Client, RequestBuilder, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use self::answer::{MAX_ANSWER_BYTES, MAX_MESSAGE_BYTES, answered, not_a_relay, unreachable};
pub use self::error::RelayError;
use crate::agent::ReplyFile;
use crate::private;

/// How long a connection may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take, beyond what the call asks to be held.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a file may take.
const FILE_TIMEOUT: Duration = Duration::from_secs(600);

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
        let leased: Leased = self.send_for(limit, call).await?;
        check_leased(&leased.messages, limit)?;
        Ok(leased.messages)
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
        let url = self.url(&format!("/sessions/{session}/files/{}", file.id));
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
        let mut url = self.url(&format!("/sessions/{session}/files"));
        url.query_pairs_mut().append_pair("name", &file.name);
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
        let mut url = self.url("/inbox");
        url.set_query(Some("limit=1"));
        self.send_for(1, self.client.get(url).timeout(ANSWER_TIMEOUT)).await
    }

    /// Whether the relay does its work; needs no key. Comes with the relay's clock.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn health(&self) -> Result<Success<Health>, RelayError> {
        let call = self.client.get(self.outside("/health")).timeout(ANSWER_TIMEOUT);
        answer::read(call, MAX_ANSWER_BYTES).await
    }

    fn post(&self, path: &str, body: &impl Serialize) -> RequestBuilder {
        self.client.post(self.url(path)).timeout(ANSWER_TIMEOUT).json(body)
    }

    /// A place of the wire's, by its path.
    fn url(&self, path: &str) -> Url {
        self.outside(&format!("{BASE_PATH}{path}"))
    }

    /// Any other. Keeps the address's own path, for a relay behind one; the rest is not parsed again.
    fn outside(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
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
        self.send_up_to(MAX_ANSWER_BYTES, call).await
    }

    /// A call whose answer holds up to so many messages.
    async fn send_for<T: DeserializeOwned>(
        &self,
        messages: u32,
        call: RequestBuilder,
    ) -> Result<T, RelayError> {
        self.send_up_to(MAX_ANSWER_BYTES + messages as usize * MAX_MESSAGE_BYTES, call).await
    }

    async fn send_up_to<T: DeserializeOwned>(
        &self,
        max_bytes: usize,
        call: RequestBuilder,
    ) -> Result<T, RelayError> {
        let answer: Success<T> = answer::read(self.authorized(call), max_bytes).await?;
        Ok(answer.data)
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

/// Whoever asks for so many messages has room for so many, in a queue and a memory that are bounded.
pub(crate) fn check_leased(messages: &[LeasedMessage], asked_for: u32) -> Result<(), RelayError> {
    if messages.len() > asked_for as usize {
        return Err(not_a_relay("it answers with more messages than were asked for"));
    }
    if messages.iter().any(|one| one.message.len() > MAX_MESSAGE_BYTES) {
        let problem = format!("it answers with a message of more than {MAX_MESSAGE_BYTES} bytes");
        return Err(not_a_relay(&problem));
    }
    Ok(())
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
        assert_eq!(relay.outside("/health").as_str(), "https://a.example/chat/health");
    }

    #[test]
    fn the_key_is_not_in_what_is_printed() {
        let relay = Relay::new("https://a.example", "a-key-of-many-characters").unwrap();
        assert!(!format!("{relay:?}").contains("a-key-of-many-characters"));
    }
}
