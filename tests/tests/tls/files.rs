//! A certificate in files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::http::Request;
use postern_tests::{ADMIN_KEY, API_KEY, Answer, Process, eventually, soon};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{ANY_PORT, Authority, Pair, client, connect, served};

/// A relay with a certificate of a CA of its own.
struct Relay {
    process: Process,
    address: SocketAddr,
    authority: Authority,
    pair: Pair,
    folder: TempDir,
}

impl Relay {
    async fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let pair = authority.issue();
        pair.write(folder.path());
        let [cert, key] = names(folder.path());
        let flags = [&["--tls-cert", &cert, "--tls-key", &key], flags].concat();
        let db = folder.path().join("relay.db");
        let (process, address) = Process::relay_with(&db, ANY_PORT, &flags).await;
        Self { process, address, authority, pair, folder }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    fn client(&self) -> reqwest::Client {
        client(&self.authority.pem())
    }

    async fn served(&self) -> Vec<u8> {
        served(self.address, &self.authority.pem()).await.to_vec()
    }
}

fn names(folder: &Path) -> [String; 2] {
    ["cert.pem", "key.pem"].map(|name| folder.join(name).to_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_answer_over_tls_insists_on_it() {
    let relay = Relay::start(&[]).await;
    for (path, status) in [("/health", 200), ("/nothing", 404), ("/widget.js", 200)] {
        let answer = Answer::to(relay.client().get(relay.url(path))).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers["strict-transport-security"], "max-age=31536000");
    }
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_and_the_newer_preferred() {
    let relay = Relay::start(&[]).await;
    let root = relay.authority.pem();
    let offers: [(&[&str], Option<&str>); 4] = [
        (&["http/1.1", "h2"], Some("h2")),
        (&["h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ];
    for (offered, taken) in offers {
        let stream = connect(relay.address, &root, offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), taken.map(str::as_bytes));
    }
    assert!(connect(relay.address, &root, &["spdy/3"]).await.is_err());

    let stream = connect(relay.address, &root, &["h2"]).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let request = Request::get(relay.url("/health")).body(()).unwrap();
    let (answer, _) = requests.send_request(request, true).unwrap();
    assert_eq!(soon("an answer", answer).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_message_goes_to_the_agent_and_back_over_tls() {
    let relay = Relay::start(&[]).await;
    let root = relay.folder.path().join("root.pem");
    std::fs::write(&root, relay.authority.pem()).unwrap();
    let (url, queue) = (relay.url(""), relay.folder.path().join("poller.db"));
    let args = ["run", "--relay", &url, "--queue", queue.to_str().unwrap(), "--agent", "echo"];
    let environment = [("POSTERN_API_KEY", API_KEY), ("SSL_CERT_FILE", root.to_str().unwrap())];
    let _poller = Process::start_with("postern-poller", &args, &environment);
    let message = relay.client().post(relay.url("/api/v1/messages"));
    let opened: Value = Answer::to(message.json(&json!({ "message": "over TLS" }))).await.data();
    let path = format!("/api/v1/responses/{}?wait=30", opened["session_id"].as_str().unwrap());
    let replies = relay.client().get(relay.url(&path));
    let replies = replies.bearer_auth(opened["session_token"].as_str().unwrap());
    let replies: Value = soon("a reply", Answer::to(replies)).await.data();
    assert_eq!(replies["responses"][0]["text"], "over TLS");
}

#[tokio::test]
async fn a_connection_that_is_no_tls_or_ends_no_handshake_is_closed() {
    let relay = Relay::start(&["--idle-deadline", "2"]).await;
    let beginnings: [&[u8]; 3] =
        [b"", b"GET /health HTTP/1.1\r\nHost: relay\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc"];
    for beginning in beginnings {
        let mut stream = TcpStream::connect(relay.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon("the connection's end", stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP"), "{}", answer.escape_ascii());
    }
    assert_eq!(relay.served().await, *relay.pair.der());
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_open_connections_stay() {
    let relay = Relay::start(&["--tls-look-every", "0.05"]).await;
    let client = relay.client();
    let message = client.post(relay.url("/api/v1/messages"));
    let opened: Value = Answer::to(message.json(&json!({ "message": "before" }))).await.data();
    let session = opened["session_id"].as_str().unwrap();
    let token = opened["session_token"].as_str().unwrap();
    let stream = client.get(relay.url(&format!("/api/v1/sessions/{session}/events")));
    let mut stream = stream.bearer_auth(token).send().await.unwrap();

    let fresh = relay.authority.issue();
    fresh.write(relay.folder.path());
    eventually("the new certificate", async || relay.served().await == *fresh.der()).await;
    let message = json!({ "session_id": session, "message": "after" });
    let message = relay.client().post(relay.url("/api/v1/messages")).json(&message);
    Answer::to(message.bearer_auth(token)).await.data::<Value>();
    let mut seen = String::new();
    while !seen.contains("\"after\"") {
        let piece = soon("an event", stream.chunk()).await.unwrap().expect("a stream");
        seen += &String::from_utf8_lossy(&piece);
    }
}

#[tokio::test]
async fn a_bad_certificate_leaves_the_former_in_use_and_is_told_once() {
    let mut relay = Relay::start(&["--tls-look-every", "0.05"]).await;
    let fresh = relay.authority.issue();
    let [cert, key] = names(relay.folder.path());
    std::fs::write(&cert, &fresh.cert).unwrap();
    let line = relay.process.line_with("the former certificate stays in use").await;
    assert!(line.contains("is not that of the first certificate"), "{line}");
    assert_eq!(relay.served().await, *relay.pair.der());
    std::fs::remove_file(&key).unwrap();
    let line = relay.process.line_with("the former certificate stays in use").await;
    assert!(line.contains("cannot be read"), "{line}");
    assert_eq!(relay.served().await, *relay.pair.der());
    std::fs::write(&key, &fresh.key).unwrap();
    // The next line: nothing was told twice.
    relay.process.line_with("the certificate was read again").await;
    assert_eq!(relay.served().await, *fresh.der());
    relay.process.signal(rustix::process::Signal::TERM);
    let (status, log) = relay.process.end().await;
    assert_eq!(status.code(), Some(0));
    let told = log.iter().filter(|line| line.contains("stays in use")).count();
    assert!(told <= 3, "{log:#?}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.issue().write(folder.path());
    let other = file(&folder, "other.pem", &authority.issue().key);
    let garbage = file(&folder, "garbage.pem", "no PEM");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = file(&folder, "broken.pem", broken);
    let [cert, key] = names(folder.path());
    let (cert, key) = (cert.as_str(), key.as_str());
    let refused: [(&[&str], &str); 11] = [
        (&["--tls-cert", cert], "--tls-cert and --tls-key go together"),
        (&["--tls-key", key], "--tls-cert and --tls-key go together"),
        (&["--tls-cert", cert, "--acme-domain", "a.example"], "--tls-key go together"),
        (&["--tls-cert", cert, "--tls-key", key, "--acme-domain", "a.example"], "give one of them"),
        (&["--tls-cert", "/nowhere", "--tls-key", key], "--tls-cert names /nowhere, which cannot"),
        (&["--tls-cert", cert, "--tls-key", "/nowhere"], "--tls-key names /nowhere, which cannot"),
        (&["--tls-cert", &garbage, "--tls-key", key], "holds no certificate in PEM"),
        (&["--tls-cert", &broken, "--tls-key", key], "holds no certificate in PEM"),
        (&["--tls-cert", cert, "--tls-key", &garbage], "holds no key in PEM"),
        (&["--tls-cert", cert, "--tls-key", &other], "is not that of the first certificate"),
        (&["--acme-domain", "a.example", "--acme-roots", &garbage], "--acme-roots names"),
    ];
    let db = folder.path().join("relay.db");
    for (flags, sentence) in refused {
        let args = [&["serve", "--listen", "127.0.0.1:0", "--db", db.to_str().unwrap()], flags];
        let environment = [("POSTERN_API_KEY", API_KEY), ("POSTERN_ADMIN_KEY", ADMIN_KEY)];
        let relay = Process::start_with("postern-relay", &args.concat(), &environment);
        let (status, log) = relay.end().await;
        assert_eq!(status.code(), Some(78), "{flags:?}: {log:?}");
        assert!(log.iter().any(|line| line.contains(sentence)), "{sentence}: {log:?}");
        assert!(!log.iter().any(|line| line.contains("PRIVATE")), "{log:?}");
    }
    assert!(!db.exists(), "a relay that does not start leaves nothing behind");
}

fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}
