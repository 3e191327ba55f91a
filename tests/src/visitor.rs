//! A visitor as the widget would be one: posts, listens, and comes back with a cursor.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, StreamExt};
use postern_shared::visitor::{Entry, MessageAccepted, Responses, Role, Transcript};
use postern_shared::{MessageId, SessionId, Uid};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sse_stream::{Sse, SseStream};

use crate::{Answer, Caller, soon};

type Events = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>;

/// One visitor with at most one session and one event stream.
pub struct Visitor {
    calls: Caller,
    session: Option<(SessionId, Uid)>,
    events: Option<Events>,
    cursor: Option<String>,
}

impl Visitor {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { calls: Caller::new(address), session: None, events: None, cursor: None }
    }

    /// Sends a message; the first opens the session.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn send(&mut self, text: &str) -> MessageId {
        self.send_with(text, Value::Null).await
    }

    /// Sends a message with metadata.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn send_with(&mut self, text: &str, metadata: Value) -> MessageId {
        let session_id = self.session.as_ref().map(|(id, _)| id);
        let body = json!({ "session_id": session_id, "message": text, "metadata": metadata });
        let answer = self.calls.with_key(&fresh_key()).post("/messages", &body).await;
        self.remember(answer.data())
    }

    /// Takes an accepted message's session as its own.
    pub fn remember(&mut self, accepted: MessageAccepted) -> MessageId {
        if let Some(token) = &accepted.session_token {
            self.calls = self.calls.with_secret(token);
        }
        self.session = Some((accepted.session_id, accepted.uid));
        accepted.message_id
    }

    /// Its session.
    ///
    /// # Panics
    /// Before the first message.
    pub fn session(&self) -> &SessionId {
        &self.session.as_ref().expect("a session").0
    }

    /// Who it is over sessions.
    ///
    /// # Panics
    /// Before the first message.
    pub fn uid(&self) -> &Uid {
        &self.session.as_ref().expect("a session").1
    }

    /// The same visitor in another tab: same session and token, its own stream.
    #[must_use]
    pub fn other_tab(&self) -> Self {
        Self {
            calls: self.calls.clone(),
            session: self.session.clone(),
            events: None,
            cursor: None,
        }
    }

    /// Raw calls with its token.
    pub fn calls(&self) -> &Caller {
        &self.calls
    }

    /// Opens the event stream, or opens it again after the last event it saw.
    ///
    /// # Panics
    /// When the relay refuses.
    pub async fn listen(&mut self) {
        let path = format!("/sessions/{}/events", self.session());
        let mut request = self.calls.request(Method::GET, &path);
        if let Some(cursor) = &self.cursor {
            request = request.header("last-event-id", cursor);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        self.events = Some(Box::pin(SseStream::from_bytes_stream(response.bytes_stream())));
    }

    /// Drops the event stream, as a lost network would.
    pub fn hang_up(&mut self) {
        self.events = None;
    }

    /// The next entry of the conversation, its own messages included; `None` when the relay ended
    /// the stream.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next_entry(&mut self) -> Option<Entry> {
        if self.events.is_none() {
            self.listen().await;
        }
        let events = self.events.as_mut()?;
        loop {
            let event = soon("an event", events.next()).await?.ok()?;
            let (Some("message"), Some(data)) = (event.event.as_deref(), event.data) else {
                continue;
            };
            assert!(event.id.is_some(), "a message without a cursor");
            self.cursor = event.id;
            return Some(serde_json::from_str(&data).expect("an entry"));
        }
    }

    /// The next entry that is not its own.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next_reply_entry(&mut self) -> Entry {
        loop {
            let entry = self.next_entry().await.expect("a stream that goes on");
            if entry.role != Role::Visitor {
                return entry;
            }
        }
    }

    /// The text of the next reply.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next_reply(&mut self) -> String {
        self.next_reply_entry().await.text
    }

    /// Replies by long poll.
    ///
    /// # Panics
    /// When the relay refuses.
    pub async fn poll(&self, query: &str) -> Responses {
        self.calls.get(&format!("/responses/{}?{query}", self.session())).await.data()
    }

    /// The newest page of its conversation.
    ///
    /// # Panics
    /// When the relay refuses.
    pub async fn transcript(&self) -> Transcript {
        let path = format!("/sessions/{}/messages", self.session());
        let answer: Answer = self.calls.get(&path).await;
        answer.data()
    }
}

/// A key no other message of this test run has.
fn fresh_key() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("test-message-key-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
