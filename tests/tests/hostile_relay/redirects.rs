//! Redirects: none is followed, so the key reaches nobody else.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use postern_poller::agent::ReplyFile;
use postern_poller::relay::{Relay, RelayError};
use postern_shared::{LeaseId, MessageId, SessionId};
use postern_tests::HostileRelay;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json};
use tokio::net::TcpListener;

use crate::support::{ECHO, Poller, calls, is_lease};

const REDIRECTS: [StatusCode; 5] = [
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];

fn redirect(status: StatusCode, to: &str) -> Response {
    (status, [(header::LOCATION, to)]).into_response()
}

#[tokio::test]
async fn no_call_follows_a_redirect() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = format!("http://{}/", elsewhere.local_addr().unwrap());
    let cloud = "http://169.254.169.254/latest/meta-data/";
    for to in [&there, cloud, "//localhost/", "file:///etc/passwd", "/elsewhere"] {
        for status in REDIRECTS {
            let to = to.to_owned();
            let mut relay = HostileRelay::start(move |_| Some(redirect(status, &to))).await;
            for (path, refusal) in every_call(&calls(&relay.url())).await {
                let refused = matches!(&refusal, RelayError::NotARelay(why)
                    if why.contains("redirects are not followed"));
                assert!(refused, "{status} {path}: {refusal:?}");
                relay.next_call(path).await;
            }
            assert!(relay.is_not_called(), "{status}: somebody was called once more");
        }
    }
    assert!(elsewhere.accept().now_or_never().is_none(), "somebody else was called");
}

/// Each call that a poller makes, and what became of it.
async fn every_call(relay: &Relay) -> Vec<(&'static str, RelayError)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "text").unwrap();
    let session: SessionId = "s".parse().unwrap();
    let lease: LeaseId = "l".parse().unwrap();
    let (message, no_wait) = (MessageId(1), Duration::ZERO);
    let chunk = read(json!({ "lease_id": "l", "offset": 0, "text": "" }));
    let nack = read(json!({ "lease_id": "l", "error": "" }));
    let reply = read(json!({ "session_id": "s", "response": "" }));
    let file = read(json!({ "id": "f", "name": "f", "type": "text/plain", "size_bytes": 4 }));
    let own: ReplyFile = read(json!({ "name": "f", "type": "text/plain", "path": path }));
    vec![
        ("/inbox/lease", relay.lease(1, no_wait, no_wait).await.unwrap_err()),
        ("/inbox/1/extend", relay.extend(message, lease, no_wait, no_wait).await.unwrap_err()),
        ("/inbox/1/chunks", relay.chunk(message, &chunk).await.unwrap_err()),
        ("/inbox/1/nack", relay.nack(message, &nack).await.unwrap_err()),
        ("/outbox", relay.reply(&reply, "key").await.unwrap_err()),
        ("/sessions/s/files/f", relay.download(&session, &file, &path).await.unwrap_err()),
        ("/sessions/s/files?name=f", relay.upload(&session, &own, "key").await.unwrap_err()),
        ("/inbox?limit=1", relay.peek().await.unwrap_err()),
        ("/health", relay.health().await.unwrap_err()),
    ]
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    from_value(value).unwrap()
}

#[tokio::test]
async fn a_redirect_is_told_in_the_log_and_waited_out() {
    let relay = HostileRelay::start(|call| {
        is_lease(call).then(|| redirect(StatusCode::FOUND, "http://169.254.169.254/"))
    });
    let relay = relay.await;
    let mut poller = Poller::start(&relay, ECHO);
    poller.process.line_with("status 302; redirects are not followed").await;
    relay.serves_once_it_is_honest().await;
}
