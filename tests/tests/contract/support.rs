//! What the tests of the wire share.

use std::collections::HashSet;

use futures_util::{Stream, StreamExt};
use postern_shared::operator::Sessions;
use postern_shared::visitor::{Entry, MessageAccepted};
use postern_shared::{FileId, LeaseId, SessionId, Timestamp, Uid};
use postern_tests::{API_KEY, Answer, Caller, TestRelay, Visitor};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sse_stream::SseStream;

/// Where a page that has the widget on it comes from.
pub(crate) const ORIGIN: &str = "https://page.example";

/// A session with a message, its reply, and one more reply.
pub(crate) async fn answered(relay: &TestRelay) -> Visitor {
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let poller = relay.poller_calls();
    let leased = poller.lease(&json!({})).await.remove(0);
    let reply = json!({
        "session_id": leased.session_id, "response": "hello", "message_id": leased.id,
        "lease_id": leased.lease_id,
    });
    poller.post("/outbox", &reply).await.data::<Value>();
    let more = json!({ "session_id": leased.session_id, "response": "anything else?" });
    poller.post("/outbox", &more).await.data::<Value>();
    visitor
}

pub(crate) async fn open(calls: &Caller, text: &str) -> MessageAccepted {
    calls.post("/messages", &json!({ "message": text })).await.data()
}

/// Checks a call that takes one of the two keys and nothing else.
pub(crate) async fn assert_wants_key(
    relay: &TestRelay,
    method: Method,
    path: &str,
    other_key: &str,
    token: &str,
) {
    let stranger = relay.stranger_calls();
    let bearer = |secret: &str| stranger.with_secret(secret).request(method.clone(), path);
    let raw = |value: &str| stranger.request(method.clone(), path).header("authorization", value);
    let rows = [
        ("none", stranger.request(method.clone(), path), 401),
        ("an unknown key", bearer("unknown-key-of-good-length"), 401),
        ("a session's token", bearer(token), 401),
        ("the key of others", bearer(other_key), 403),
        ("the start of a key", bearer(&API_KEY[..16]), 401),
        ("no scheme", raw(API_KEY), 401),
        ("another scheme", raw("Basic dXNlcjpwYXNz"), 401),
        ("an empty secret", raw("Bearer "), 401),
    ];
    for (shown, request, code) in rows {
        let answer = Answer::to(request).await;
        assert_eq!(answer.failure().code, code, "{method} {path} with {shown}");
    }
}

/// What a browser asks before a page's call.
pub(crate) fn preflight(calls: &Caller, path: &str) -> RequestBuilder {
    calls
        .request(Method::OPTIONS, path)
        .header("origin", ORIGIN)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,idempotency-key")
}

/// A header that lists words, in lower case.
pub(crate) fn words(answer: &Answer, header: &str) -> HashSet<String> {
    let list = answer.headers[header].to_str().expect("a list of words").to_lowercase();
    list.split(',').map(|word| word.trim().to_owned()).collect()
}

pub(crate) fn texts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.text.as_str()).collect()
}

pub(crate) fn names(list: &Sessions) -> Vec<&str> {
    list.sessions.iter().map(|session| session.id.as_str()).collect()
}

/// A stream's events as JSON, without its comments.
pub(crate) fn events(answer: reqwest::Response) -> impl Stream<Item = Value> {
    SseStream::from_bytes_stream(answer.bytes_stream()).filter_map(async |event| {
        let event = event.expect("an event");
        let mut data: Value = serde_json::from_str(&event.data?).expect("JSON");
        mask(&mut data);
        Some(json!({ "event": event.event, "id": event.id, "data": data }))
    })
}

#[track_caller]
pub(crate) fn assert_refused(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status);
    assert!(!answer.failure().error.is_empty());
}

/// A body with what differs from run to run put out of sight, once it has the right form.
pub(crate) fn masked(answer: &Answer) -> Value {
    let mut body = answer.json();
    mask(&mut body);
    body
}

pub(crate) fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "files" {
                    value.as_array_mut().into_iter().flatten().for_each(mask_file);
                    continue;
                }
                match value.as_str().and_then(|text| form(name, text)) {
                    Some(form) => *value = form.into(),
                    None => mask(value),
                }
            }
        }
        _ => {}
    }
}

fn mask_file(file: &mut Value) {
    assert!(file["id"].as_str().is_some_and(|id| id.parse::<FileId>().is_ok()), "{file}");
    file["id"] = "[file]".into();
}

pub(crate) fn form(name: &str, text: &str) -> Option<&'static str> {
    let (form, good) = match name {
        "timestamp" | "created_at" | "last_active" => {
            ("[time]", text.ends_with('Z') && text.parse::<Timestamp>().is_ok())
        }
        "session_id" | "id" => ("[session]", text.parse::<SessionId>().is_ok()),
        "uid" => ("[uid]", text.parse::<Uid>().is_ok()),
        "lease_id" => ("[lease]", text.parse::<LeaseId>().is_ok()),
        "session_token" => ("[token]", text.len() >= 32),
        "file_id" => ("[file]", text.parse::<FileId>().is_ok()),
        "version" => ("[version]", !text.is_empty()),
        _ => return None,
    };
    assert!(good, "{name} is {text:?}");
    Some(form)
}
