//! A relay that does what a test tells it, and is an honest one otherwise.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use postern_shared::visitor::Role;
use reqwest::Client;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::{TestRelay, soon};

/// More than a poller sends in these tests.
const MAX_CALL_BYTES: usize = 4 * 1024 * 1024;

/// Answers a call, or leaves it to the honest relay.
type Script = Box<dyn FnMut(&Call) -> Option<Response> + Send>;

/// A relay with a script.
pub struct HostileRelay {
    /// The relay behind it.
    pub honest: TestRelay,
    address: SocketAddr,
    shared: Arc<Shared>,
    calls: mpsc::UnboundedReceiver<Call>,
}

/// A call as it came.
#[derive(Debug, Clone)]
pub struct Call {
    /// The path, with its query.
    pub path: String,
    /// The body.
    pub body: Bytes,
    method: Method,
    headers: HeaderMap,
}

struct Shared {
    script: Mutex<Script>,
    calls: mpsc::UnboundedSender<Call>,
    client: Client,
    honest: SocketAddr,
}

impl HostileRelay {
    /// Starts it with a script.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(script: impl FnMut(&Call) -> Option<Response> + Send + 'static) -> Self {
        let honest = TestRelay::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, calls) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            calls: sender,
            client: Client::builder().no_proxy().build().expect("a client"),
            honest: honest.address(),
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { honest, address, shared, calls }
    }

    /// Its address as a poller is told it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next call to a path with this end.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next_call(&mut self, path: &str) -> Call {
        loop {
            let call = soon("a call to the relay", self.calls.recv()).await.expect("a call");
            if call.path.ends_with(path) {
                return call;
            }
        }
    }

    /// Whether no call came since the last that was looked at.
    pub fn is_not_called(&self) -> bool {
        self.calls.is_empty()
    }

    /// Leaves everything to the honest relay from now on, and sees a message answered.
    ///
    /// # Panics
    /// When it is not.
    pub async fn serves_once_it_is_honest(&self) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(|_| None);
        let mut visitor = self.honest.visitor();
        let message = visitor.send("and now?").await;
        let reply = visitor.next_reply_entry().await;
        assert_eq!((reply.role, reply.message_id), (Role::Agent, Some(message)));
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let call = Call::read(request).await;
    let _ = shared.calls.send(call.clone());
    let scripted = shared.script.lock().unwrap_or_else(PoisonError::into_inner)(&call);
    match scripted {
        Some(answer) => answer,
        None => shared.pass_on(call).await,
    }
}

impl Call {
    async fn read(request: Request) -> Self {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let body = to_bytes(body, MAX_CALL_BYTES).await.unwrap_or_default();
        Self { path, body, method: head.method, headers: head.headers }
    }
}

impl Shared {
    async fn pass_on(&self, mut call: Call) -> Response {
        let url = format!("http://{}{}", self.honest, call.path);
        call.headers.remove(header::HOST);
        call.headers.remove(header::ACCEPT_ENCODING);
        let call = self.client.request(call.method, url).headers(call.headers).body(call.body);
        let answer = call.send().await.expect("an answer of the honest relay");
        let status = answer.status();
        let body = answer.bytes().await.expect("the whole answer");
        Response::builder().status(status).body(Body::from(body)).expect("an answer to pass on")
    }
}
