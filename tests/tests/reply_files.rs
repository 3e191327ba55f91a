//! Files that an agent sends back: they come with its reply, once, whatever dies on the way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::routing::post;
use axum::{Json, Router};
use postern_relay::config::Limits;
use postern_shared::files::File;
use postern_shared::visitor::{Entry, MessageAccepted, Transcript};
use postern_tests::faults::poller_args;
use postern_tests::{
    API_KEY, Caller, Process, TestAgent, TestPoller, TestRelay, Visitor, eventually, short_leases,
    soon,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, mpsc};

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What a shell makes a picture of, and the picture.
const PRINT_PNG: &str = r"printf '\211PNG\r\n\032\n\0\0\0\015IHDR'";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";

fn named(entry: &Entry) -> Vec<(&str, &str)> {
    entry.files.iter().map(|file| (file.name.as_str(), file.media_type.as_str())).collect()
}

async fn bytes(visitor: &Visitor, file: &File) -> Vec<u8> {
    let path = format!("/sessions/{}/files/{}", visitor.session(), file.id);
    let answer = visitor.calls().get(&path).await;
    assert_eq!(answer.status, 200);
    answer.body
}

/// How many files and folders of messages are left beside a queue.
fn left_beside(queue: &Path) -> usize {
    fs::read_dir(queue.with_extension("db.files")).map_or(0, Iterator::count)
}

/// What comes of a message to a command that runs in the folder of its files.
async fn reply_of(relay: &TestRelay, command: &str) -> (Visitor, Entry) {
    let command = format!("cd \"$POSTERN_REPLY_FILES\" && {command}");
    let poller = TestPoller::start(relay, &["--agent", "exec", "--exec", &command]);
    let mut visitor = relay.visitor();
    visitor.send("show me").await;
    let entry = visitor.next_reply_entry().await;
    eventually("nothing is left", async || left_beside(&poller.queue()) == 0).await;
    (visitor, entry)
}

#[tokio::test]
async fn a_program_puts_files_into_a_folder() {
    let relay = TestRelay::start().await;
    let command = format!("printf 1,2 > table.csv; {PRINT_PNG} > 'a chart.png'; echo Here.");
    let (visitor, reply) = reply_of(&relay, &command).await;
    assert_eq!(reply.text, "Here.");
    assert_eq!(named(&reply), [("a chart.png", "image/png"), ("table.csv", "text/csv")]);
    assert_eq!(bytes(&visitor, &reply.files[0]).await, PNG);
    assert_eq!(bytes(&visitor, &reply.files[1]).await, b"1,2");
}

#[tokio::test]
async fn a_reply_may_be_nothing_but_files() {
    let relay = TestRelay::start().await;
    let (_, reply) = reply_of(&relay, &format!("{PRINT_PNG} > chart.png")).await;
    assert_eq!((reply.text.as_str(), reply.files.len()), ("", 1));
}

#[tokio::test]
async fn what_may_not_go_along_is_left_out_and_the_reply_comes() {
    let relay = TestRelay::start().await;
    let command = "
        printf text > kept.txt; ln -s kept.txt link.txt; mkdir folder.txt; mkfifo pipe.txt
        printf text > .hidden.txt; : > empty.txt; printf '<b>' > page.html; printf no > no.png
        head -c 30000000 /dev/zero > large.txt; echo Here.";
    let (_, reply) = reply_of(&relay, command).await;
    assert_eq!(reply.text, "Here.");
    assert_eq!(named(&reply), [("kept.txt", "text/plain")]);
}

#[tokio::test]
async fn what_is_left_out_is_named_in_the_log_and_its_content_is_not() {
    let relay = TestRelay::start().await;
    let folder = tempfile::tempdir().unwrap();
    let command =
        "cd $POSTERN_REPLY_FILES; echo a-secret > page.html; ln -s page.html link.txt; echo .";
    let agent = ["--agent", "exec", "--exec", command];
    let args = poller_args(&relay.url(), &folder.path().join("poller.db"), &agent);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let poller = Process::start("postern-poller", &args);
    let mut visitor = relay.visitor();
    visitor.send("show me").await;
    assert_eq!(visitor.next_reply_entry().await.files, []);
    poller.signal(Signal::TERM);
    let (_, log) = poller.end().await;
    for name in ["link.txt", "page.html"] {
        let is_named =
            |line: &String| line.contains(name) && line.contains("left out of its reply");
        assert!(log.iter().any(is_named), "{name}: {log:?}");
    }
    assert!(!log.iter().any(|line| line.contains("a-secret")), "{log:?}");
}

#[tokio::test]
async fn of_too_many_files_the_first_come() {
    let relay = TestRelay::with(Limits { max_files_per_message: 2, ..Limits::default() });
    let command = "for n in 1 2 3 4 5 6; do printf $n > $n.txt; done; echo Here.";
    let (_, reply) = reply_of(&relay, command).await;
    assert_eq!(named(&reply), [("1.txt", "text/plain"), ("2.txt", "text/plain")]);
}

#[tokio::test]
async fn a_run_that_failed_leaves_no_files_to_the_next() {
    let relay = TestRelay::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("failed");
    let command = format!(
        "if [ -e {0} ]; then printf new > new.txt; else touch {0}; printf old > old.txt; exit 1; fi",
        mark.display()
    );
    let (_, reply) = reply_of(&relay, &command).await;
    assert_eq!(named(&reply), [("new.txt", "text/plain")]);
}

#[tokio::test]
async fn a_service_sends_files_in_its_json() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitor = relay.visitor();
    visitor.send("show me").await;
    agent.next().await.reply_json(json!({ "reply": "", "files": [
        { "name": "Grüße & more.csv", "type": "text/csv", "data_base64": "MSwy" },
        { "name": "page.html", "type": "text/html", "data_base64": "PGI+" },
        { "name": "a.txt", "data_base64": "YQ==" },
    ]}));
    let reply = visitor.next_reply_entry().await;
    assert_eq!(named(&reply), [("Grüße & more.csv", "text/csv"), ("a.txt", "text/plain")]);
    assert_eq!(bytes(&visitor, &reply.files[0]).await, b"1,2");
    eventually("nothing is left", async || left_beside(&poller.queue()) == 0).await;
}

#[tokio::test]
async fn a_poller_that_is_killed_loses_no_file_and_sends_none_twice() {
    for point in [
        "poller: agent done, not journaled",
        "poller: outcome journaled, relay not told",
        "poller: files sent, reply not posted",
        "poller: relay told, queue not cleared",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("relay.db");
        let (_relay, address) = Process::relay(&db, ANY_PORT).await;
        let visitor = Caller::new(address);
        let opened: MessageAccepted =
            visitor.post("/messages", &json!({ "message": "hi" })).await.data();

        let queue = folder.path().join("poller.db");
        let command = "cd \"$POSTERN_REPLY_FILES\"; date +%N > a.txt; echo b > b.txt; echo Here.";
        let agent = ["--agent", "exec", "--exec", command];
        let args = poller_args(&format!("http://{address}"), &queue, &agent);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let fault = format!("{point}@1");
        let doomed = [("POSTERN_API_KEY", API_KEY), ("POSTERN_FAULT", &fault)];
        let (status, log) = Process::start_with("postern-poller", &args, &doomed).end().await;
        assert_eq!(status.code(), None, "{point}: {log:?}");

        let _poller = Process::start("postern-poller", &args);
        let visitor = visitor.with_secret(&opened.session_token.unwrap());
        let path = format!("/sessions/{}/messages", opened.session_id);
        let said = async || visitor.get(&path).await.data::<Transcript>().messages;
        eventually("the reply", async || said().await.len() == 2).await;
        let reply = said().await.remove(1);
        assert_eq!(named(&reply), [("a.txt", "text/plain"), ("b.txt", "text/plain")], "{point}");
        let sent = fs::read_dir(folder.path().join("relay.db.files")).unwrap().count();
        assert_eq!(sent, 2, "{point}");
        eventually("nothing is left", async || left_beside(&queue) == 0).await;
    }
}

/// A relay that has one message for a poller with short leases, and does not take a file before the
/// lease was renewed twice.
async fn slow_relay() -> (String, mpsc::UnboundedReceiver<Value>) {
    let renewals = Arc::new(Semaphore::new(0));
    let (posted, replies) = mpsc::unbounded_channel();
    let waiting = Arc::new(Mutex::new(Some(json!({
        "id": 1, "session_id": "s1", "uid": "00ff00ff00ff00ff", "message": "hi",
        "timestamp": "2026-01-01T00:00:00Z", "lease_id": "l1", "attempts": 1,
    }))));
    let renewed = Arc::clone(&renewals);
    let app = Router::new()
        .route(
            "/api/v1/inbox/lease",
            post(async move || match waiting.lock().await.take() {
                Some(message) => success(&json!({ "messages": [message] })),
                None => std::future::pending().await,
            }),
        )
        .route(
            "/api/v1/inbox/1/extend",
            post(async move || {
                renewed.add_permits(1);
                success(&json!({ "cancelled": false }))
            }),
        )
        .route(
            "/api/v1/sessions/s1/files",
            post(async move || {
                renewals.acquire_many(2).await.unwrap().forget();
                success(&json!({ "file_id": "f1", "name": "a", "type": "b", "size_bytes": 1 }))
            }),
        )
        .route(
            "/api/v1/outbox",
            post(async move |Json(reply): Json<Value>| {
                posted.send(reply).unwrap();
                success(&json!({ "response_id": 2 }))
            }),
        )
        .fallback(async || success(&json!({ "received": 0, "cancelled": false })));
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, replies)
}

fn success(data: &Value) -> Json<Value> {
    let timestamp = "2026-01-01T00:00:00Z";
    Json(json!({ "success": true, "message": "Good", "timestamp": timestamp, "data": data }))
}

#[tokio::test]
async fn the_lease_is_kept_while_files_are_on_their_way() {
    let (url, mut replies) = slow_relay().await;
    let agent = ["--agent", "exec", "--exec", "printf 1 > $POSTERN_REPLY_FILES/a.txt"];
    let _poller = TestPoller::at(&url, &agent, short_leases());
    let reply = soon("the reply", replies.recv()).await.unwrap();
    assert_eq!(reply["files"], json!(["f1"]));
}
