//! Raw calls of the wire, for what no client of ours would send.

use std::borrow::Cow;
use std::net::SocketAddr;

use postern_shared::poller::{Leased, LeasedMessage};
use postern_shared::{BASE_PATH, Failure, IDEMPOTENCY_KEY, SessionId, Success};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::eventually;

/// Calls one relay with one credential, or none.
#[derive(Debug, Clone)]
pub struct Caller {
    client: Client,
    address: SocketAddr,
    secret: Option<String>,
    idempotency_key: Option<String>,
    forwarded_for: Option<String>,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Caller {
    /// Calls without a credential.
    ///
    /// # Panics
    /// When no client can be made.
    pub fn new(address: SocketAddr) -> Self {
        let client = Client::builder().no_proxy().build().expect("a client");
        Self { client, address, secret: None, idempotency_key: None, forwarded_for: None }
    }

    /// The same with `Authorization: Bearer …`.
    #[must_use]
    pub fn with_secret(&self, secret: &str) -> Self {
        Self { secret: Some(secret.to_owned()), ..self.clone() }
    }

    /// The same with `Idempotency-Key`.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { idempotency_key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same from another address, as the proxy in front of the relay tells it.
    #[must_use]
    pub fn at(&self, address: &str) -> Self {
        Self { forwarded_for: Some(address.to_owned()), ..self.clone() }
    }

    /// A request that can still be changed; `path` counts from `/api/v1`, or, when it begins with `//`,
    /// from the root.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let path = match path.strip_prefix('/') {
            Some(from_root) if from_root.starts_with('/') => from_root.to_owned(),
            _ => format!("{BASE_PATH}{path}"),
        };
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        if let Some(secret) = &self.secret {
            request = request.bearer_auth(secret);
        }
        if let Some(key) = &self.idempotency_key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(address) = &self.forwarded_for {
            request = request.header("x-forwarded-for", address);
        }
        request
    }

    /// Waits, with an operator's key, until pollers' calls for messages are held.
    ///
    /// # Panics
    /// When there are never this many.
    pub async fn sees_lease_calls_held(&self, number: usize) {
        let line = format!("postern_relay_lease_calls_held {number}");
        eventually("the held calls", async || self.get("//metrics").await.text().contains(&line))
            .await;
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::POST, path).json(body)).await
    }

    /// Posts bytes as they are.
    pub async fn post_bytes(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        Answer::to(self.request(Method::POST, path).body(body.into())).await
    }

    /// Sends a file to a session, named as it is percent-encoded.
    pub async fn send_file(
        &self,
        session: &SessionId,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Answer {
        let path = format!("/sessions/{session}/files?name={name}");
        let request = self.request(Method::POST, &path).header("content-type", media_type);
        Answer::to(request.body(bytes.to_vec())).await
    }

    /// Gets.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    /// Leases as a poller would; `{}` asks for what the defaults give.
    ///
    /// # Panics
    /// When the relay refuses.
    pub async fn lease(&self, request: &Value) -> Vec<LeasedMessage> {
        self.post("/inbox/lease", request).await.data::<Leased>().messages
    }
}

impl Answer {
    /// Sends a request and reads its answer whole.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.expect("a body").to_vec();
        Self { status, headers, body }
    }

    /// The body as text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// What a success brought.
    ///
    /// # Panics
    /// When it is no success, or of another shape.
    #[track_caller]
    pub fn data<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        let success: Success<T> = serde_json::from_slice(&self.body).expect("a success");
        success.data
    }

    /// What a refusal said; checks that the body agrees with the status line.
    ///
    /// # Panics
    /// When it is no refusal in the contract's form.
    #[track_caller]
    pub fn failure(&self) -> Failure {
        let shown = String::from_utf8_lossy(&self.body);
        let failure: Failure = serde_json::from_slice(&self.body).expect("an error body");
        assert_eq!(failure.code, self.status.as_u16(), "{shown}");
        assert!(!failure.success, "{shown}");
        assert!(self.headers.contains_key("x-request-id"), "{shown}");
        failure
    }
}
