//! The programs: a plugin that polls, and a page's widget that polls too. Their requests are written by
//! hand, so that nothing is sent but what they send.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postern_relay::compat::{Compat, Contract};
use postern_relay::limits::SiteLimits;
use postern_shared::Timestamp;
use postern_tests::{ADMIN_KEY, API_KEY, TestRelay, soon};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long a message that was fetched is held back from others; longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(20 * 60);

/// A lease that a test waits out.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// A relay with `--compat broca`, `--compat-visitors` and leases of this length.
pub(crate) fn relay(lease: Duration) -> TestRelay {
    let compat = Compat { contract: Contract::Broca, lease, visitors: true };
    TestRelay::compatible(compat, SiteLimits::OFF)
}

/// A connection that is kept alive, as aiohttp and browsers keep theirs.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    base: String,
    host: SocketAddr,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Answer {
    /// What a success brought; checks what every success has.
    #[track_caller]
    pub(crate) fn data(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert!(self.head.contains("content-type: application/json\r\n"), "{}", self.head);
        assert_eq!(self.body["success"], true, "{self:?}");
        self.body["data"].clone()
    }

    /// The status and kind of a refusal; checks what every one has.
    #[track_caller]
    pub(crate) fn refusal(self) -> (u16, String) {
        assert_eq!(self.body["success"], false, "{self:?}");
        assert_eq!(self.body["code"], self.status, "{self:?}");
        assert!(self.body["error"].as_str().is_some_and(|error| !error.is_empty()), "{self:?}");
        assert!(self.body["timestamp"].is_string(), "{self:?}");
        (self.status, self.body["type"].as_str().unwrap_or_default().to_owned())
    }
}

impl Connection {
    /// To a relay whose address a program was told with this prefix.
    pub(crate) async fn open(relay: &TestRelay, prefix: &str) -> Self {
        let stream = TcpStream::connect(relay.address()).await.unwrap();
        let base = format!("{prefix}/api/v1/");
        Self { stream: BufReader::new(stream), base, host: relay.address() }
    }

    /// Sends a request line and headers, with a body or none.
    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) {
        let host = self.host;
        let length = match body {
            "" => String::new(),
            body => format!("Content-Length: {}\r\n", body.len()),
        };
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}{length}\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads one answer and leaves the connection open.
    pub(crate) async fn answer(&mut self) -> Answer {
        soon("an answer", self.read_answer()).await
    }

    async fn read_answer(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.stream.read_line(&mut head).await.unwrap();
            assert_ne!(read, 0, "the connection ended: {head}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
        self.stream.read_exact(&mut body).await.unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status, head, body }
    }

    /// Reads so many bytes of the answer and drops the connection.
    pub(crate) async fn read_and_drop(mut self, bytes: usize) {
        let mut read = vec![0; bytes];
        soon("part of an answer", self.stream.read_exact(&mut read)).await.unwrap();
    }
}

/// The plugin: fetches in batches, and posts what its agent says by the session alone.
pub(crate) struct Plugin(pub(crate) Connection);

impl Plugin {
    pub(crate) async fn start(relay: &TestRelay) -> Self {
        Self(Connection::open(relay, "").await)
    }

    fn headers(key: &str) -> String {
        format!(
            "Authorization: Bearer {key}\r\nContent-Type: application/json\r\n\
             User-Agent: Broca2-WebChat-Plugin/1.0\r\nAccept: */*\r\n\
             Accept-Encoding: gzip, deflate\r\n"
        )
    }

    /// Asks for messages; the answer is still to be read.
    pub(crate) async fn ask(&mut self, query: &str) {
        let path = format!("{}?action=inbox{query}", self.0.base);
        self.0.send("GET", &path, &Self::headers(API_KEY), "").await;
    }

    /// Fetches, and gives all that was answered.
    pub(crate) async fn inbox(&mut self, query: &str) -> Value {
        self.ask(query).await;
        self.0.answer().await.data()
    }

    /// Fetches as the plugin polls.
    pub(crate) async fn fetch(&mut self) -> Vec<Value> {
        rows(&self.inbox("&limit=50&offset=0").await["messages"])
    }

    /// Fetches until something comes.
    pub(crate) async fn fetch_soon(&mut self) -> Vec<Value> {
        soon("a message", async {
            loop {
                let found = self.fetch().await;
                if !found.is_empty() {
                    return found;
                }
            }
        })
        .await
    }

    /// Posts a reply of these fields.
    pub(crate) async fn post(&mut self, body: &Value) -> Answer {
        let path = format!("{}?action=outbox", self.0.base);
        self.0.send("POST", &path, &Self::headers(API_KEY), &body.to_string()).await;
        self.0.answer().await
    }

    /// Replies as the plugin does.
    pub(crate) async fn reply(&mut self, session: &str, text: &str) -> Value {
        self.post(&json!({ "session_id": session, "response": text })).await.data()
    }

    /// Calls with the operator's key.
    pub(crate) async fn administer(&mut self, method: &str, query: &str) -> Answer {
        let path = format!("{}?{query}", self.0.base);
        self.0.send(method, &path, &Self::headers(ADMIN_KEY), "").await;
        self.0.answer().await
    }
}

/// The widget: knows its session's id and its own clock, and shows whatever it is given.
pub(crate) struct Widget {
    connection: Connection,
    pub(crate) session: String,
    /// By how many seconds its clock is ahead.
    ahead: i64,
    last_check: Option<String>,
    /// Every reply that it showed.
    pub(crate) shown: Vec<String>,
}

impl Widget {
    pub(crate) async fn open(relay: &TestRelay) -> Self {
        Self::ahead(relay, 0).await
    }

    pub(crate) async fn ahead(relay: &TestRelay, seconds: i64) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let session = format!("session_mdwj6vj5_okiicz{number:05}");
        let connection = Connection::open(relay, "").await;
        Self { connection, session, ahead: seconds, last_check: None, shown: Vec::new() }
    }

    /// What its clock shows, some seconds from now.
    pub(crate) fn clock(&self, seconds: i64) -> String {
        let ms = Timestamp::now().as_millisecond() + (self.ahead + seconds) * 1_000;
        let shown = Timestamp::from_millisecond(ms).expect("a moment");
        shown.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    pub(crate) async fn call(&mut self, method: &str, query: &str, body: &str) -> Answer {
        let path = format!("{}index.php?{query}", self.connection.base);
        let headers = match body {
            "" => "Accept: */*\r\nAccept-Encoding: gzip, deflate\r\n",
            _ => "Content-Type: application/json\r\nAccept: */*\r\n",
        };
        self.connection.send(method, &path, headers, body).await;
        self.connection.answer().await
    }

    /// Says something.
    pub(crate) async fn say(&mut self, text: &str) -> Value {
        let body =
            json!({ "session_id": self.session, "message": text, "timestamp": self.clock(0) });
        self.call("POST", "action=messages", &body.to_string()).await.data()
    }

    /// The replies since what is said here, as they stand in the answer.
    pub(crate) async fn since(&mut self, since: &str) -> Vec<Value> {
        let query = format!("action=responses&session_id={}&since={since}", self.session);
        rows(&self.call("GET", &query, "").await.data()["responses"])
    }

    /// Asks once, as it does every two seconds, and shows what comes.
    pub(crate) async fn poll(&mut self) {
        let since = self.last_check.clone().unwrap_or_else(|| self.clock(-60));
        let replies = self.since(&since).await;
        if !replies.is_empty() {
            self.shown.extend(texts(&replies, "response"));
            self.last_check = Some(self.clock(0));
        }
    }
}

pub(crate) fn rows(list: &Value) -> Vec<Value> {
    list.as_array().expect("a list").clone()
}

pub(crate) fn texts(rows: &[Value], field: &str) -> Vec<String> {
    rows.iter().map(|row| row[field].as_str().expect("a text").to_owned()).collect()
}
