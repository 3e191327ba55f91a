//! A visitor as the widget would be one: posts, listens, and comes back with a cursor.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, StreamExt};
use postern_shared::visitor::{
    Chunk, Entry, MessageAccepted, MessageState, Responses, Role, Status, Transcript,
};
use postern_shared::{MessageId, SessionId, Uid};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sse_stream::{Sse, SseStream};

use crate::{Answer, Caller, soon};

type Events = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>;

/// What the event stream brings.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An entry of the conversation.
    Message(Entry),
    /// A piece of a reply that is being written.
    Chunk(Chunk),
    /// How things stand.
    Status(Status),
}

/// One visitor with at most one session and one event stream.
pub struct Visitor {
    calls: Caller,
    session: Option<(SessionId, Uid)>,
    events: Option<Events>,
    cursor: Option<String>,
    /// The reply that is being written, as far as this stream has shown it.
    draft: Draft,
}

/// A reply that is being written, put together from its pieces.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    message: Option<MessageId>,
    text: String,
}

impl Draft {
    /// Takes a piece as the wire contract says.
    ///
    /// # Errors
    /// When there is a gap before it, or it begins within a character.
    pub fn take(&mut self, chunk: &Chunk) -> Result<(), String> {
        if self.message != Some(chunk.message_id) {
            *self = Self { message: Some(chunk.message_id), text: String::new() };
        }
        let offset = usize::try_from(chunk.offset).unwrap_or(usize::MAX);
        if !self.text.is_char_boundary(offset) {
            return Err(format!("a piece at {offset} of {:?}", self.text));
        }
        self.text.truncate(offset);
        self.text.push_str(&chunk.text);
        Ok(())
    }

    /// What is known of it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Visitor {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let draft = Draft::default();
        Self { calls: Caller::new(address), session: None, events: None, cursor: None, draft }
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
            draft: Draft::default(),
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
        self.draft = Draft::default();
    }

    /// Drops the event stream, as a lost network would.
    pub fn hang_up(&mut self) {
        self.events = None;
    }

    /// The next event; `None` when the relay ended the stream.
    ///
    /// # Panics
    /// When none comes, or one that the wire contract does not know.
    pub async fn next_event(&mut self) -> Option<Event> {
        if self.events.is_none() {
            self.listen().await;
        }
        let events = self.events.as_mut()?;
        loop {
            let event = soon("an event", events.next()).await?.ok()?;
            let Some(data) = event.data else { continue };
            let event = match event.event.as_deref() {
                Some("message") => {
                    assert!(event.id.is_some(), "a message without a cursor");
                    self.cursor = event.id;
                    Event::Message(serde_json::from_str(&data).expect("an entry"))
                }
                Some("chunk") => {
                    let chunk = serde_json::from_str(&data).expect("a chunk");
                    self.draft.take(&chunk).expect("a piece that follows");
                    Event::Chunk(chunk)
                }
                Some("status") => Event::Status(serde_json::from_str(&data).expect("a status")),
                other => panic!("an event of type {other:?}"),
            };
            return Some(event);
        }
    }

    /// Reads on until the reply that is being written has come this far.
    ///
    /// # Panics
    /// When it does not.
    pub async fn sees_written(&mut self, text: &str) {
        while self.draft.text() != text {
            let event = self.next_event().await.expect("a stream that goes on");
            assert!(!matches!(event, Event::Message(ref entry) if entry.role != Role::Visitor));
        }
    }

    /// Reads on until the relay tells of a status like this.
    ///
    /// # Panics
    /// When it does not.
    pub async fn sees_status(&mut self, wanted: impl Fn(&Status) -> bool) -> Status {
        loop {
            match self.next_event().await.expect("a stream that goes on") {
                Event::Status(status) if wanted(&status) => return status,
                _ => {}
            }
        }
    }

    /// Reads on until its oldest open message has come this far.
    ///
    /// # Panics
    /// When it does not.
    pub async fn sees_state(&mut self, state: MessageState) -> Status {
        self.sees_status(|status| status.state == Some(state)).await
    }

    /// Wants no reply to a message any more.
    pub async fn cancel(&self, message: MessageId) -> Answer {
        self.calls.post(&format!("/messages/{message}/cancel"), &json!({})).await
    }

    /// The next entry of the conversation, its own messages included; `None` when the relay ended
    /// the stream.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next_entry(&mut self) -> Option<Entry> {
        loop {
            if let Event::Message(entry) = self.next_event().await? {
                return Some(entry);
            }
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
