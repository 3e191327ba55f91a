//! Clients that take their time.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use postern_tests::{Answer, eventually, soon};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time;

use crate::support::{Target, is_served, rest};

/// What a client may begin with and never end: the head of a request, in either version of HTTP.
const BEGINNINGS: [&[u8]; 8] = [
    b"",
    b"GET",
    b"GET /health HTTP/1.1\r\nHost: relay\r\nX-Never: end",
    b"PRI * HTTP/2.0\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    // Settings, and nothing after them.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    // Settings, and headers without END_HEADERS (RFC 9113, 6.2).
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x01\0\0\0\x01\x82",
    // The beginning of a TLS handshake, at a relay that has no TLS.
    b"\x16\x03\x01",
];

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_is_closed() {
    let target = Target::start(&["--idle-deadline", "0.5"]).await;
    let closed = BEGINNINGS.map(|beginning| {
        let target = &target;
        async move {
            let begun = Instant::now();
            target.exchange(beginning).await;
            (beginning, begun.elapsed())
        }
    });
    for (beginning, waited) in join_all(closed).await {
        assert!(waited < Duration::from_secs(8), "{}: {waited:?}", beginning.escape_ascii());
    }
}

#[tokio::test]
async fn a_byte_now_and_then_does_not_keep_a_connection_open() {
    let target = Target::start(&["--idle-deadline", "0.5"]).await;
    let begun = Instant::now();
    let drips = BEGINNINGS.map(|beginning| async {
        let (mut read, mut write) = target.connect().await.into_split();
        write.write_all(beginning).await.unwrap();
        let mut pace = time::interval(Duration::from_millis(50));
        let dripping = async {
            loop {
                pace.tick().await;
                if write.write_all(b"A").await.is_err() {
                    return;
                }
            }
        };
        let mut answer = Vec::new();
        tokio::select! {
            () = dripping => {}
            _ = soon("the end", read.read_to_end(&mut answer)) => {}
        }
    });
    join_all(drips).await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_with_an_answer_under_way_outlasts_the_deadline() {
    let target = Target::start(&["--idle-deadline", "1"]).await;
    let (session, token) = target.session().await;
    let visitor = target.visitor().with_secret(&token);
    let stream = visitor.request(Method::GET, &format!("/sessions/{session}/events"));
    let mut stream = stream.send().await.unwrap();
    // Three times as long as a connection may be idle.
    let held = visitor.get(&format!("/responses/{session}?wait=3")).await;
    assert_eq!(held.data::<Value>()["responses"], json!([]));
    let later = json!({ "session_id": session, "message": "still there?" });
    visitor.post("/messages", &later).await.data::<Value>();
    let mut seen = String::new();
    while !seen.contains("still there?") {
        let piece = soon("an event", stream.chunk()).await.unwrap().expect("a stream");
        seen += &String::from_utf8_lossy(&piece);
    }
}

#[tokio::test]
async fn a_connection_is_used_again_within_the_deadline_and_closed_after_it() {
    let target = Target::start(&["--idle-deadline", "2"]).await;
    let mut stream = target.connect().await;
    for _ in 0..3 {
        assert!(is_served(&mut stream).await);
    }
    assert_eq!(rest(stream).await, "");
}

#[tokio::test]
async fn a_connection_is_closed_at_the_deadline_after_an_answer_that_took_longer() {
    let target = Target::start(&["--idle-deadline", "1"]).await;
    let (session, token) = target.session().await;
    let mut stream = target.connect().await;
    let request = format!(
        "GET /api/v1/responses/{session}?wait=3 HTTP/1.1\r\nHost: relay\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    soon("the answer", stream.readable()).await.unwrap();
    let answered = Instant::now();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answered.elapsed() < Duration::from_secs(8), "{:?}", answered.elapsed());
}

#[tokio::test]
async fn a_body_that_does_not_come_is_waited_for_ten_seconds() {
    let target = Target::start(&[]).await;
    let begun = Instant::now();
    let head = b"POST /api/v1/messages HTTP/1.1\r\nHost: relay\r\nContent-Length: 20\r\n\r\n{";
    let answer = target.exchange(head).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    let waited = begun.elapsed();
    assert!((10..20).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test]
async fn an_event_stream_that_is_never_read_is_closed() {
    const ENTRIES: usize = 400;
    const STREAMS: usize = 4;
    let target = Target::start(&["--write-deadline", "0.5"]).await;
    let (session, token) = target.session().await;
    let mut stuck = Vec::new();
    for _ in 0..STREAMS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let mut stream = socket.connect(target.address).await.unwrap();
        let request = format!(
            "GET /api/v1/sessions/{session}/events HTTP/1.1\r\nHost: relay\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.readable().await.unwrap();
        stuck.push(stream);
    }
    assert_eq!(target.count("event_streams").await, STREAMS as u64);
    let visitor = target.visitor().with_secret(&token);
    let text = "x".repeat(10_000);
    for _ in 0..ENTRIES / 50 {
        let sent = (0..50).map(async |_| {
            let message = json!({ "session_id": session, "message": text });
            let answer =
                Answer::to(visitor.request(Method::POST, "/messages").json(&message)).await;
            assert_eq!(answer.status, StatusCode::OK);
        });
        join_all(sent).await;
    }
    eventually("the streams' end", async || target.count("event_streams").await == 0).await;
    assert!(is_served(&mut target.connect().await).await);
}
