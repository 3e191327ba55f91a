//! HTTP/2: many requests on one connection, taken back as fast as they are made.

use axum::body::Bytes;
use axum::http::{Request, StatusCode, Version};
use h2::Reason;
use h2::client::{self, SendRequest};
use postern_tests::soon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use crate::support::{Target, is_served};

/// A connection of HTTP/2, and how it ends.
async fn connect(target: &Target) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = target.connect().await;
    let (requests, connection) = client::handshake(stream).await.unwrap();
    (requests.ready().await.unwrap(), tokio::spawn(connection))
}

fn get(target: &Target, path: &str) -> Request<()> {
    let uri = format!("http://{}{path}", target.address);
    Request::builder().uri(uri).version(Version::HTTP_2).body(()).unwrap()
}

#[tokio::test]
async fn requests_are_answered_over_http_2() {
    let target = Target::start(&[]).await;
    let (mut requests, _connection) = connect(&target).await;
    let (answer, _) = requests.send_request(get(&target, "/health"), true).unwrap();
    assert_eq!(soon("an answer", answer).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_with_a_stream_is_not() {
    let target = Target::start(&["--idle-deadline", "1"]).await;
    let (session, token) = target.session().await;
    let (mut requests, connection) = connect(&target).await;
    let mut ask = |path: &str| {
        let mut request = get(&target, path);
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        requests.send_request(request, true).unwrap().0
    };
    let stream = ask(&format!("/api/v1/sessions/{session}/events"));
    let stream = soon("the stream", stream).await.unwrap();
    let held = ask(&format!("/api/v1/responses/{session}?wait=3"));
    assert_eq!(soon("the held call", held).await.unwrap().status(), StatusCode::OK);
    assert!(!connection.is_finished());
    drop(stream);
    soon("the connection's end", connection).await.unwrap().ok();
}

#[tokio::test]
async fn one_connection_has_so_many_requests_under_way() {
    let target = Target::start(&[]).await;
    let (mut requests, _connection) = connect(&target).await;
    let (answer, _) = requests.send_request(get(&target, "/health"), true).unwrap();
    soon("an answer", answer).await.unwrap();
    assert_eq!(requests.current_max_send_streams(), 64);
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_cost_nobody_else_anything() {
    let target = Target::start(&[]).await;
    let (mut requests, connection) = connect(&target).await;
    let mut made = 0;
    while made < 20_000 && !connection.is_finished() {
        let Ok(ready) = requests.clone().ready().await else { break };
        requests = ready;
        let Ok((_, mut stream)) = requests.send_request(get(&target, "/health"), false) else {
            break;
        };
        stream.send_reset(Reason::CANCEL);
        made += 1;
    }
    eprintln!("{made} requests were made and taken back");
    assert!(is_served(&mut target.connect().await).await);
}

#[tokio::test]
async fn a_head_has_a_largest_size() {
    let target = Target::start(&[]).await;
    let (mut requests, _connection) = connect(&target).await;
    let mut request = get(&target, "/health");
    request.headers_mut().insert("x-long", "x".repeat(20_000).parse().unwrap());
    let (answer, _) = requests.send_request(request, true).unwrap();
    match soon("an answer", answer).await {
        Ok(answer) => assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(refused) => assert!(refused.is_reset() || refused.is_go_away(), "{refused}"),
    }
}

#[tokio::test]
async fn headers_that_go_on_for_ever_end_the_connection() {
    let target = Target::start(&[]).await;
    let mut stream = target.connect().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).await.unwrap();
    // HEADERS without END_HEADERS, then CONTINUATION without end, each with a header of its own.
    stream.write_all(b"\0\0\x01\x01\0\0\0\0\x01\x82").await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let flooding = async {
        while write.write_all(b"\0\0\x06\x09\0\0\0\0\x01\x00\x01a\x02bc").await.is_ok() {}
    };
    let mut answer = Vec::new();
    let reading = async {
        let _ = read.read_to_end(&mut answer).await;
    };
    soon("the connection's end", async {
        tokio::select! { () = flooding => {} () = reading => {} }
    })
    .await;
    assert!(is_served(&mut target.connect().await).await);
}
