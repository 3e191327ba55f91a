//! Files: a name leads nowhere, and a size that lies fills no disk.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use postern_tests::{HostileRelay, eventually};
use serde_json::{Value, json};

use crate::support::{Poller, hands_out, leased, ok, said};

/// Says where each of its files is, and something in any case.
const LIST: &str = r#"grep -o '"path":"[^"]*"' | cut -d '"' -f 4; echo fine"#;

fn file(name: &str, size_bytes: u64) -> Value {
    json!({ "id": "f", "name": name, "type": "text/plain", "size_bytes": size_bytes })
}

/// A relay that hands out one message with these files, each of which is `bytes`.
async fn relay_with(
    files: &[Value],
    bytes: impl Fn() -> Response + Send + 'static,
) -> HostileRelay {
    let mut message = leased(1, "s", "here");
    message["files"] = json!(files);
    let mut agreed = hands_out(vec![ok(&json!({ "messages": [message] }))]);
    HostileRelay::start(
        move |call| {
            if call.path.contains("/files/") { Some(bytes()) } else { agreed(call) }
        },
    )
    .await
}

#[tokio::test]
async fn a_name_leads_nowhere() {
    let names = ["../../../../tmp/x", "..", ".", "/etc/passwd", "$(id)`id`;id.txt", "a\nb\0c", ""];
    let long = ["x".repeat(5_000), "語".repeat(255), "𝔘".repeat(255)];
    let files: Vec<_> = names
        .into_iter()
        .chain(long.iter().map(String::as_str))
        .map(|name| file(name, 4))
        .collect();
    let mut relay = relay_with(&files, || "text".into_response()).await;
    let poller = Poller::start(&relay, &["--agent", "exec", "--exec", LIST]);
    let reply = said(&relay.next_call("/outbox").await);
    let lines = reply["response"].as_str().unwrap().lines();
    let paths: Vec<_> = lines.filter(|line| *line != "fine").map(Path::new).collect();
    assert_eq!(paths.len(), files.len());
    for path in paths {
        assert_eq!(path.parent(), Some(poller.files().join("1/question").as_path()));
    }
    relay.serves_once_it_is_honest().await;
}

#[tokio::test]
async fn a_file_is_as_large_as_it_was_announced_or_none() {
    let endless = || {
        let pieces = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from(vec![b'x'; 1_000_000])));
        Body::from_stream(pieces).into_response()
    };
    for bytes in
        [Box::new(endless) as Box<dyn Fn() -> Response + Send>, Box::new(bomb), Box::new(short)]
    {
        let mut relay = relay_with(&[file("f", 1_000)], bytes).await;
        let poller = Poller::start(&relay, &["--agent", "exec", "--exec", LIST]);
        let given_back = said(&relay.next_call("/nack").await);
        assert!(given_back["error"].as_str().unwrap().contains("another size than was announced"));
        eventually("nothing is left", async || left(&poller) == 0).await;
        relay.serves_once_it_is_honest().await;
    }
}

fn short() -> Response {
    "x".into_response()
}

fn bomb() -> Response {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&[b'x'; 10_000_000]).unwrap();
    ([(header::CONTENT_ENCODING, "gzip")], encoder.finish().unwrap()).into_response()
}

fn left(poller: &Poller) -> usize {
    fs::read_dir(poller.files()).map_or(0, Iterator::count)
}

#[tokio::test]
async fn files_that_are_too_many_or_too_large_are_not_fetched() {
    const MIB: u64 = 1024 * 1024;
    for files in [
        vec![file("f", 1); 21],
        vec![file("f", 101 * MIB)],
        vec![file("f", 100 * MIB); 3],
        vec![file("f", u64::MAX); 2],
    ] {
        let mut relay = relay_with(&files, || "x".into_response()).await;
        let _poller = Poller::start(&relay, &["--agent", "exec", "--exec", LIST]);
        let given_up = said(&relay.next_call("/nack").await);
        assert_eq!(given_up["dead_letter"], true);
        assert!(given_up["error"].as_str().unwrap().contains("too many or too large"));
        relay.serves_once_it_is_honest().await;
    }
}
