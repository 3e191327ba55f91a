//! A visitor who keeps talking whatever breaks: repeats each message with its key until it is
//! accepted, and comes back to the stream with the last cursor.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use postern_shared::visitor::{Chunk, Entry, MessageAccepted, Role};
use postern_shared::{MessageId, Success};
use reqwest::{Client, Response};
use serde_json::json;
use sse_stream::SseStream;
use tokio::task::JoinHandle;
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

use crate::Draft;

/// A call that takes longer is made again; a stream that is silent for longer is opened again.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many of its messages may wait for an answer before it waits too.
const MAX_OPEN: usize = 4;

/// What one visitor went through.
#[derive(Debug, Default, Clone)]
pub(super) struct Story {
    /// Its session, once there is one.
    pub(super) session: Option<String>,
    /// Every message that was answered with success: its id and text, in the order sent.
    pub(super) accepted: Vec<(i64, String)>,
    /// Everything its stream showed, in the order shown, over all reconnects.
    pub(super) shown: Vec<Entry>,
    /// The messages it tried to stop.
    pub(super) cancelled: HashSet<i64>,
    /// How many pieces of replies it saw.
    pub(super) chunks: usize,
    /// What was wrong with them.
    pub(super) bad_chunks: Vec<String>,
}

impl Story {
    /// Takes a piece: what is known of a reply is always the beginning of what it will be.
    fn take_chunk(&mut self, chunk: &Chunk, draft: &mut Draft) {
        self.chunks += 1;
        if let Err(gap) = draft.take(chunk) {
            self.bad_chunks.push(gap);
        }
        let message = self.shown.iter().find(|entry| entry.id == chunk.message_id);
        let reply = message.map(|message| format!("{}\n", reply_to(&message.text)));
        if !reply.is_some_and(|reply| reply.starts_with(draft.text())) {
            self.bad_chunks.push(format!("message {}: {:?}", chunk.message_id, draft.text()));
        }
        if self.shown.iter().filter_map(answers).any(|answered| answered == chunk.message_id.0) {
            self.bad_chunks.push(format!("message {}: a piece after its end", chunk.message_id));
        }
    }

    fn open(&self) -> usize {
        let answered: HashSet<_> = self.shown.iter().filter_map(|entry| entry.message_id).collect();
        self.accepted.iter().filter(|(id, _)| !answered.iter().any(|a| a.0 == *id)).count()
    }
}

/// A visitor at work.
pub(super) struct Talking {
    sending: JoinHandle<()>,
    reading: JoinHandle<()>,
    story: Arc<Mutex<Story>>,
}

/// Starts a visitor who talks until `done`.
pub(super) fn start(number: u64, relay: SocketAddr, done: CancellationToken) -> Talking {
    let story = Arc::new(Mutex::new(Story::default()));
    let (opened, token) = tokio::sync::watch::channel(None);
    let page = Page { relay, number, client: client(), story: Arc::clone(&story) };
    let reading = tokio::spawn(page.clone().read(token));
    let sending = tokio::spawn(page.talk(opened, done));
    Talking { sending, reading, story }
}

impl Talking {
    /// Waits until every message has an answer, or the patience ends; then the story.
    pub(super) async fn finish(self, patience: Duration) -> Story {
        let until = Instant::now() + patience;
        let _ = time::timeout_at(until, self.sending).await;
        while lock(&self.story).open() > 0 && Instant::now() < until {
            time::sleep(Duration::from_millis(10)).await;
        }
        // Whatever comes twice would come now.
        time::sleep(Duration::from_millis(200)).await;
        self.reading.abort();
        lock(&self.story).clone()
    }
}

fn client() -> Client {
    let client = Client::builder().no_proxy().connect_timeout(PATIENCE).build();
    client.expect("a client")
}

fn lock(story: &Mutex<Story>) -> MutexGuard<'_, Story> {
    story.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Page {
    relay: SocketAddr,
    number: u64,
    client: Client,
    story: Arc<Mutex<Story>>,
}

impl Page {
    async fn talk(
        self,
        opened: tokio::sync::watch::Sender<Option<(String, String)>>,
        done: CancellationToken,
    ) {
        let mut message = 0;
        while !done.is_cancelled() {
            if lock(&self.story).open() >= MAX_OPEN {
                time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            let text = format!("m-{}-{message}", self.number);
            let session = opened.borrow().clone();
            let accepted = self.post(&text, message, session.as_ref()).await;
            let mut story = lock(&self.story);
            story.accepted.push((accepted.message_id.0, text));
            let session = accepted.session_id.to_string();
            story.session = Some(session.clone());
            drop(story);
            if let Some((_, token)) = opened.borrow().as_ref().filter(|_| message % 7 == 6) {
                self.cancel(accepted.message_id, token);
            }
            if let Some(token) = accepted.session_token {
                opened.send_replace(Some((session, token)));
            }
            message += 1;
        }
    }

    /// Stops a message some time after it was sent, if the call gets through.
    fn cancel(&self, message: MessageId, token: &str) {
        lock(&self.story).cancelled.insert(message.0);
        let call = self
            .client
            .post(format!("http://{}/api/v1/messages/{message}/cancel", self.relay))
            .bearer_auth(token)
            .timeout(PATIENCE);
        tokio::spawn(async move {
            time::sleep(Duration::from_millis(message.0.unsigned_abs() % 50)).await;
            call.send().await
        });
    }

    /// Repeats one message under one key until it is accepted.
    async fn post(
        &self,
        text: &str,
        message: u64,
        session: Option<&(String, String)>,
    ) -> MessageAccepted {
        loop {
            let id = session.map(|(id, _)| id);
            let mut call = self
                .client
                .post(format!("http://{}/api/v1/messages", self.relay))
                .header("idempotency-key", format!("torture-{}-{message:08}", self.number))
                .timeout(PATIENCE)
                .json(&json!({ "session_id": id, "message": text }));
            if let Some((_, token)) = session {
                call = call.bearer_auth(token);
            }
            if let Some(accepted) = accepted(call.send().await).await {
                return accepted;
            }
            time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Reads the stream for ever, over any number of connections.
    async fn read(self, mut token: tokio::sync::watch::Receiver<Option<(String, String)>>) {
        let known = token.wait_for(Option::is_some).await.ok().and_then(|known| known.clone());
        let Some((session, token)) = known else { return };
        loop {
            let mut call = self
                .client
                .get(format!("http://{}/api/v1/sessions/{session}/events", self.relay))
                .bearer_auth(&token);
            let last = lock(&self.story).shown.last().map(|entry| entry.id);
            if let Some(last) = last {
                call = call.header("last-event-id", last.to_string());
            }
            if let Ok(Ok(response)) = time::timeout(PATIENCE, call.send()).await {
                self.read_events(response).await;
            }
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn read_events(&self, response: Response) {
        let mut events = SseStream::from_bytes_stream(response.bytes_stream());
        let mut draft = Draft::default();
        while let Ok(Some(Ok(event))) = time::timeout(PATIENCE, events.next()).await {
            let data = event.data.unwrap_or_default();
            let mut story = lock(&self.story);
            match event.event.as_deref() {
                Some("message") => story.shown.extend(serde_json::from_str::<Entry>(&data)),
                Some("chunk") => {
                    let chunk = serde_json::from_str(&data);
                    chunk.iter().for_each(|chunk| story.take_chunk(chunk, &mut draft));
                }
                _ => {}
            }
        }
    }
}

/// What the agent says to a message.
pub(super) fn reply_to(text: &str) -> String {
    format!("re: {text}")
}

/// The answer, when it is a success that came whole.
async fn accepted(answer: reqwest::Result<Response>) -> Option<MessageAccepted> {
    let response = answer.ok()?;
    if !response.status().is_success() {
        return None;
    }
    response.json::<Success<MessageAccepted>>().await.ok().map(|answer| answer.data)
}

/// Whether an entry answers a visitor's message, for good or ill.
pub(super) fn answers(entry: &Entry) -> Option<i64> {
    matches!(entry.role, Role::Agent | Role::System).then_some(entry.message_id?.0)
}
