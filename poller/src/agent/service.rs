//! What the agents behind HTTP share: one client, bodies within bounds, one reading of failures.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::Serialize;
use serde_json::Value;

use super::{AgentConfigError, AgentError, AgentLimits};
use crate::one_line::one_line;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The relay keeps a message back for an hour at most.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// How much of a failure's body is read for the reason it gives.
const MAX_FAILURE_BYTES: usize = 16 * 1024;

/// One address that questions are posted to, and the key to it.
pub(super) struct Service {
    client: Client,
    url: Url,
    key: Option<String>,
    limits: AgentLimits,
}

impl Service {
    pub(super) fn new(
        url: Url,
        key: Option<String>,
        limits: AgentLimits,
    ) -> Result<Self, AgentConfigError> {
        let mut client = Client::builder()
            .user_agent(concat!("postern-poller/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT);
        if is_loopback(&url) {
            // A proxy that the environment names for the rest of the world cannot reach this host.
            client = client.no_proxy();
        }
        let client = client.build().map_err(AgentConfigError::Client)?;
        Ok(Self { client, url, key, limits })
    }

    pub(super) fn limits(&self) -> AgentLimits {
        self.limits
    }

    /// Scheme, host and port: the rest of the URL may hold a secret.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Ends a conversation with the service that takes too long.
    pub(super) async fn in_time<T>(
        &self,
        conversation: impl Future<Output = Result<T, AgentError>>,
    ) -> Result<T, AgentError> {
        let limit = self.limits.timeout;
        let in_time = tokio::time::timeout(limit, conversation).await;
        in_time.unwrap_or(Err(AgentError::TimedOut(limit)))
    }

    /// Posts a body as JSON; anything but a success is an error.
    pub(super) async fn post(&self, body: &impl Serialize) -> Result<Response, AgentError> {
        self.send(self.client.post(self.url.clone()).json(body)).await
    }

    /// Asks for what fits a query; anything but a success is an error.
    pub(super) async fn get(&self, query: &[(&str, &str)]) -> Result<Response, AgentError> {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(query);
        self.send(self.client.get(url)).await
    }

    async fn send(&self, mut request: RequestBuilder) -> Result<Response, AgentError> {
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.map_err(|error| self.network(error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    /// The whole body of a response, which may hold some bytes beside a reply.
    pub(super) async fn body(
        &self,
        mut response: Response,
        beside_bytes: usize,
    ) -> Result<Vec<u8>, AgentError> {
        let limit_bytes = self.max_body_bytes().saturating_add(beside_bytes);
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.network(error))? {
            if body.len() + piece.len() > limit_bytes {
                return Err(AgentError::TooLong { limit_bytes });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// How long JSON around a reply may be: escaped, a reply grows by a factor of up to 6.
    pub(super) fn max_body_bytes(&self) -> usize {
        self.limits.max_reply_bytes.get().saturating_mul(6).saturating_add(64 * 1024)
    }

    pub(super) fn network(&self, error: reqwest::Error) -> AgentError {
        AgentError::Network { origin: self.origin(), cause: root_cause(&error.without_url()) }
    }

    pub(super) fn no_reply(&self, problem: impl Into<String>) -> AgentError {
        AgentError::NoReply { origin: self.origin(), problem: problem.into() }
    }

    /// A failure that the service reported in JSON.
    pub(super) fn refused(
        &self,
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &Value,
    ) -> AgentError {
        let mut reason = failure_reason(body).unwrap_or("no reason given").to_owned();
        if let Some(key) = &self.key {
            reason = reason.replace(key, "…");
        }
        AgentError::Refused {
            origin: self.origin(),
            status,
            reason: one_line(&reason),
            advice: if status.is_redirection() { " (redirects are not followed)" } else { "" },
            retry_after,
        }
    }

    async fn refusal(&self, mut response: Response) -> AgentError {
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while body.len() < MAX_FAILURE_BYTES
            && let Ok(Some(piece)) = response.chunk().await
        {
            body.extend_from_slice(&piece);
        }
        let body = serde_json::from_slice(&body).unwrap_or_default();
        self.refused(status, retry_after, &body)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Service").field(&self.origin()).finish()
    }
}

/// The URL that a flag holds.
pub(super) fn parse_url(text: &str, flag: &'static str) -> Result<Url, AgentConfigError> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or(AgentConfigError::InvalidUrl { flag })
}

/// A response's media type without its parameters, in lower case; empty when it names none.
pub(super) fn media_type(response: &Response) -> String {
    let header = response.headers().get(CONTENT_TYPE);
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = text.split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    one_line(&cause.to_string())
}

/// Where the services put a sentence: OpenAI's and llama.cpp's `error.message`, Ollama's `error`,
/// vLLM's `message`, FastAPI's `detail`.
fn failure_reason(body: &Value) -> Option<&str> {
    let places = ["/error/message", "/error", "/message", "/detail"];
    places.into_iter().find_map(|place| body.pointer(place)?.as_str())
}

/// `Retry-After` as seconds or as a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse::<u64>().ok().or_else(|| {
        let date = DateTimeParser::new().parse_timestamp(text).ok()?;
        let seconds = date.as_second() - Timestamp::now().as_second();
        Some(seconds.max(0).unsigned_abs())
    })?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
