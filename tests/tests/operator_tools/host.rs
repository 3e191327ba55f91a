//! What the tests stand on.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postern_shared::MessageId;
use postern_shared::poller::{Inbox, Leased, LeasedMessage, ReplyStored};
use postern_shared::visitor::MessageAccepted;
use postern_tests::{API_KEY, Caller, Process, TestRelay, binary};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A relay of its own, as a process, with its file; calls it as a poller would.
pub(crate) struct Host {
    pub(crate) folder: TempDir,
    pub(crate) db: PathBuf,
    pub(crate) relay: Option<Process>,
    pub(crate) address: SocketAddr,
    pub(crate) poller: Caller,
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::at(tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn at(folder: TempDir) -> Self {
        let db = folder.path().join("relay.db");
        let (relay, address) = Process::relay(&db, ANY_PORT).await;
        let poller = Caller::new(address).with_secret(API_KEY);
        Self { folder, db, relay: Some(relay), address, poller }
    }

    pub(crate) async fn stop(self) -> Self {
        self.end(Signal::TERM).await
    }

    pub(crate) async fn kill(self) -> Self {
        self.end(Signal::KILL).await
    }

    pub(crate) async fn end(mut self, signal: Signal) -> Self {
        let relay = self.relay.take().unwrap();
        relay.signal(signal);
        relay.end().await;
        self
    }

    pub(crate) async fn start_again(self) -> Self {
        Self::at(self.folder).await
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command on its database; gives what it printed.
    #[track_caller]
    pub(crate) fn succeeds(&self, args: &[&str]) -> String {
        succeeds(&[args, &["--db", text(&self.db)]].concat())
    }

    /// Runs a command that must fail; gives what it logged.
    #[track_caller]
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        fails(&[args, &["--db", text(&self.db)]].concat())
    }

    #[track_caller]
    pub(crate) fn is_well(&self) {
        let said = self.succeeds(&["check"]);
        assert!(said.contains("is well: "), "{said}");
    }

    /// A message in a session of its own.
    pub(crate) async fn accept(&self, text: &str) -> MessageAccepted {
        Caller::new(self.address).post("/messages", &json!({ "message": text })).await.data()
    }

    pub(crate) async fn lease(&self) -> Vec<LeasedMessage> {
        self.poller.lease(&json!({ "limit": 100 })).await
    }

    pub(crate) async fn give_up(&self, message: &LeasedMessage, error: &str) {
        give_up(&self.poller, message, error).await;
    }

    pub(crate) async fn answer(&self, message: &LeasedMessage) {
        self.poller.post("/outbox", &reply_to(message)).await.data::<ReplyStored>();
    }

    /// A message that was given up, in a session of its own.
    pub(crate) async fn dead_letter(&self, text: &str, error: &str) -> LeasedMessage {
        self.accept(text).await;
        let mut leased = self.lease().await;
        let message = leased.pop().unwrap();
        self.give_up(&message, error).await;
        message
    }

    pub(crate) async fn open_messages(&self) -> Vec<MessageId> {
        open_messages(self.address).await
    }
}

/// Three sessions: one answered, one with a dead letter, one with two messages that wait; and
/// enough text that the file has many pages.
pub(crate) async fn fill(host: &Host) {
    let words = "a long message ".repeat(600);
    host.accept(&words).await;
    host.answer(&host.lease().await[0]).await;
    host.dead_letter(&words, "no model").await;
    let waiting = host.accept(&words).await;
    let token = waiting.session_token.as_deref().unwrap();
    let visitor = Caller::new(host.address).with_secret(token);
    let body = json!({ "session_id": waiting.session_id, "message": words });
    visitor.post("/messages", &body).await.data::<Value>();
}

/// Sends messages, each in a session of its own, until told to stop; gives how many.
pub(crate) fn keep_sending(
    address: SocketAddr,
    stop: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let visitor = Caller::new(address);
        let mut sent = 0;
        while !stop.load(Ordering::SeqCst) {
            let body = json!({ "message": format!("meanwhile {sent}") });
            visitor.post("/messages", &body).await.data::<Value>();
            sent += 1;
        }
        sent
    })
}

pub(crate) async fn give_up_next(poller: &Caller) -> LeasedMessage {
    let mut leased = poller.post("/inbox/lease", &json!({ "limit": 1 })).await.data::<Leased>();
    let message = leased.messages.pop().unwrap();
    give_up(poller, &message, "no model").await;
    message
}

pub(crate) async fn give_up(poller: &Caller, message: &LeasedMessage, error: &str) {
    let nack = json!({ "lease_id": message.lease_id, "error": error, "dead_letter": true });
    poller.post(&format!("/inbox/{}/nack", message.id), &nack).await.data::<Value>();
}

pub(crate) async fn requeue(relay: &TestRelay, message: MessageId) {
    let path = format!("/deadletters/{message}/requeue");
    relay.operator_calls().post(&path, &json!({})).await.data::<Value>();
}

pub(crate) fn reply_to(message: &LeasedMessage) -> Value {
    json!({
        "session_id": message.session_id, "message_id": message.id,
        "lease_id": message.lease_id, "response": "hello",
    })
}

pub(crate) fn ids(leased: &[LeasedMessage]) -> Vec<MessageId> {
    leased.iter().map(|message| message.id).collect()
}

pub(crate) fn sorted(messages: &[MessageId]) -> Vec<MessageId> {
    let mut sorted = messages.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

pub(crate) async fn open_messages(address: SocketAddr) -> Vec<MessageId> {
    let poller = Caller::new(address).with_secret(API_KEY);
    let mut open = Vec::new();
    loop {
        let page: Inbox =
            poller.get(&format!("/inbox?limit=100&offset={}", open.len())).await.data();
        open.extend(page.messages.iter().map(|message| message.id));
        if !page.pagination.has_more {
            return open;
        }
    }
}

pub(crate) fn postern(args: &[&str]) -> Output {
    Command::new(binary("postern-relay")).args(args).env_clear().output().unwrap()
}

#[track_caller]
pub(crate) fn succeeds(args: &[&str]) -> String {
    let output = postern(args);
    let log = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{args:?}: {said}{log}");
    said.into_owned()
}

#[track_caller]
pub(crate) fn fails(args: &[&str]) -> String {
    let output = postern(args);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    String::from_utf8(output.stderr).unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Files in its folder that a command began and did not take away.
pub(crate) fn left_over(host: &Host) -> Vec<String> {
    let names = fs::read_dir(host.folder.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("partial")).collect()
}

pub(crate) fn cut_in_half(db: &Path) {
    let size = fs::metadata(db).unwrap().len();
    fs::OpenOptions::new().write(true).open(db).unwrap().set_len(size / 2).unwrap();
}

pub(crate) fn zero(db: &Path) {
    let size = fs::read(db).unwrap().len();
    fs::write(db, vec![0; size]).unwrap();
}

/// Overwrites the page in which the visitors' messages begin.
pub(crate) fn damage_a_page(db: &Path) {
    let connection = Connection::open(db).unwrap();
    let (root, size): (usize, usize) = connection
        .query_row(
            "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size
             WHERE name = 'message'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    drop(connection);
    let mut bytes = fs::read(db).unwrap();
    bytes[(root - 1) * size..root * size].fill(0xa5);
    fs::write(db, bytes).unwrap();
}
