//! Whole answers: too large, too many, too slow, of wrong types, or made for the log.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use postern_poller::relay::RelayError;
use postern_tests::{HostileRelay, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time;

use crate::support::{ECHO, Poller, calls, hands_out, is_lease, leased, ok, said, success};

/// What a poller may need at most while it is lied to.
const MAX_MEMORY_BYTES: u64 = 200_000_000;

/// What its queue may need at most.
const MAX_QUEUE_BYTES: u64 = 20_000_000;

/// A body of a megabyte in each piece, and no end.
fn endless(status: StatusCode) -> Response {
    let pieces = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from(vec![b' '; 1_000_000])));
    (status, Body::from_stream(pieces)).into_response()
}

/// Some hundred kilobytes that become a hundred million bytes.
fn bomb() -> Response {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..100 {
        encoder.write_all(&[b' '; 1_000_000]).unwrap();
    }
    ([(header::CONTENT_ENCODING, "gzip")], encoder.finish().unwrap()).into_response()
}

/// As many values as fit into an answer; each takes many times its room there in memory.
fn spread_out(value: &str) -> Response {
    let values = format!("[{value}{}]", format!(",{value}").repeat(500_000));
    let mut message = leased(1, "s", "hi");
    message["metadata"] = json!({ "values": "here" });
    let body = success(&json!({ "messages": [message] })).to_string();
    body.replace("\"here\"", &values).into_response()
}

#[tokio::test]
async fn an_answer_takes_little_memory_however_large_it_is() {
    let relay = HostileRelay::start(hands_out(vec![
        spread_out("0"),
        spread_out("[]"),
        endless(StatusCode::OK),
        endless(StatusCode::BAD_GATEWAY),
        bomb(),
    ]));
    let mut relay = relay.await;
    let poller = Poller::start(&relay, ECHO);
    for _ in 0..6 {
        relay.next_call("/inbox/lease").await;
    }
    relay.serves_once_it_is_honest().await;
    let (memory, queue) = (poller.peak_memory_bytes(), poller.queue_bytes());
    assert!(memory < MAX_MEMORY_BYTES && queue < MAX_QUEUE_BYTES, "{memory} and {queue} bytes");
}

#[tokio::test]
async fn messages_that_were_not_asked_for_are_not_taken() {
    let many: Vec<_> = (1..20_000).map(|id| leased(id, &format!("s{id}"), "hi")).collect();
    let long = leased(1, "s", &"x".repeat(300_000));
    let answers = vec![ok(&json!({ "messages": many[..9] })), ok(&json!({ "messages": many }))];
    let answers = answers.into_iter().chain([ok(&json!({ "messages": [long] }))]).collect();
    let relay = HostileRelay::start(hands_out(answers)).await;
    let poller = calls(&relay.url());
    for sentence in ["more messages than", "more than 2162688 bytes", "a message of more than"] {
        let refusal = poller.lease(8, Duration::ZERO, Duration::ZERO).await.unwrap_err();
        assert!(refusal.is_retryable() && refusal.to_string().contains(sentence), "{refusal}");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    let with = |field: &str, value: Value| {
        let mut message = leased(1, "s", "hi");
        message[field] = value;
        success(&json!({ "messages": [message] })).to_string()
    };
    let file = |value: Value| with("files", json!([value]));
    let wrong = [
        String::new(),
        "null".into(),
        "[".repeat(100_000),
        "{\"data\":".repeat(50_000),
        success(&json!({})).to_string(),
        success(&json!({ "messages": {} })).to_string(),
        success(&json!({ "messages": [null] })).to_string(),
        success(&json!({ "cancelled": false })).to_string(),
        with("id", json!("1")),
        with("id", json!(1.5)),
        with("id", json!(u64::MAX)),
        with("attempts", json!(-1)),
        with("attempts", json!(u64::MAX)),
        with("session_id", json!("../../etc")),
        with("session_id", json!("s/../../admin")),
        with("session_id", json!("s\n")),
        with("session_id", json!("")),
        with("uid", json!("$(id)")),
        with("lease_id", json!("l\r\nX-Injected: 1")),
        with("message", json!(["hi"])),
        with("message", Value::Null),
        with("timestamp", json!("yesterday")),
        with("timestamp", json!(i64::MAX)),
        with("timestamp", json!("+999999-01-01T00:00:00Z")),
        with("metadata", json!([])),
        file(json!({})),
        file(json!({ "id": "../f", "name": "f", "type": "t", "size_bytes": 1 })),
        file(json!({ "id": "f", "name": "f", "type": "t", "size_bytes": -1 })),
        file(json!({ "id": "f", "name": "f", "type": "t", "size_bytes": 1e300 })),
        with("message", json!("hi")).replace("\"hi\"", "\"\\ud800\""),
        with("id", json!(1)) + "x",
    ];
    let answers = wrong.iter().map(|body| body.clone().into_response()).collect();
    let relay = HostileRelay::start(hands_out(answers)).await;
    let poller = calls(&relay.url());
    for body in wrong {
        let answered = poller.lease(8, Duration::ZERO, Duration::ZERO).await;
        assert!(matches!(answered, Err(RelayError::NotARelay(_))), "{body:.200}: {answered:?}");
    }
}

#[tokio::test]
async fn numbers_without_sense_do_no_harm() {
    let messages = [(i64::MIN, 0), (i64::MAX, u32::MAX), (-1, 1), (0, 1)].map(|(id, attempts)| {
        let mut message = leased(id, &format!("s{}", id.unsigned_abs()), "hi");
        message["attempts"] = json!(attempts);
        message
    });
    let asked = messages.len();
    let relay = HostileRelay::start(hands_out(vec![ok(&json!({ "messages": messages }))]));
    let mut relay = relay.await;
    let _poller = Poller::start(&relay, ECHO);
    let mut answered = Vec::new();
    while answered.len() < asked {
        let reply = said(&relay.next_call("/outbox").await);
        assert_eq!(reply["response"], "hi");
        answered.push(reply["message_id"].as_i64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, [i64::MIN, -1, 0, i64::MAX]);
    relay.serves_once_it_is_honest().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_drips_is_not_waited_for_longer_than_the_call_may_be_held() {
    let relay = HostileRelay::start(|_| {
        let drops = stream::unfold((), |()| async {
            time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, io::Error>(Bytes::from_static(b" ")), ()))
        });
        Some(Body::from_stream(drops).into_response())
    });
    let poller = calls(&relay.await.url());
    let begun = time::Instant::now();
    let refusal = poller.lease(1, Duration::from_secs(25), Duration::ZERO).await.unwrap_err();
    assert!(matches!(refusal, RelayError::Unreachable(_)), "{refusal}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn bytes_that_are_no_http_are_an_error() {
    let long_header = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(2_000_000));
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(100_000));
    for bytes in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        &long_header,
        &many_headers,
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let poller = calls(&format!("http://{}", listener.local_addr().unwrap()));
        let said = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 10_000]).await;
            let _ = stream.write_all(bytes.as_bytes()).await;
        };
        let asked = poller.lease(1, Duration::ZERO, Duration::ZERO);
        let (answered, ()) = tokio::join!(asked, said);
        assert!(answered.is_err_and(|error| error.is_retryable()), "{bytes:.80}");
    }
}

#[tokio::test]
async fn a_sentence_of_the_relay_stays_on_its_line_of_the_log() {
    let relay = HostileRelay::start(|call| {
        let body = json!({
            "success": false, "error": "no\n2026-11-21T09:30:00Z ERROR forged\r\u{1b}[2Jx\u{9b}2J",
            "code": 400, "type": "invalid_request", "timestamp": "2026-11-21T09:30:00Z",
        });
        is_lease(call).then(|| (StatusCode::BAD_REQUEST, body.to_string()).into_response())
    });
    let mut poller = Poller::start(&relay.await, ECHO);
    let line = poller.process.line_with("no 2026-11-21T09:30:00Z ERROR forged [2Jx 2J").await;
    assert!(line.contains("no messages can be pulled"), "{line}");
}

#[tokio::test]
async fn an_offset_that_never_fits_keeps_no_reply_back() {
    let mut agreed = hands_out(vec![ok(&json!({ "messages": [leased(1, "s", "Grüße")] }))]);
    let mut wanted = [u64::MAX, 3, 7, 1_000_000].into_iter().cycle();
    let relay = HostileRelay::start(move |call| {
        if !call.path.ends_with("/chunks") {
            return agreed(call);
        }
        let body = json!({
            "success": false, "error": "", "code": 409, "type": "offset_mismatch",
            "timestamp": "2026-11-21T09:30:00Z", "offset": wanted.next(),
        });
        Some((StatusCode::CONFLICT, body.to_string()).into_response())
    });
    let mut relay = relay.await;
    let slow = "printf Grü; read -r question; sleep 0.3; printf ße";
    let poller = Poller::start(&relay, &["--agent", "exec", "--exec", slow]);
    relay.next_call("/chunks").await;
    assert_eq!(said(&relay.next_call("/outbox").await)["response"], "Grüße");
    relay.serves_once_it_is_honest().await;
    eventually("nothing is left", async || {
        std::fs::read_dir(poller.files()).map_or(0, Iterator::count) == 0
    })
    .await;
}
