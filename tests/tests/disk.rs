//! The disk fails: full, read-only, locked by another program, or cut off in the middle of a write.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use postern_shared::ErrorType;
use postern_shared::visitor::{MessageAccepted, Transcript};
use postern_tests::faults::{
    SmallDisk, fill_disk, free_disk, listening, poller_args, relay_args, start_with_fillable_disk,
};
use postern_tests::{
    ADMIN_KEY, API_KEY, Answer, Caller, Process, TestAgent, TestPoller, TestRelay, binary,
    eventually, soon,
};
use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use rustix::process::{Signal, geteuid};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// How soon a relay must accept again once the disk is well.
const RECOVERY: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_full_disk_refuses_messages_until_space_returns() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let mut relay = start_with_fillable_disk("postern-relay", &relay_args(&db));
    let address = listening(&mut relay).await;
    let pid = relay.pid();
    // The log's next page fits by half: what is written of it is not to count.
    let fill = || fill_disk(pid, size(&log_of(&db)) + 2_000);
    lives_through_a_full_disk(address, fill, || free_disk(pid)).await;
    nothing_is_half_stored(relay, &db).await;
}

#[tokio::test]
async fn a_disk_on_which_not_one_byte_can_be_written_refuses_messages_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let mut relay = start_with_fillable_disk("postern-relay", &relay_args(&db));
    let address = listening(&mut relay).await;
    let pid = relay.pid();
    lives_through_a_full_disk(address, || fill_disk(pid, 0), || free_disk(pid)).await;
    nothing_is_half_stored(relay, &db).await;
}

#[tokio::test]
async fn a_small_disk_that_is_full_refuses_messages_until_space_returns() {
    let Some(disk) = SmallDisk::mount(4 << 20) else {
        eprintln!("not run: this user may not mount a small disk");
        return;
    };
    let db = disk.file("relay.db");
    let mut relay = start_with_fillable_disk("postern-relay", &relay_args(&db));
    let address = listening(&mut relay).await;
    lives_through_a_full_disk(address, || disk.fill(), || disk.free()).await;
    nothing_is_half_stored(relay, &db).await;
}

/// What visitors, a poller and the operator see of a relay whose disk is full for a while.
async fn lives_through_a_full_disk(address: SocketAddr, fill: impl Fn(), free: impl Fn()) {
    let stranger = Caller::new(address);
    let before = accept(&stranger, "before-the-disk-is-full").await;
    let visitor = stranger.with_secret(before.session_token.as_ref().unwrap());
    let transcript = format!("/sessions/{}/messages", before.session_id);
    let leased = stranger.with_secret(API_KEY).lease(&json!({ "lease_seconds": 60 })).await;
    let reply = json!({ "session_id": before.session_id, "response": "hello",
                        "message_id": before.message_id, "lease_id": leased[0].lease_id });
    let poller = stranger.with_secret(API_KEY).with_key("one-reply");

    fill();
    let keys = keys(20);
    for refused in send_all(&stranger, &keys).await.unwrap() {
        refused_for_now(&refused);
    }
    refused_for_now(&poller.post("/outbox", &reply).await);
    eventually("the health check's refusal", async || {
        stranger.get("//health").await.status != StatusCode::OK
    })
    .await;
    refused_for_now(&stranger.get("//health").await);
    assert_eq!(visitor.get(&transcript).await.data::<Transcript>().messages.len(), 1);
    let open: Value = poller.get("/inbox").await.data();
    assert_eq!(open["pagination"]["total"], 1, "a refused message was stored");
    // Nothing new is to be leased, so nothing need be written.
    assert!(poller.lease(&json!({})).await.is_empty());

    free();
    let begun = Instant::now();
    let first = accept_in_the_end(&stranger, &keys[0]).await;
    assert!(begun.elapsed() < RECOVERY, "{:?}", begun.elapsed());
    eventually("the health check's consent", async || {
        stranger.get("//health").await.status == StatusCode::OK
    })
    .await;
    assert!(begun.elapsed() < 2 * RECOVERY, "{:?}", begun.elapsed());
    poller.post("/outbox", &reply).await.data::<Value>();
    let mut accepted = vec![first.message_id];
    for key in &keys[1..] {
        accepted.push(accept(&stranger, key).await.message_id);
    }
    let open: Value = poller.get("/inbox?limit=100").await.data();
    let open: Vec<_> = open["messages"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert_eq!(json!(open), json!(accepted));
    assert_eq!(visitor.get(&transcript).await.data::<Transcript>().messages.len(), 2);
    let sessions: Value = stranger.with_secret(ADMIN_KEY).get("/sessions").await.data();
    assert_eq!(sessions["pagination"]["total"], 1 + keys.len());
}

/// Whether the file holds exactly what its relay said, now and after a crash.
async fn nothing_is_half_stored(relay: Process, db: &Path) {
    relay.signal(Signal::KILL);
    relay.end().await;
    let (relay, address) = Process::relay(db, ([127, 0, 0, 1], 0).into()).await;
    assert_eq!(Caller::new(address).get("//health").await.status, StatusCode::OK);
    relay.signal(Signal::TERM);
    let (status, log) = relay.end().await;
    assert_eq!(status.code(), Some(0), "{log:?}");
    let file = Connection::open(db).unwrap();
    let ask = |sql: &str| file.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(ask("PRAGMA integrity_check"), "ok");
    let lone = "SELECT count(*) || '' FROM session
                WHERE message_count <> (SELECT count(*) FROM message
                                        WHERE session = session.id AND role = 0)
                   OR NOT EXISTS (SELECT 1 FROM session_token WHERE session = session.id)";
    assert_eq!(ask(lone), "0");
    assert_eq!(ask("SELECT count(*) || '' FROM pragma_foreign_key_check"), "0");
}

#[tokio::test]
async fn a_reply_that_finds_the_relays_disk_full_arrives_once_space_returns() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let mut relay = start_with_fillable_disk("postern-relay", &relay_args(&db));
    let address = listening(&mut relay).await;
    let mut agent = TestAgent::start().await;
    let url = format!("http://{address}");
    let queue = folder.path().join("poller.db");
    let flags = ["--agent", "http", "--http-url", &agent.url()];
    let args = poller_args(&url, &queue, &flags);
    let mut poller = start_with_fillable_disk("postern-poller", &args);

    let visitor = Caller::new(address);
    let accepted = accept(&visitor, "a-message-before-the-fault").await;
    let asked = agent.next().await;
    fill_disk(relay.pid(), 0);
    asked.reply("kept for you");
    poller.line_with("the relay was not told").await;
    free_disk(relay.pid());

    let visitor = visitor.with_secret(accepted.session_token.as_ref().unwrap());
    let path = format!("/responses/{}?wait=30", accepted.session_id);
    let responses: Value = visitor.get(&path).await.data();
    assert_eq!(responses["responses"][0]["text"], "kept for you");
    assert!(!agent.is_asked(), "the agent was asked twice");
}

#[tokio::test]
async fn an_event_stream_stays_open_while_the_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let mut relay = start_with_fillable_disk("postern-relay", &relay_args(&db));
    let address = listening(&mut relay).await;
    let accepted = accept(&Caller::new(address), "before-the-disk-is-full").await;
    let visitor = Caller::new(address).with_secret(accepted.session_token.as_ref().unwrap());
    let path = format!("/sessions/{}/events", accepted.session_id);
    let mut stream = visitor.request(Method::GET, &path).send().await.unwrap();
    let message = |text: &str| json!({ "session_id": accepted.session_id, "message": text });
    fill_disk(relay.pid(), 0);
    refused_for_now(&visitor.post("/messages", &message("refused")).await);
    free_disk(relay.pid());
    visitor.post("/messages", &message("after")).await.data::<Value>();
    let mut seen = String::new();
    while !seen.contains("after") {
        let piece = soon("the next event", stream.chunk()).await.unwrap();
        seen += &String::from_utf8_lossy(&piece.expect("a stream that goes on"));
    }
    assert!(seen.contains("before-the-disk-is-full") && !seen.contains("refused"), "{seen}");
}

#[tokio::test]
async fn a_relay_that_starts_on_a_full_disk_names_its_database() {
    let Some(disk) = SmallDisk::mount(1 << 20) else {
        eprintln!("not run: this user may not mount a small disk");
        return;
    };
    disk.fill();
    let db = disk.file("relay.db");
    assert_refuses_to_start(&db, &[]).await;
    disk.free();
    let (_relay, address) = Process::relay(&db, ([127, 0, 0, 1], 0).into()).await;
    accept(&Caller::new(address), "a-message-after-the-start").await;
}

#[tokio::test]
async fn a_database_that_may_not_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let (relay, address) = Process::relay(&db, ([127, 0, 0, 1], 0).into()).await;
    accept(&Caller::new(address), "a-message-before-the-fault").await;
    relay.signal(Signal::TERM);
    relay.end().await;
    let before = std::fs::read(&db).unwrap();

    set_read_only(&db, true);
    assert_refuses_to_start(&db, &AS_ANYBODY).await;
    assert_eq!(std::fs::read(&db).unwrap(), before);
    set_read_only(&db, false);
    let beside = folder.path().join("relay.db.lock");
    std::fs::remove_file(beside).unwrap();
    set_read_only(folder.path(), true);
    assert_refuses_to_start(&db, &AS_ANYBODY).await;
    set_read_only(folder.path(), false);

    let (_relay, address) = Process::relay(&db, ([127, 0, 0, 1], 0).into()).await;
    assert_eq!(open_messages(address).await.len(), 1);
}

#[tokio::test]
async fn a_log_that_may_not_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let (relay, address) = Process::relay(&db, ([127, 0, 0, 1], 0).into()).await;
    accept(&Caller::new(address), "a-message-before-the-fault").await;
    relay.signal(Signal::KILL);
    relay.end().await;
    set_read_only(&log_of(&db), true);
    assert_refuses_to_start(&db, &AS_ANYBODY).await;
    set_read_only(&log_of(&db), false);
    let (_relay, address) = Process::relay(&db, ([127, 0, 0, 1], 0).into()).await;
    assert_eq!(open_messages(address).await.len(), 1);
}

/// Root may write any file, unless it lacks this right.
const AS_ANYBODY: [&str; 3] = ["setpriv", "--bounding-set", "-dac_override"];

async fn assert_refuses_to_start(db: &Path, within: &[&str]) {
    let within = if geteuid().is_root() { within } else { &[] };
    let relay = binary("postern-relay");
    let mut command: Vec<String> = within.iter().map(ToString::to_string).collect();
    command.push(relay.to_string_lossy().into_owned());
    command.extend(relay_args(db));
    let mut shell = vec!["-c", "exec \"$@\"", "sh"];
    shell.extend(command.iter().map(String::as_str));
    let keys = [("POSTERN_API_KEY", API_KEY), ("POSTERN_ADMIN_KEY", ADMIN_KEY)];
    let (status, log) = Process::start_with("/bin/sh", &shell, &keys).end().await;
    assert_eq!(status.code(), Some(1), "{log:?}");
    let named = format!("the database {}", db.display());
    assert!(log.iter().any(|line| line.contains(&named)), "{log:?}");
}

#[tokio::test]
async fn a_database_locked_by_another_process_refuses_messages_until_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let (_relay, address) = Process::relay(&db, ([127, 0, 0, 1], 0).into()).await;
    let stranger = Caller::new(address);
    let before = accept(&stranger, "before-the-file-is-locked").await;
    let visitor = stranger.with_secret(before.session_token.as_ref().unwrap());
    let poller = stranger.with_secret(API_KEY);

    let lock = lock(&db);
    // More than one commit takes: no one is to wait for one lock after the other.
    let keys = keys(400);
    let begun = Instant::now();
    let sent = send_all(&stranger, &keys);
    let transcript = format!("/sessions/{}/messages", before.session_id);
    assert_eq!(visitor.get(&transcript).await.data::<Transcript>().messages.len(), 1);
    let open: Value = poller.get("/inbox").await.data();
    assert_eq!(open["pagination"]["total"], 1);
    refused_for_now(&poller.post("/inbox/lease", &json!({})).await);
    for refused in soon("every answer", sent).await.unwrap() {
        refused_for_now(&refused);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    refused_for_now(&stranger.get("//health").await);

    lock.execute_batch("ROLLBACK").unwrap();
    let begun = Instant::now();
    accept_in_the_end(&stranger, &keys[0]).await;
    assert!(begun.elapsed() < RECOVERY, "{:?}", begun.elapsed());
    assert_eq!(poller.lease(&json!({})).await.len(), 2);
    assert_eq!(open_messages(address).await.len(), 2, "a refused message was stored");
}

#[tokio::test]
async fn callers_that_wait_when_the_lock_is_released_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let (_relay, address) = Process::relay(&db, ([127, 0, 0, 1], 0).into()).await;
    let stranger = Caller::new(address);
    accept(&stranger, "before-the-file-is-locked").await;
    let lock = lock(&db);
    let sent = send_all(&stranger, &keys(20));
    // The relay asks for the lock now and then; an answered query shows that it runs.
    assert_eq!(open_messages(address).await.len(), 1);
    lock.execute_batch("ROLLBACK").unwrap();
    for answer in soon("every answer", sent).await.unwrap() {
        answer.data::<MessageAccepted>();
    }
    assert_eq!(open_messages(address).await.len(), 21);
}

#[tokio::test]
async fn a_log_left_by_a_crash_under_load_holds_all_that_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let mut accepted = BTreeSet::new();
    for round in 0..3 {
        let (relay, address) = Process::relay(&db, ([127, 0, 0, 1], 0).into()).await;
        let crowd: Vec<_> = (0..8).map(|one| send_until_it_dies(address, round, one)).collect();
        let crowd = tokio::spawn(join_all(crowd));
        let mark = accepted.len() + 100;
        eventually("load", async || open_count(&db) >= mark).await;
        relay.signal(Signal::KILL);
        relay.end().await;
        assert!(size(&log_of(&db)) > 0, "there is no log to recover");
        accepted.extend(soon("the crowd's end", crowd).await.unwrap().into_iter().flatten());
    }
    let (_relay, address) = Process::relay(&db, ([127, 0, 0, 1], 0).into()).await;
    let open: BTreeSet<_> = open_messages(address).await.into_iter().collect();
    let lost: Vec<_> = accepted.difference(&open).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    // Beyond those: at most what was stored for the callers that did not hear of it.
    assert!(open.len() <= accepted.len() + 3 * 8, "{} of {}", open.len(), accepted.len());
}

/// Sends one message after the other; gives the ids that were accepted.
async fn send_until_it_dies(address: SocketAddr, round: usize, one: usize) -> Vec<i64> {
    let visitor = Caller::new(address);
    let mut accepted = Vec::new();
    for number in 0.. {
        let key = format!("under-load-{round}-{one}-{number}");
        let request = visitor.with_key(&key).request(Method::POST, "/messages");
        let Ok(response) = request.json(&json!({ "message": key })).send().await else { break };
        let Ok(answer) = response.json::<Value>().await else { break };
        accepted.push(answer["data"]["message_id"].as_i64().unwrap());
    }
    accepted
}

#[tokio::test]
async fn a_poller_with_a_full_disk_keeps_the_answer_and_asks_nobody_twice() {
    let mut stage = PollerStage::start().await;
    let mut first = stage.relay.visitor();
    let mut second = stage.relay.visitor();
    first.send("one").await;
    let asked = stage.agent.next().await;
    fill_disk(stage.poller.pid(), size(&log_of(&stage.queue)) + 2_000);
    asked.reply("kept in mind");
    stage.poller.line_with("trying until it works").await;
    second.send("two").await;
    // What cannot be written down is not asked.
    stage.poller.line_with("messages are given back").await;
    assert!(!stage.agent.is_asked());
    free_disk(stage.poller.pid());
    assert_eq!(first.next_reply().await, "kept in mind");
    assert_eq!(stage.agent.replies("also here").await.message, "two");
    assert_eq!(second.next_reply().await, "also here");
    assert!(!stage.agent.is_asked(), "the agent was asked twice");
    stage.poller.signal(Signal::TERM);
    let (status, log) = stage.poller.end().await;
    assert_eq!(status.code(), Some(0), "{log:?}");
}

#[tokio::test]
async fn a_poller_with_a_full_disk_leaves_its_messages_to_another_at_once() {
    let mut stage = PollerStage::start().await;
    fill_disk(stage.poller.pid(), 0);
    let mut visitor = stage.relay.visitor();
    visitor.send("one").await;
    stage.poller.line_with("messages are given back").await;
    let _other = TestPoller::start(&stage.relay, &["--agent", "echo"]);
    assert_eq!(visitor.next_reply().await, "one");
    // It leases nothing more, so no tries are wasted on it.
    for text in ["two", "three"] {
        visitor.send(text).await;
        assert_eq!(visitor.next_reply().await, text);
    }
    assert!(!stage.agent.is_asked());
}

#[tokio::test]
async fn a_poller_whose_queue_is_locked_waits_and_goes_on() {
    let mut stage = PollerStage::start().await;
    let mut visitor = stage.relay.visitor();
    visitor.send("one").await;
    let asked = stage.agent.next().await;
    let lock = lock(&stage.queue);
    asked.reply("after the lock");
    stage.poller.line_with("trying until it works").await;
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(visitor.next_reply().await, "after the lock");
    assert!(!stage.agent.is_asked(), "the agent was asked twice");
}

#[tokio::test]
async fn a_poller_with_a_full_disk_still_ends_when_told() {
    let mut stage = PollerStage::start().await;
    fill_disk(stage.poller.pid(), 0);
    stage.relay.visitor().send("one").await;
    stage.poller.line_with("trying until it works").await;
    let begun = Instant::now();
    stage.poller.signal(Signal::TERM);
    let (status, log) = stage.poller.end().await;
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!stage.agent.is_asked());
}

#[tokio::test]
async fn a_message_that_a_loss_of_power_takes_from_the_queue_is_handed_out_again() {
    let mut stage = PollerStage::start_with(&["--lease-seconds", "2"]).await;
    let mut visitor = stage.relay.visitor();
    visitor.send("one").await;
    let mut asked = stage.agent.next().await;
    stage.poller.signal(Signal::KILL);
    stage.poller.end().await;
    asked.is_abandoned().await;
    // Until there is an outcome, nothing in the file is sure to be on the disk.
    for file in [&stage.queue, &log_of(&stage.queue)] {
        std::fs::remove_file(file).unwrap();
    }
    stage.poller = PollerStage::poller(&stage.relay, &stage.agent, &stage.queue, &[]).await;
    assert_eq!(stage.agent.replies("after all").await.message, "one");
    assert_eq!(visitor.next_reply().await, "after all");
    assert!(!stage.agent.is_asked(), "the agent was asked once too often");
}

#[tokio::test]
async fn an_outcome_that_a_loss_of_power_takes_after_the_relay_has_it_is_not_asked_for_again() {
    let mut stage = PollerStage::start().await;
    let mut visitor = stage.relay.visitor();
    visitor.send("one").await;
    let asked = stage.agent.next().await;
    let files = [stage.queue.clone(), log_of(&stage.queue)];
    let on_disk = files.each_ref().map(|file| std::fs::read(file).unwrap());
    asked.reply("once");
    assert_eq!(visitor.next_reply().await, "once");
    stage.poller.signal(Signal::KILL);
    stage.poller.end().await;
    for (file, bytes) in files.iter().zip(on_disk) {
        std::fs::write(file, bytes).unwrap();
    }
    std::fs::remove_file(beside(&stage.queue, "-shm")).unwrap();
    stage.poller = PollerStage::poller(&stage.relay, &stage.agent, &stage.queue, &[]).await;
    visitor.send("two").await;
    assert_eq!(stage.agent.replies("and on").await.message, "two");
    assert_eq!(visitor.next_reply().await, "and on");
    assert!(!stage.agent.is_asked(), "the agent was asked twice");
}

#[tokio::test]
async fn a_poller_that_cannot_open_its_queue_names_it() {
    let stage = PollerStage::start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let queue = elsewhere.path().join("poller.db");
    std::fs::write(&queue, b"not a database, and long enough to be looked at as one").unwrap();
    let args = poller_args(&stage.relay.url(), &queue, &["--agent", "echo"]);
    let (status, log) = start_with_fillable_disk("postern-poller", &args).end().await;
    assert_eq!(status.code(), Some(1), "{log:?}");
    let named = format!("the queue {}", queue.display());
    assert!(log.iter().any(|line| line.contains(&named)), "{log:?}");
}

/// A poller in a process of its own, at work for a relay.
struct PollerStage {
    relay: TestRelay,
    agent: TestAgent,
    poller: Process,
    queue: PathBuf,
}

impl PollerStage {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(flags: &[&str]) -> Self {
        let relay = TestRelay::start().await;
        let agent = TestAgent::start().await;
        let queue = relay.file("poller.db");
        let poller = Self::poller(&relay, &agent, &queue, flags).await;
        Self { relay, agent, poller, queue }
    }

    async fn poller(relay: &TestRelay, agent: &TestAgent, queue: &Path, flags: &[&str]) -> Process {
        let url = agent.url();
        let flags = [&["--agent", "http", "--http-url", &url], flags].concat();
        let args = poller_args(&relay.url(), queue, &flags);
        let mut poller = start_with_fillable_disk("postern-poller", &args);
        poller.line_with("pulling messages").await;
        poller
    }
}

async fn send(stranger: &Caller, key: &str) -> Answer {
    stranger.with_key(key).post("/messages", &json!({ "message": key })).await
}

/// Sends them all at once.
fn send_all(stranger: &Caller, keys: &[String]) -> JoinHandle<Vec<Answer>> {
    let sent = keys.iter().cloned().map(|key| {
        let stranger = stranger.clone();
        async move { send(&stranger, &key).await }
    });
    tokio::spawn(join_all(sent.collect::<Vec<_>>()))
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("while-the-fault-lasts-{number}")).collect()
}

async fn accept(stranger: &Caller, key: &str) -> MessageAccepted {
    send(stranger, key).await.data()
}

/// Repeats a message until it is accepted.
async fn accept_in_the_end(stranger: &Caller, key: &str) -> MessageAccepted {
    let repeated = async {
        loop {
            let answer = send(stranger, key).await;
            if answer.status == StatusCode::OK {
                return answer.data();
            }
            refused_for_now(&answer);
        }
    };
    soon("an accepted message", repeated).await
}

#[track_caller]
fn refused_for_now(answer: &Answer) {
    let failure = answer.failure();
    assert_eq!((failure.code, failure.kind), (503, ErrorType::Unavailable));
    let seconds = failure.retry_after.expect("how long to wait");
    assert_eq!(answer.headers["retry-after"], seconds.to_string());
}

async fn open_messages(address: SocketAddr) -> Vec<i64> {
    let poller = Caller::new(address).with_secret(API_KEY);
    let mut open = Vec::new();
    loop {
        let page: Value =
            poller.get(&format!("/inbox?limit=100&offset={}", open.len())).await.data();
        let messages = page["messages"].as_array().unwrap();
        open.extend(messages.iter().map(|message| message["id"].as_i64().unwrap()));
        if page["pagination"]["has_more"] == false {
            return open;
        }
    }
}

fn open_count(db: &Path) -> usize {
    let file = Connection::open(db).unwrap();
    file.query_row("SELECT count(*) FROM inbox", [], |row| row.get(0)).unwrap()
}

/// Locks a database as another program would.
fn lock(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    connection
}

fn log_of(db: &Path) -> PathBuf {
    beside(db, "-wal")
}

fn beside(db: &Path, ending: &str) -> PathBuf {
    let mut path = db.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn size(file: &Path) -> u64 {
    file.metadata().map_or(0, |found| found.len())
}

fn set_read_only(path: &Path, read_only: bool) {
    let mut permissions = path.metadata().unwrap().permissions();
    let folder = path.is_dir();
    let mode = match (read_only, folder) {
        (true, true) => 0o500,
        (true, false) => 0o400,
        (false, true) => 0o700,
        (false, false) => 0o600,
    };
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, mode);
    std::fs::set_permissions(path, permissions).unwrap();
}
