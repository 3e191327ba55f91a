//! Requests of a shape on which two programs might disagree: where one ends and the next begins.

use crate::support::{Target, rest};

use postern_shared::ErrorType;
use postern_tests::{Answer, soon};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a smuggler hides behind a request, for a relay that takes it for a request of its own.
const HIDDEN: &str = "GET /health HTTP/1.1\r\nHost: relay\r\n\r\n";

#[tokio::test]
async fn a_request_that_could_be_read_in_two_ways_is_the_last_of_its_connection() {
    let target = Target::start(&[]).await;
    let heads = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X-Folded: one\r\n two\r\n",
        "Content-Length : 5\r\n",
        "X-Null: a\0b\r\n",
        "X Space: a\r\n",
        "X-Return: a\rb\r\n",
        ": nameless\r\n",
    ];
    for head in heads {
        let request =
            format!("POST /nothing HTTP/1.1\r\nHost: relay\r\n{head}\r\n0\r\n\r\n{HIDDEN}");
        let answers = target.exchange(request.as_bytes()).await;
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answers}");
        let status = answers.split(' ').nth(1).unwrap();
        assert!(["400", "404"].contains(&status), "{head:?}: {answers}");
    }
}

#[tokio::test]
async fn a_broken_chunk_ends_the_connection() {
    let target = Target::start(&[]).await;
    let bodies = [
        "5\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n5",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "ffffffffffffffff0\r\nhello\r\n0\r\n\r\n",
        "5;a=\nb\r\nhello\r\n0\r\n\r\n",
    ];
    for body in bodies {
        let request = format!(
            "POST /api/v1/messages HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n\
             {body}{HIDDEN}"
        );
        let answers = target.exchange(request.as_bytes()).await;
        assert!(answers.matches("HTTP/1.1 ").count() <= 1, "{body:?}: {answers}");
        assert!(!answers.contains(" 200 "), "{body:?}: {answers}");
    }
}

#[tokio::test]
async fn a_bare_line_feed_ends_a_line_and_hides_nothing() {
    let target = Target::start(&["--idle-deadline", "2"]).await;
    let request = "GET /nothing HTTP/1.1\nHost: relay\nContent-Length: 0\n\n";
    let answers = target.exchange(request.as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 404").count(), 1, "{answers}");
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let target = Target::start(&["--idle-deadline", "0.3"]).await;
    let odd: [&[u8]; 9] = [
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: relay\r\n\r\n",
        b"GET / a HTTP/1.1\r\nHost: relay\r\n\r\n",
        b"G\0T / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\xff\xff\xff\xff\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ];
    for bytes in odd {
        let answer = target.exchange(bytes).await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 400");
        assert!(refused, "{}: {answer}", bytes.escape_ascii());
    }
}

#[tokio::test]
async fn a_head_has_a_largest_size() {
    let target = Target::start(&["--idle-deadline", "3"]).await;
    let long_line = "x".repeat(70_000);
    let many_lines: String = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect();
    let heads = [
        (format!("GET /{long_line} HTTP/1.1\r\nHost: relay\r\n\r\n"), ["414", "431"]),
        (format!("GET / HTTP/1.1\r\nHost: relay\r\nX-Long: {long_line}\r\n\r\n"), ["431", "431"]),
        (format!("GET / HTTP/1.1\r\nHost: relay\r\n{many_lines}\r\n"), ["431", "431"]),
    ];
    for (head, statuses) in heads {
        let mut stream = target.connect().await;
        // The relay may have closed before all of it is written.
        let _ = stream.write_all(head.as_bytes()).await;
        let answer = rest(stream).await;
        let status = answer.split(' ').nth(1).unwrap_or("none").to_owned();
        assert!(statuses.contains(&status.as_str()), "{:.60}: {answer}", head);
    }
}

#[tokio::test]
async fn whoever_talks_into_its_event_stream_is_not_listened_to() {
    let target = Target::start(&[]).await;
    let (session, token) = target.session().await;
    let mut stream = target.connect().await;
    let request = format!(
        "GET /api/v1/sessions/{session}/events HTTP/1.1\r\nHost: relay\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\n\n\r\n") {
        seen.push(soon("the stream's beginning", stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8_lossy(&seen);
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("connection: close"), "{head}");
    stream.write_all(HIDDEN.as_bytes()).await.unwrap();
    let rest = rest(stream).await;
    assert!(!rest.contains("HTTP/1.1"), "{rest}");
}

#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let target = Target::start(&[]).await;
    let (session, token) = target.session().await;
    let calls = target.visitor().with_secret(&token);
    let upload = format!("/sessions/{session}/files?name=a.txt");
    for encoding in ["gzip", "br", "deflate", "zstd", "GZIP", "identity, gzip", ""] {
        for path in ["/messages", &upload] {
            let call = calls.request(Method::POST, path).header("content-type", "text/plain");
            let call = call.header("content-encoding", encoding).body("{\"message\":\"hi\"}");
            let failure = Answer::to(call).await.failure();
            let seen = (failure.code, failure.kind);
            assert_eq!(seen, (415, ErrorType::UnsupportedEncoding), "{path}: {encoding}");
        }
    }
    let plain = calls.request(Method::POST, &upload).header("content-type", "text/plain");
    let plain = Answer::to(plain.header("content-encoding", "identity").body("hi")).await;
    assert_eq!(plain.status, 200);
}
