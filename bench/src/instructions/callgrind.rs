//! The relay under callgrind, called by one caller who waits for each answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time;

use super::Counts;
use crate::http::Connection;
use crate::processes::{self, API_KEY, Server};
use crate::stored::MESSAGE;

/// How often each call is made: enough that what the relay does now and then does not show.
const CALLS: usize = 300;

/// How long callgrind may take to write its counts down.
const DUMP: Duration = Duration::from_secs(60);

/// With one thread for all tasks, none looks for another's work.
const ONE_WORKER: &str = "TOKIO_WORKER_THREADS=1";

/// The C library copies and compares by the widest registers there are; not every machine has these.
const PLAIN_PROCESSOR: &str = "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2";

const REPLY: &str = "It left our store on Wednesday and is with the carrier.";

/// Counts the instructions of each of the hot calls, and leaves a profile of each.
pub(super) async fn count(relay: &Path, profiles: &Path) -> Result<Counts> {
    let mut callgrind = Callgrind::prepare(profiles)?;
    let server = callgrind.start(relay)?;
    let mut caller = Caller { connection: Connection::open(server.address).await?, keys: 0 };
    let conversations = open_conversations(&mut caller).await?;
    callgrind.dump().await?;

    for conversation in &conversations {
        caller.send(conversation).await?;
    }
    callgrind.count("POST /api/v1/messages", "messages").await?;

    let mut leases = Vec::new();
    for _ in &conversations {
        leases.push(caller.lease().await?);
    }
    callgrind.count("POST /api/v1/inbox/lease", "lease").await?;

    for lease in &leases {
        caller.write(lease).await?;
    }
    callgrind.count("POST /api/v1/inbox/{id}/chunks", "chunks").await?;

    for lease in &leases {
        caller.reply(lease).await?;
    }
    callgrind.count("POST /api/v1/outbox", "outbox").await?;
    Ok(callgrind.counts)
}

/// Each with a first message that was answered, by which everything has been done once.
async fn open_conversations(caller: &mut Caller) -> Result<Vec<Conversation>> {
    let mut conversations = Vec::new();
    for _ in 0..CALLS {
        conversations.push(caller.open().await?);
    }
    for _ in 0..CALLS {
        let lease = caller.lease().await?;
        caller.write(&lease).await?;
        caller.reply(&lease).await?;
    }
    Ok(conversations)
}

/// Callgrind, as it counts what a relay does from one dump to the next.
struct Callgrind {
    profiles: PathBuf,
    /// Of the database, the dumps, and the pipes by which callgrind is told to dump.
    folder: TempDir,
    dumps: u32,
    counts: Counts,
}

impl Callgrind {
    fn prepare(profiles: &Path) -> Result<Self> {
        fs::create_dir_all(profiles)?;
        let folder = tempfile::tempdir()?;
        Ok(Self { profiles: profiles.to_owned(), folder, dumps: 0, counts: Counts::new() })
    }

    /// Starts a relay in an environment that differs little from machine to machine.
    fn start(&self, relay: &Path) -> Result<Server> {
        let out = format!("--callgrind-out-file={}", self.dumps_at());
        let pipes = self.pipes();
        let relay = relay.to_str().context("a path in UTF-8")?;
        // A profile can tell a recursive function's share only when its levels are counted apart.
        let mut args = vec![ONE_WORKER, PLAIN_PROCESSOR, "valgrind", "--quiet", "--tool=callgrind"];
        args.extend(["--fair-sched=yes", "--separate-recs=20", &out, &pipes, relay]);
        let db = self.folder.path().join("relay.db");
        args.extend(processes::relay_args(&db)?);
        // What is slow here is callgrind.
        args.extend(["--idle-deadline", "600"]);
        Server::start(Path::new("env"), &args)
    }

    /// Notes what a call has taken since the last dump, over all the times that it was made.
    async fn count(&mut self, call: &str, name: &str) -> Result<()> {
        let dump = self.dump().await?;
        let profile = fs::read_to_string(&dump)?;
        let total = profile.lines().find_map(|line| line.strip_prefix("summary: "));
        let total: u64 = total.context("a profile without a summary")?.trim().parse()?;
        self.counts.insert(call.into(), total / CALLS as u64);
        fs::copy(dump, self.profiles.join(format!("callgrind.out.{name}")))?;
        Ok(())
    }

    /// Has the counts written down, and begun anew.
    async fn dump(&mut self) -> Result<String> {
        let mut vgdb = Command::new("vgdb");
        let told = vgdb.args([&self.pipes(), "dump"]).kill_on_drop(true).output();
        let told =
            time::timeout(DUMP, told).await.context("callgrind did not write its counts")??;
        ensure!(told.status.success(), "vgdb: {}", String::from_utf8_lossy(&told.stderr));
        self.dumps += 1;
        Ok(format!("{}.{}", self.dumps_at(), self.dumps))
    }

    fn dumps_at(&self) -> String {
        self.folder.path().join("dump").display().to_string()
    }

    fn pipes(&self) -> String {
        format!("--vgdb-prefix={}", self.folder.path().join("vgdb").display())
    }
}

struct Conversation {
    id: Value,
    token: String,
}

struct Lease {
    id: Value,
    message: Value,
    conversation: Value,
}

/// A visitor and a poller on one connection.
struct Caller {
    connection: Connection,
    keys: u64,
}

impl Caller {
    async fn open(&mut self) -> Result<Conversation> {
        let opened = self.post("messages", None, &json!({ "message": MESSAGE })).await?;
        let token = opened["session_token"].as_str().context("a session without a token")?;
        Ok(Conversation { id: opened["session_id"].clone(), token: token.into() })
    }

    async fn send(&mut self, to: &Conversation) -> Result<()> {
        let body = json!({ "session_id": to.id, "message": MESSAGE });
        self.post("messages", Some(&to.token), &body).await?;
        Ok(())
    }

    async fn lease(&mut self) -> Result<Lease> {
        let leased = self
            .post("inbox/lease", Some(API_KEY), &json!({ "limit": 1, "lease_seconds": 3_600 }))
            .await?;
        let message = &leased["messages"][0];
        let [id, message, conversation] =
            ["lease_id", "id", "session_id"].map(|field| message[field].clone());
        Ok(Lease { id, message, conversation })
    }

    async fn write(&mut self, lease: &Lease) -> Result<()> {
        let body = json!({ "lease_id": lease.id, "offset": 0, "text": REPLY });
        self.post(&format!("inbox/{}/chunks", lease.message), Some(API_KEY), &body).await?;
        Ok(())
    }

    async fn reply(&mut self, lease: &Lease) -> Result<()> {
        let body = json!({ "session_id": lease.conversation, "response": REPLY,
                           "message_id": lease.message, "lease_id": lease.id });
        self.post("outbox", Some(API_KEY), &body).await?;
        Ok(())
    }

    /// Makes one call, with an idempotency key of its own; returns the answer's data.
    async fn post(&mut self, path: &str, token: Option<&str>, body: &Value) -> Result<Value> {
        self.keys += 1;
        let (key, body) = (self.keys, body.to_string());
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n\
             {}Idempotency-Key: instructions-{key:08}\r\nContent-Length: {}\r\n\r\n{body}",
            token.unwrap_or_default(),
            body.len(),
        );
        let answer = self.connection.call(request.as_bytes()).await?;
        let status = answer.status;
        let mut told: Value = serde_json::from_slice(answer.body)?;
        ensure!(status == 200, "{path}: {told}");
        Ok(told["data"].take())
    }
}
