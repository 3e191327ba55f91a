//! Files on their way: taken by the relay, kept, given back and harmless, and handed to the agent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_relay::config::Limits;
use postern_shared::files::{File, FileStored, SessionOpened};
use postern_shared::operator::SessionDetail;
use postern_shared::poller::ReplyStored;
use postern_shared::visitor::{MessageAccepted, Transcript};
use postern_shared::{ErrorType, SessionId};
use postern_tests::{
    ADMIN_KEY, API_KEY, Answer, Caller, Process, TestAgent, TestPoller, TestRelay, binary,
    eventually,
};
use reqwest::{Body, Method};
use serde_json::{Value, json};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR and so on";

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A visitor who has opened a session and said nothing.
struct Opened {
    calls: Caller,
    session: SessionId,
    token: String,
}

async fn opened(stranger: &Caller) -> Opened {
    let opened: SessionOpened = stranger.post("/sessions", &json!({})).await.data();
    let calls = stranger.with_secret(&opened.session_token);
    Opened { calls, session: opened.session_id, token: opened.session_token }
}

impl Opened {
    async fn send_text(&self, name: &str, text: &str) -> FileStored {
        self.send(name, "text/plain; charset=utf-8", text.as_bytes()).await.data()
    }

    async fn send(&self, name: &str, media_type: &str, bytes: &[u8]) -> Answer {
        self.calls.send_file(&self.session, name, media_type, bytes).await
    }

    async fn post(&self, message: &str, files: &[&FileStored]) -> Answer {
        let files: Vec<_> = files.iter().map(|file| &file.file_id).collect();
        let body = json!({ "session_id": self.session, "message": message, "files": files });
        self.calls.post("/messages", &body).await
    }

    async fn get(&self, file: &FileStored) -> Answer {
        self.calls.get(&format!("/sessions/{}/files/{}", self.session, file.file_id)).await
    }

    async fn transcript(&self) -> Transcript {
        self.calls.get(&format!("/sessions/{}/messages", self.session)).await.data()
    }
}

fn as_listed(stored: &FileStored) -> File {
    let FileStored { file_id: id, name, media_type, size_bytes } = stored.clone();
    File { id, name, media_type, size_bytes }
}

#[tokio::test]
async fn files_go_with_a_message_to_everyone_who_may_read_it() {
    let relay = TestRelay::start().await;
    let visitor = opened(&relay.stranger_calls()).await;
    let picture: FileStored = visitor.send("gate.png", "IMAGE/PNG", PNG).await.data();
    assert_eq!((picture.media_type.as_str(), picture.size_bytes), ("image/png", PNG.len() as u64));
    let notes = visitor.send_text("Gr%C3%BC%C3%9Fe%20%22%3Cb%3E.txt", "Grüße").await;
    assert_eq!(notes.name, "Grüße \"<b>.txt");
    visitor.post(" ", &[&notes, &picture]).await.data::<MessageAccepted>();

    let files = [as_listed(&notes), as_listed(&picture)];
    assert_eq!(visitor.transcript().await.messages[0].files, files);
    let path = format!("/sessions/{}", visitor.session);
    let seen: SessionDetail = relay.operator_calls().get(&path).await.data();
    assert_eq!(seen.messages[0].files, files);
    let leased = relay.poller_calls().lease(&json!({})).await;
    assert_eq!((leased[0].message.as_str(), leased[0].files.as_slice()), (" ", &files[..]));

    let path = format!("/sessions/{}/files/{}", visitor.session, picture.file_id);
    for caller in [&visitor.calls, &relay.poller_calls(), &relay.operator_calls()] {
        let answer = caller.get(&path).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (200, PNG));
    }
}

#[tokio::test]
async fn a_download_is_saved_and_never_run() {
    let relay = TestRelay::start().await;
    let visitor = opened(&relay.stranger_calls()).await;
    let notes = visitor.send_text("Gr%C3%BC%C3%9Fe%20%22%3Cb%3E.txt", "<script>").await;
    let answer = visitor.get(&notes).await;
    let header = |name: &str| answer.headers[name].to_str().unwrap();
    assert_eq!(
        header("content-disposition"),
        "attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%22%3Cb%3E.txt"
    );
    assert_eq!(header("content-type"), "text/plain");
    assert_eq!(header("content-length"), "8");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-security-policy"), "sandbox; default-src 'none'");
    assert_eq!(header("cache-control"), "private");
}

#[tokio::test]
async fn a_file_is_given_to_nobody_else() {
    let relay = TestRelay::start().await;
    let visitor = opened(&relay.stranger_calls()).await;
    let other = opened(&relay.stranger_calls()).await;
    let file = visitor.send_text("a.txt", "private").await;
    let path = format!("/sessions/{}/files/{}", visitor.session, file.file_id);
    let through_own = format!("/sessions/{}/files/{}", other.session, file.file_id);
    for (caller, path, code) in [
        (relay.stranger_calls(), &path, 401),
        (relay.stranger_calls().with_secret("unknown-token-of-good-length"), &path, 401),
        (other.calls.clone(), &path, 403),
        (other.calls.clone(), &through_own, 404),
        (relay.poller_calls(), &through_own, 404),
    ] {
        assert_eq!(caller.get(path).await.failure().code, code);
    }
    for (caller, code) in
        [(relay.stranger_calls(), 401), (other.calls.clone(), 403), (relay.operator_calls(), 403)]
    {
        let answer = caller.send_file(&visitor.session, "a.txt", "text/plain", b"x").await;
        assert_eq!(answer.failure().code, code);
    }
    let stolen = other.post("look", &[&file]).await.failure();
    assert_eq!((stolen.code, stolen.kind), (400, ErrorType::InvalidRequest));
}

#[tokio::test]
async fn what_is_not_taken_is_refused_by_name_and_leaves_nothing() {
    let relay = TestRelay::with(Limits { max_file_bytes: 100, ..Limits::default() });
    let visitor = opened(&relay.stranger_calls()).await;
    let long = "x".repeat(256);
    let cases: [(&str, &str, &[u8], &str); 10] = [
        ("a.html", "text/html", b"<script>", "Content-Type must be a type that is taken"),
        ("a.svg", "image/svg+xml", b"<svg>", "Content-Type must be a type that is taken"),
        ("a.png", "", PNG, "Content-Type must be a type that is taken"),
        ("a.png", "image/png", b"<script>", "Content-Type says image/png"),
        ("a.gif", "image/gif", PNG, "Content-Type says image/gif"),
        ("a.pdf", "application/pdf", b"%PD", "Content-Type says application/pdf"),
        ("a.txt", "text/plain", b"", "the body must not be empty"),
        ("", "text/plain", b"x", "name must have 1 to 255 characters"),
        ("..%2Fa", "text/plain", b"x", "name must have 1 to 255 characters"),
        (&long, "text/plain", b"x", "name must have 1 to 255 characters"),
    ];
    for (name, media_type, bytes, sentence) in cases {
        let failure = visitor.send(name, media_type, bytes).await.failure();
        assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest));
        assert!(failure.error.starts_with(sentence), "{name}: {}", failure.error);
    }
    let path = format!("/sessions/{}/files", visitor.session);
    let unnamed = visitor.calls.request(Method::POST, &path).header("content-type", "text/plain");
    assert!(Answer::to(unnamed.body("x")).await.failure().error.contains("`name`"));
    let large = visitor.send("a.txt", "text/plain", &[b'x'; 101]).await;
    assert_eq!(large.failure().kind, ErrorType::PayloadTooLarge);
    visitor.send("a.txt", "text/plain", &[b'x'; 100]).await.data::<FileStored>();
    assert_eq!(fs::read_dir(relay.file("relay.db.files")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let relay = TestRelay::start().await;
    let visitor = opened(&relay.stranger_calls()).await;
    let path = format!("/sessions/{}/files?name=a.txt", visitor.session);
    let pieces = [Ok("begun"), Err(std::io::Error::other("broken off"))];
    let body = Body::wrap_stream(futures_util::stream::iter(pieces));
    let request = visitor.calls.request(Method::POST, &path).header("content-type", "text/plain");
    assert!(request.body(body).send().await.is_err());
    let folder = relay.file("relay.db.files");
    eventually("the file is gone", async || fs::read_dir(&folder).unwrap().count() == 0).await;
}

#[tokio::test]
async fn a_file_goes_with_one_message_and_a_message_has_so_many() {
    let limits = Limits { max_files_per_message: 2, ..Limits::default() };
    let relay = TestRelay::with(limits);
    let visitor = opened(&relay.stranger_calls()).await;
    let mut files = Vec::new();
    for number in 0..4 {
        files.push(visitor.send_text(&format!("{number}.txt"), "text").await);
    }
    let one_more = visitor.send("4.txt", "text/plain", b"text").await.failure();
    assert_eq!((one_more.code, one_more.kind), (409, ErrorType::TooManyFiles));
    let too_many = visitor.post("all", &[&files[0], &files[1], &files[2]]).await.failure();
    assert_eq!(too_many.error, "files must be at most 2");
    visitor.post("two", &[&files[0], &files[1]]).await.data::<Value>();
    for with in [[&files[0], &files[2]], [&files[2], &files[2]]] {
        assert_eq!(visitor.post("again", &with).await.failure().code, 400);
    }
    visitor.post("the rest", &[&files[3], &files[2]]).await.data::<Value>();
    assert_eq!(visitor.transcript().await.messages.len(), 2);
    visitor.send_text("4.txt", "there is room again").await;
}

#[tokio::test]
async fn a_repeat_gives_the_same_file_and_the_same_message() {
    let relay = TestRelay::start().await;
    let mut visitor = opened(&relay.stranger_calls()).await;
    visitor.calls = visitor.calls.with_key("the-key-of-one-file");
    let first = visitor.send_text("a.txt", "text").await;
    assert_eq!(visitor.send_text("a.txt", "text").await, first);
    for (name, text) in [("b.txt", "text"), ("a.txt", "other")] {
        let failure = visitor.send(name, "text/plain", text.as_bytes()).await.failure();
        assert_eq!(failure.kind, ErrorType::IdempotencyMismatch);
    }
    assert_eq!(fs::read_dir(relay.file("relay.db.files")).unwrap().count(), 1);
    visitor.calls = visitor.calls.with_key("the-key-of-one-message");
    let message: MessageAccepted = visitor.post("look", &[&first]).await.data();
    let again: MessageAccepted = visitor.post("look", &[&first]).await.data();
    assert_eq!(again.message_id, message.message_id);
    assert_eq!(visitor.post("look", &[]).await.failure().kind, ErrorType::IdempotencyMismatch);
}

#[tokio::test]
async fn a_session_without_a_message_is_opened_once_per_key() {
    let relay = TestRelay::start().await;
    let stranger = relay.stranger_calls();
    let keyed = stranger.with_key("a-key-that-opens-a-session");
    let first: SessionOpened = keyed.post("/sessions", &json!({})).await.data();
    let again: SessionOpened = keyed.post("/sessions", &json!({})).await.data();
    assert_eq!((&again.session_id, &again.uid), (&first.session_id, &first.uid));
    assert!(first.is_new_user && again.is_new_user);
    for token in [&first.session_token, &again.session_token] {
        let calls = stranger.with_secret(token);
        let body = json!({ "session_id": first.session_id, "message": "hi" });
        calls.post("/messages", &body).await.data::<MessageAccepted>();
    }
    let later = stranger.with_secret(&first.session_token);
    let later: SessionOpened = later.post("/sessions", &json!({})).await.data();
    assert_ne!(later.session_id, first.session_id);
    assert_eq!((later.uid, later.is_new_user), (first.uid, false));
    let weak = stranger.with_key("short").post("/sessions", &json!({})).await.failure();
    assert!(weak.error.starts_with("Idempotency-Key"), "{}", weak.error);
}

#[tokio::test]
async fn the_agents_files_come_with_its_reply() {
    let relay = TestRelay::start().await;
    let visitor = opened(&relay.stranger_calls()).await;
    let poller = relay.poller_calls();
    let sent = poller.send_file(&visitor.session, "chart.png", "image/png", PNG).await;
    let chart: FileStored = sent.data();
    let own = visitor.send_text("a.txt", "mine").await;
    let reply = |files: &[&FileStored]| {
        let files: Vec<_> = files.iter().map(|file| &file.file_id).collect();
        json!({ "session_id": visitor.session, "response": "", "files": files })
    };
    assert_eq!(poller.post("/outbox", &reply(&[&own])).await.failure().code, 400);
    let keyed = poller.with_key("the-key-of-one-reply");
    let first: ReplyStored = keyed.post("/outbox", &reply(&[&chart])).await.data();
    let again: ReplyStored = keyed.post("/outbox", &reply(&[&chart])).await.data();
    assert_eq!(first, again);
    assert_eq!(visitor.transcript().await.messages[0].files, [as_listed(&chart)]);
    assert_eq!(visitor.get(&chart).await.body, PNG);
}

#[tokio::test]
async fn a_file_that_goes_with_no_message_is_removed_and_the_others_stay() {
    let limits = Limits { files_wait: Duration::from_millis(200), ..Limits::default() };
    let relay = TestRelay::with(Limits { files_wait: Duration::from_secs(3_600), ..limits });
    let visitor = opened(&relay.stranger_calls()).await;
    let kept = visitor.send_text("kept.txt", "kept").await;
    visitor.post("look", &[&kept]).await.data::<Value>();
    let forgotten = visitor.send_text("forgotten.txt", "forgotten").await;
    let mut relay = relay;
    relay.stop().await;
    relay.limits_are(limits);
    relay.start_again();
    eventually("it is gone", async || visitor.get(&forgotten).await.status == 404).await;
    let folder = relay.file("relay.db.files");
    eventually("its bytes are gone", async || fs::read_dir(&folder).unwrap().count() == 1).await;
    assert_eq!(visitor.get(&kept).await.body, b"kept");
}

#[tokio::test]
async fn an_accepted_file_outlives_a_kill_and_what_is_unfinished_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let (relay, address) = Process::relay(&db, ANY_PORT).await;
    let visitor = opened(&Caller::new(address)).await;
    let file = visitor.send_text("a.txt", "kept").await;
    visitor.post("look", &[&file]).await.data::<Value>();
    relay.signal(rustix::process::Signal::KILL);
    relay.end().await;
    let left = folder.path().join("relay.db.files").join("0123456789abcdef.part");
    fs::write(&left, "half of a").unwrap();
    let (_relay, address) = Process::relay(&db, ANY_PORT).await;
    let path = format!("/sessions/{}/files/{}", visitor.session, file.file_id);
    let answer = Caller::new(address).with_secret(API_KEY).get(&path).await;
    assert_eq!(answer.body, b"kept");
    assert!(!left.exists());
}

/// Whether `postern-relay check` says that all is well, and what else it says.
fn check(db: &Path) -> (bool, String) {
    let args = ["check", "--db", db.to_str().unwrap()];
    let output = Command::new(binary("postern-relay")).args(args).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn a_check_names_the_files_that_are_not_whole() {
    let relay = TestRelay::start().await;
    let visitor = opened(&relay.stranger_calls()).await;
    let file = visitor.send_text("a.txt", "kept").await;
    let db = relay.file("relay.db");
    let (is_well, said) = check(&db);
    assert!(is_well && said.contains("1 file"), "{said}");
    let bytes = relay.file("relay.db.files").join(file.file_id.as_str());
    fs::write(&bytes, "kep").unwrap();
    let (is_well, said) = check(&db);
    assert!(!is_well && said.contains(&format!("file {}", file.file_id)), "{said}");
}

#[tokio::test]
async fn the_files_of_a_newer_database_outlive_an_older_one() {
    let mut relay = TestRelay::start().await;
    let db = relay.file("relay.db");
    let visitor = opened(&relay.stranger_calls()).await;
    visitor.post("look", &[&visitor.send_text("a.txt", "first").await]).await.data::<Value>();
    let operate = |args: &[&str]| {
        let binary = Command::new(binary("postern-relay")).args(args).arg("--db").arg(&db).output();
        let output = binary.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let backup = relay.file("backup.db");
    let said = operate(&["backup", backup.to_str().unwrap()]);
    assert!(said.contains("files are not in it: copy their folder after it"), "{said}");
    let later = visitor.send_text("b.txt", "later").await;
    visitor.post("look", &[&later]).await.data::<Value>();
    relay.stop().await;
    let newer = relay.file("newer.db");
    operate(&["backup", newer.to_str().unwrap()]);

    operate(&["restore", backup.to_str().unwrap()]);
    relay.start_again();
    assert_eq!(visitor.get(&later).await.status, 404);
    let (is_well, said) = check(&db);
    let stray = format!("relay.db.files: file {}\n", later.file_id);
    assert!(is_well && said.contains(&stray) && said.contains("not known"), "{said}");
    relay.stop().await;

    operate(&["restore", newer.to_str().unwrap()]);
    relay.start_again();
    assert_eq!(visitor.get(&later).await.body, b"later");
    assert!(!check(&db).1.contains("not known"));
}

/// A relay that dies at a step of the protocol, and where it listens until then.
async fn doomed_relay(db: &Path, point: &str) -> (Process, SocketAddr) {
    let fault = format!("{point}@1");
    let keys = [("POSTERN_API_KEY", API_KEY), ("POSTERN_ADMIN_KEY", ADMIN_KEY)];
    let environment = [keys[0], keys[1], ("POSTERN_FAULT", fault.as_str())];
    let args = ["serve", "--listen", "127.0.0.1:0", "--db", db.to_str().unwrap()];
    let mut relay = Process::start_with("postern-relay", &args, &environment);
    let line = relay.line_with("listening on http://").await;
    (relay, line.rsplit("http://").next().unwrap().trim().parse().unwrap())
}

#[tokio::test]
async fn a_relay_that_is_killed_while_it_takes_a_file_keeps_all_of_it_or_nothing() {
    for (point, left) in [
        ("relay: file written, not named", 0),
        ("relay: file named, not stored", 1),
        ("relay: file stored, answer not sent", 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("relay.db");
        let (relay, address) = doomed_relay(&db, point).await;
        let visitor = opened(&Caller::new(address)).await;
        let path = format!("/sessions/{}/files?name=a.txt", visitor.session);
        let keyed = visitor.calls.with_key("the-key-of-one-file");
        let request = keyed.request(Method::POST, &path).header("content-type", "text/plain");
        assert!(request.body("text").send().await.is_err(), "{point}");
        relay.end().await;

        let (_relay, address) = Process::relay(&db, ANY_PORT).await;
        let calls = Caller::new(address).with_secret(&visitor.token);
        let visitor = Opened { calls: calls.with_key("the-key-of-one-file"), ..visitor };
        let file = visitor.send_text("a.txt", "text").await;
        assert_eq!(visitor.get(&file).await.body, b"text");
        let files = folder.path().join("relay.db.files");
        assert_eq!(fs::read_dir(&files).unwrap().count(), 1 + left, "{point}");
        let (is_well, said) = check(&db);
        assert!(is_well && said.contains("not known") == (left > 0), "{point}: {said}");
    }
}

#[tokio::test]
async fn an_agent_is_handed_the_visitors_files_for_as_long_as_it_works() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let mut poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let visitor = opened(&relay.stranger_calls()).await;
    let picture: FileStored = visitor.send("gate.png", "image/png", PNG).await.data();
    let notes = visitor.send_text("..my%20notes%3B.txt", "Grüße").await;
    visitor.post("", &[&notes, &picture]).await.data::<Value>();

    let first = agent.next().await;
    let [as_notes, as_picture] = first.question.files.as_slice() else { unreachable!() };
    assert_eq!((as_notes.name.as_str(), as_notes.size_bytes), ("..my notes;.txt", 7));
    assert_eq!(as_notes.path.file_name().unwrap(), "1-..my_notes_.txt");
    assert_eq!(as_picture.media_type, "image/png");
    assert_eq!(fs::read(&as_notes.path).unwrap(), "Grüße".as_bytes());
    assert_eq!(fs::read(&as_picture.path).unwrap(), PNG);
    assert_eq!(mode(&as_picture.path), 0o600);
    assert_eq!(mode(as_picture.path.parent().unwrap()), 0o700);

    // A poller that was killed at this moment fetches them again.
    poller.abort().await;
    fs::write(&as_picture.path, "half").unwrap();
    poller.start_again();
    let second = agent.next().await;
    let path = second.question.files[1].path.clone();
    assert_eq!(fs::read(&path).unwrap(), PNG);
    second.reply("a gate");
    let is_answered = async || visitor.transcript().await.messages.len() == 2;
    eventually("the reply", is_answered).await;
    assert!(!path.parent().unwrap().exists());
}

/// A file of the relay's that is read for as long as this is kept.
fn endless(path: &Path) -> fs::File {
    fs::remove_file(path).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    fs::File::options().read(true).write(true).open(path).unwrap()
}

#[tokio::test]
async fn a_stop_ends_a_fetch_of_files_that_takes_long() {
    let relay = TestRelay::start().await;
    let visitor = opened(&relay.stranger_calls()).await;
    let file = visitor.send_text("a.txt", "text").await;
    let _pipe = endless(&relay.file("relay.db.files").join(file.file_id.as_str()));
    let message: MessageAccepted = visitor.post("look", &[&file]).await.data();
    let poller = TestPoller::start(&relay, &["--agent", "echo"]);
    let folder = poller.folder().join("poller.db.files");
    eventually("the fetch", async || folder.exists()).await;
    let cancel = format!("/messages/{}/cancel", message.message_id);
    visitor.calls.post(&cancel, &json!({})).await.data::<Value>();
    let said = async || visitor.transcript().await.messages;
    eventually("the stopped reply", async || said().await.len() == 2).await;
    let reply = said().await.remove(1);
    assert!(reply.stopped && reply.text.is_empty(), "{reply:?}");
    eventually("nothing is left", async || fs::read_dir(&folder).unwrap().count() == 0).await;
}

#[tokio::test]
async fn a_message_whose_file_is_lost_at_the_relay_is_given_up_and_the_operator_told() {
    let relay = TestRelay::start().await;
    let visitor = opened(&relay.stranger_calls()).await;
    let file = visitor.send_text("a.txt", "text").await;
    visitor.post("look", &[&file]).await.data::<Value>();
    fs::remove_file(relay.file("relay.db.files").join(file.file_id.as_str())).unwrap();
    let _poller = TestPoller::start(&relay, &["--agent", "echo"]);
    let dead = async || relay.operator_calls().get("/deadletters").await.json();
    let is_given_up = async || dead().await["data"]["pagination"]["total"] == 1;
    eventually("it is given up", is_given_up).await;
    let error = dead().await["data"]["dead_letters"][0]["error"].to_string();
    assert!(error.contains("the file is not there any more"), "{error}");
}

#[tokio::test]
async fn what_fails_is_logged_under_the_name_that_its_caller_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let (mut relay, address) = Process::relay(&db, ANY_PORT).await;
    let visitor = opened(&Caller::new(address)).await;
    let file = visitor.send_text("a.txt", "text").await;
    fs::remove_file(folder.path().join("relay.db.files").join(file.file_id.as_str())).unwrap();
    let answer = visitor.get(&file).await;
    assert_eq!(answer.failure().code, 404);
    let line = relay.line_with("a file is not where it was put").await;
    let name = answer.headers["x-request-id"].to_str().unwrap();
    assert!(line.contains(&format!("request.id=\"{name}\"")), "{line}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_sender_of_a_large_file_that_is_refused_is_told_why() {
    let relay = TestRelay::start().await;
    let visitor = opened(&relay.stranger_calls()).await;
    let large = vec![0; 30_000_000];
    for _ in 0..3 {
        let refused = visitor.send("large.txt", "text/plain", &large).await;
        assert_eq!(refused.failure().kind, ErrorType::PayloadTooLarge);
        let refused = visitor.send("large.html", "text/html", &large).await;
        assert_eq!(refused.failure().kind, ErrorType::InvalidRequest);
    }
}
