//! What these tests share: answers as a relay would give them, and a poller's binary to give them to.

use std::path::{Path, PathBuf};

use axum::Json;
use axum::response::{IntoResponse, Response};
use postern_poller::relay::Relay;
use postern_tests::faults::poller_args;
use postern_tests::{API_KEY, Call, HostileRelay, Process};
use procfs::process::Process as ProcfsProcess;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const ECHO: &[&str] = &["--agent", "echo"];

/// A poller's binary with its folder.
pub(crate) struct Poller {
    pub(crate) process: Process,
    folder: TempDir,
}

impl Poller {
    pub(crate) fn start(relay: &HostileRelay, agent: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args = poller_args(&relay.url(), &folder.path().join("poller.db"), agent);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        Self { process: Process::start("postern-poller", &args), folder }
    }

    /// The folder of the files of messages.
    pub(crate) fn files(&self) -> PathBuf {
        self.folder.path().join("poller.db.files")
    }

    /// How large its queue is, in bytes, with what is not in the database's own file yet.
    pub(crate) fn queue_bytes(&self) -> u64 {
        ["poller.db", "poller.db-wal"].map(|name| size(&self.folder.path().join(name))).iter().sum()
    }

    /// The most memory it has had so far, in bytes.
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        let process = ProcfsProcess::new(self.process.pid().as_raw_nonzero().get()).unwrap();
        process.status().unwrap().vmhwm.unwrap() * 1024
    }
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// Calls as the poller does.
pub(crate) fn calls(url: &str) -> Relay {
    Relay::new(url, API_KEY).unwrap()
}

/// A leased message, to be changed.
pub(crate) fn leased(id: i64, session: &str, message: &str) -> Value {
    json!({
        "id": id, "session_id": session, "uid": "00ff00ff00ff00ff", "message": message,
        "timestamp": "2026-11-21T09:30:00Z", "metadata": {}, "lease_id": format!("lease-{id}"),
        "attempts": 1,
    })
}

/// The body of a success.
pub(crate) fn success(data: &Value) -> Value {
    json!({ "success": true, "message": "", "timestamp": "2026-11-21T09:30:00Z", "data": data })
}

pub(crate) fn ok(data: &Value) -> Response {
    Json(success(data)).into_response()
}

pub(crate) fn is_lease(call: &Call) -> bool {
    call.path.ends_with("/inbox/lease")
}

/// Answers the calls for messages with these, one after the other, and agrees to whatever is said of
/// what it hands out.
pub(crate) fn hands_out(answers: Vec<Response>) -> impl FnMut(&Call) -> Option<Response> + Send {
    let mut answers = answers.into_iter();
    move |call| if is_lease(call) { answers.next() } else { agrees(call) }
}

fn agrees(call: &Call) -> Option<Response> {
    let data = match call.path.rsplit('/').next()? {
        "extend" => json!({ "cancelled": false }),
        "chunks" => json!({ "received": 0, "cancelled": false }),
        "nack" => json!({ "dead_letter": true }),
        "outbox" => json!({ "response_id": 1 }),
        _ => return None,
    };
    Some(ok(&data))
}

/// What a call says, as JSON.
pub(crate) fn said(call: &Call) -> Value {
    serde_json::from_slice(&call.body).unwrap()
}
