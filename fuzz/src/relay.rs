//! A relay without its connections, and requests written down as text.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::request::Builder as RequestBuilder;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use postern_relay::config::{Limits, default_file_types};
use postern_relay::connections::ConnectionLimits;
use postern_relay::limits::{AddressLimits, SiteLimits};
use postern_relay::secret::SecretHash;
use postern_relay::sites::Site;
use postern_relay::{Config, Server, fuzzing};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::time;
use tower::ServiceExt;

/// What a poller's key and an operator's are, wherever a request shows one.
pub const API_KEY: &str = "key-of-the-poller";
pub const ADMIN_KEY: &str = "key-of-the-operator";

/// How many requests a relay is given: some end its session, or answer its message.
const MAX_REQUESTS: u32 = 2_000;

/// How long an answer may be held, or streamed, before its caller goes away.
const PATIENCE: Duration = Duration::from_millis(20);

const OPENING: &str = r#"{"session_id":"s","message":"m"}"#;
const LEASING: &str = r#"{"lease_seconds":3600}"#;

/// A relay with a session `s` in which message 1 is leased.
pub struct Relay {
    runtime: Runtime,
    router: Router,
    token: String,
    lease: String,
    asked: u32,
    _server: Server,
    _folder: TempDir,
}

/// What a caller saw of an answer before it went away.
pub struct Answer {
    pub head: http::response::Parts,
    pub body: Vec<u8>,
}

impl Relay {
    /// Starts it.
    pub fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let server = runtime.block_on(async { Server::bind(config(&folder)) }).expect("a relay");
        let router = fuzzing::router(&server);
        let (token, lease) = (String::new(), String::new());
        let mut relay =
            Self { runtime, router, token, lease, asked: 0, _server: server, _folder: folder };
        relay.token = relay.data(Request::post("/api/v1/messages"), OPENING, "/session_token");
        let lease = Request::post("/api/v1/inbox/lease");
        let lease = lease.header(header::AUTHORIZATION, format!("Bearer {API_KEY}"));
        relay.lease = relay.data(lease, LEASING, "/messages/0/lease_id");
        relay
    }

    /// Whether it is time for another one.
    pub fn is_worn(&self) -> bool {
        self.asked == MAX_REQUESTS
    }

    /// A request as a text holds it: a line with method and path, a line for each header, a blank one,
    /// and the body. `TOKEN` and `LEASE` stand for those of the session. `None` when no server would
    /// be given such a request.
    pub fn request(&self, text: &str) -> Option<Request<Body>> {
        let text = text.replace("TOKEN", &self.token).replace("LEASE", &self.lease);
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let (method, path) = lines.next()?.split_once(' ')?;
        let mut request = Request::builder().method(method).uri(path);
        for line in lines {
            let (name, value) = line.split_once(':')?;
            request = request.header(name, value.trim());
        }
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let request =
            request.extension(ConnectInfo(peer)).body(Body::from(body.to_owned())).ok()?;
        (request.method() != Method::CONNECT && path.starts_with('/')).then_some(request)
    }

    /// What comes of a request.
    pub fn answer(&mut self, request: Request<Body>) -> Option<Answer> {
        self.asked += 1;
        let asked = self.router.clone().oneshot(request);
        self.runtime.block_on(async {
            let answer = time::timeout(PATIENCE, asked).await.ok()?;
            Some(seen(answer.expect("no failure but an answer")).await)
        })
    }

    /// A text in the data of an answer.
    fn data(&self, request: RequestBuilder, body: &'static str, place: &str) -> String {
        let asked = self.router.clone().oneshot(request.body(Body::from(body)).expect("a request"));
        let answer = self.runtime.block_on(async { seen(asked.await.expect("an answer")).await });
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let text = body["data"].pointer(place).and_then(Value::as_str);
        text.expect("a text").to_owned()
    }
}

async fn seen(answer: Response<Body>) -> Answer {
    let (head, mut body) = answer.into_parts();
    let mut seen = Vec::new();
    while let Ok(Some(Ok(frame))) = time::timeout(PATIENCE, body.frame()).await {
        seen.extend(frame.into_data().unwrap_or_default());
    }
    Answer { head, body: seen }
}

fn config(folder: &TempDir) -> Config {
    let key = Some(SecretHash::of(API_KEY));
    Config {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        db: folder.path().join("relay.db"),
        files: folder.path().join("files"),
        file_types: default_file_types(),
        admin_key: Some(SecretHash::of(ADMIN_KEY)),
        sites: vec![Site { limits: SiteLimits::OFF, ..Site::only(key) }],
        away_after: Duration::from_secs(1),
        limits: Limits::default(),
        address_limits: AddressLimits::OFF,
        connections: ConnectionLimits::default(),
        tls: None,
    }
}
