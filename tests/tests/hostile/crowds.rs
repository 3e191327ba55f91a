//! More connections than one may have, and as many as there may be.

use std::time::Instant;

use futures_util::{StreamExt, stream};
use postern_tests::{Answer, eventually, soon};
use procfs::process::Process as ProcfsProcess;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Target, client_from, is_served};

#[tokio::test]
async fn one_address_has_so_many_connections_and_leaves_the_others_theirs() {
    let target = Target::start(&["--max-connections-per-address", "4"]).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(target.connect_from(2).await);
        assert!(is_served(held.last_mut().unwrap()).await);
    }
    assert!(!is_served(&mut target.connect_from(2).await).await);
    assert!(is_served(&mut target.connect_from(3).await).await);
    assert!(is_served(&mut held[0]).await, "a refusal costs those inside nothing");
    held.pop();
    eventually("a place", async || is_served(&mut target.connect_from(2).await).await).await;
    assert!(target.count("connections_refused_total").await >= 1);
}

#[tokio::test]
async fn a_trusted_proxy_has_as_many_connections_as_it_needs() {
    let target = Target::trusting("127.0.0.2", &["--max-connections-per-address", "4"]).await;
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(target.connect_from(2).await);
        assert!(is_served(held.last_mut().unwrap()).await);
    }
}

#[tokio::test]
async fn there_are_so_many_connections_in_all() {
    let target = Target::start(&["--max-connections", "5"]).await;
    let mut held = Vec::new();
    for last in 2..7 {
        held.push(target.connect_from(last).await);
        assert!(is_served(held.last_mut().unwrap()).await);
    }
    assert!(!is_served(&mut target.connect_from(7).await).await);
    held.pop();
    eventually("a place", async || is_served(&mut target.connect_from(7).await).await).await;
}

#[tokio::test]
async fn a_visitors_address_is_the_peers_unless_a_trusted_proxy_names_it() {
    let target = Target::trusting("127.0.0.2,10.0.0.0/8", &[]).await;
    let seen = async |from: u8, name: &str, value: &str| {
        let url = format!("http://{}/api/v1/messages", target.address);
        let call = client_from(from).post(url).json(&json!({ "message": "hi" }));
        let opened: Value = Answer::to(call.header(name, value)).await.data();
        let path = format!("/sessions/{}", opened["session_id"].as_str().unwrap());
        let session: Value = target.operator().get(&path).await.data();
        session["session"]["ip_address"].as_str().unwrap().to_owned()
    };
    let forwarded = "x-forwarded-for";
    assert_eq!(seen(3, forwarded, "192.0.2.1").await, "127.0.0.3");
    assert_eq!(seen(2, forwarded, "1.1.1.1, 192.0.2.1, 10.0.0.1").await, "192.0.2.1");
    assert_eq!(seen(2, "forwarded", "for=\"[2001:db8::1]:47\"").await, "2001:db8::1");
    assert_eq!(seen(2, "x-other", "192.0.2.1").await, "127.0.0.2");
}

/// How much the relay may grow for each open stream; measured: see `docs/hostile-clients.md`.
const BYTES_PER_STREAM: u64 = 64 * 1024;

#[tokio::test]
async fn ten_thousand_visitors_listen_at_once() {
    let count = 10_000.min(open_files() / 2 - 200);
    let target = Target::start(&["--max-connections-per-address", "20000"]).await;
    let (session, token) = target.session().await;
    let before = resident_bytes(&target);
    let begun = Instant::now();
    let request = format!(
        "GET /api/v1/sessions/{session}/events HTTP/1.1\r\nHost: relay\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    let open = async |_| {
        let mut stream = target.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, "\"role\":\"visitor\"").await;
        stream
    };
    let mut streams: Vec<TcpStream> =
        stream::iter(0..count).map(open).buffer_unordered(64).collect().await;
    let per_stream = resident_bytes(&target).saturating_sub(before) / count as u64;
    eprintln!("{count} streams in {:?}, {per_stream} bytes each", begun.elapsed());
    assert!(per_stream < BYTES_PER_STREAM, "{per_stream} bytes for each stream");

    let begun = Instant::now();
    let message = json!({ "session_id": session, "message": "to everybody" });
    target.visitor().with_secret(&token).post("/messages", &message).await.data::<Value>();
    for stream in &mut streams {
        read_until(stream, "to everybody").await;
    }
    eprintln!("told to all in {:?}", begun.elapsed());
    drop(streams);
    eventually("the end of all", async || target.count("event_streams").await == 0).await;
}

async fn read_until(stream: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains(text) {
        let read = soon(text, stream.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "the stream ended: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..read]);
    }
}

/// How many files this process may have open, once it has asked for all it may have.
fn open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.current.map_or(usize::MAX, |files| usize::try_from(files).unwrap())
}

fn resident_bytes(target: &Target) -> u64 {
    let pid = target.process.pid().as_raw_nonzero().get();
    ProcfsProcess::new(pid).unwrap().statm().unwrap().resident * procfs::page_size()
}
