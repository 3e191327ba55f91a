//! An agent that does what a test tells it: an HTTP server for `--agent http`.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use futures_util::stream;
use postern_poller::agent::Question;
use postern_shared::SessionId;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::soon;

/// Answers each question as the test says, one after the other.
pub struct TestAgent {
    address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
    shared: Arc<Shared>,
}

/// A question that waits for the test's answer.
pub struct Asked {
    /// What was asked.
    pub question: Question,
    answer: oneshot::Sender<Response>,
}

/// A reply that is being written.
pub struct Writing {
    /// What was asked.
    pub question: Question,
    pieces: mpsc::UnboundedSender<io::Result<String>>,
}

impl Writing {
    /// Writes a piece.
    pub fn write(&self, piece: &str) {
        let _ = self.pieces.send(Ok(piece.to_owned()));
    }

    /// Breaks off in the middle.
    pub fn break_off(self) {
        let _ = self.pieces.send(Err(io::ErrorKind::ConnectionReset.into()));
    }

    /// Waits until the poller has hung up.
    pub async fn is_abandoned(&self) {
        soon("the poller to hang up", self.pieces.closed()).await;
    }
}

struct Shared {
    asked: mpsc::UnboundedSender<Asked>,
    at_work: Mutex<HashMap<SessionId, u32>>,
    overlaps: Mutex<u32>,
}

impl TestAgent {
    /// Starts listening for questions.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, asked) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            asked: sender,
            at_work: Mutex::default(),
            overlaps: Mutex::default(),
        });
        // Pieces are to be measured on their way through the bridge, not in this agent.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let app = Router::new().route("/", post(ask)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, asked, shared }
    }

    /// Where the poller asks it.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The next question.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next(&mut self) -> Asked {
        soon("a question to the agent", self.asked.recv()).await.expect("a question")
    }

    /// Answers the next question.
    ///
    /// # Panics
    /// When none comes.
    pub async fn replies(&mut self, text: &str) -> Question {
        self.next().await.reply(text)
    }

    /// Whether a question waits that the test has not seen.
    pub fn is_asked(&mut self) -> bool {
        !self.asked.is_empty()
    }

    /// How often it was asked for a session while it was at work for the same.
    pub fn overlaps(&self) -> u32 {
        *self.shared.overlaps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// Answers with a reply.
    pub fn reply(self, text: &str) -> Question {
        self.answer(as_text(text.to_owned()))
    }

    /// Answers with a reply in JSON.
    pub fn reply_json(self, reply: Value) -> Question {
        self.answer(Json(reply).into_response())
    }

    /// Begins a reply that ends when the value is dropped.
    pub fn begin(self) -> Writing {
        let (pieces, written) = mpsc::unbounded_channel();
        let body =
            stream::unfold(written, async |mut written| Some((written.recv().await?, written)));
        Writing { question: self.answer(as_text(Body::from_stream(body))), pieces }
    }

    /// Waits until the poller has hung up.
    pub async fn is_abandoned(&mut self) {
        soon("the poller to hang up", self.answer.closed()).await;
    }

    /// Answers with a failure.
    pub fn fail(self, status: StatusCode) -> Question {
        self.answer(status.into_response())
    }

    fn answer(self, answer: Response) -> Question {
        let _ = self.answer.send(answer);
        self.question
    }
}

fn as_text(body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, "text/plain")], body.into()).into_response()
}

async fn ask(State(shared): State<Arc<Shared>>, Json(question): Json<Question>) -> Response {
    let _at_work = AtWork::begin(Arc::clone(&shared), question.session_id.clone());
    let (answer, answered) = oneshot::channel();
    let _ = shared.asked.send(Asked { question, answer });
    answered.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Counts runs of one session at the same time; a caller that hangs up ends its run.
struct AtWork {
    shared: Arc<Shared>,
    session: SessionId,
}

impl AtWork {
    fn begin(shared: Arc<Shared>, session: SessionId) -> Self {
        let mut at_work = shared.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = at_work.entry(session.clone()).or_default();
        *runs += 1;
        if *runs > 1 {
            *shared.overlaps.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        drop(at_work);
        Self { shared, session }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut at_work = self.shared.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runs) = at_work.get_mut(&self.session) {
            *runs -= 1;
        }
    }
}
