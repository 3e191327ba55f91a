//! What goes beside a body: queries, cursors, ids in paths, idempotency keys.

use postern_shared::{ErrorType, IDEMPOTENCY_KEY};
use postern_tests::{Answer, Caller, TestRelay, Visitor};
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::support::stored;

#[tokio::test]
async fn each_field_of_each_query_is_refused_by_name() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let (page, session) = (visitor.calls().clone(), visitor.session().clone());
    let (poller, operator) = (relay.poller_calls(), relay.operator_calls());
    let numbers = ["-1", "x", "", "1.5", "1e999", "4294967296", "18446744073709551616", "%FF"];
    let limits = [&numbers[..], &["0", "101"]].concat();
    let moments = ["", "yesterday", "2026-01-01", "1", "2026-01-01T00:00:00", "%FF"];
    let flags = ["", "1", "yes", "TRUE"];
    let rows: [(&Caller, String, &str, &[&str]); 10] = [
        (&page, format!("/responses/{session}"), "wait", &[&numbers[..], &["31"]].concat()),
        (&page, format!("/responses/{session}"), "since", &moments),
        (&page, format!("/sessions/{session}/messages"), "limit", &limits),
        (&poller, "/inbox".to_owned(), "limit", &limits),
        (&poller, "/inbox".to_owned(), "offset", &numbers),
        (&poller, "/inbox".to_owned(), "since", &moments),
        (&operator, "/sessions".to_owned(), "limit", &limits),
        (&operator, "/sessions".to_owned(), "offset", &numbers),
        (&operator, "/sessions".to_owned(), "active", &flags),
        (&operator, format!("/sessions/{session}"), "limit", &limits),
    ];
    for (caller, path, field, values) in rows {
        for value in values {
            let path = format!("{path}?{field}={value}");
            let failure = caller.get(&path).await.failure();
            let shown = format!("{path}: {}", failure.error);
            assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest), "{shown}");
            assert!(failure.error.starts_with(field), "{shown}");
        }
        let failure = caller.get(&format!("{path}?{field}=1&{field}=1")).await.failure();
        assert_eq!(failure.code, 400, "{path}: {field} twice");
        assert!(failure.error.contains(field), "{path}: {}", failure.error);
    }
}

#[tokio::test]
async fn a_cursor_that_was_never_given_out_is_unknown() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    // Further on in the store, but in another session.
    relay.visitor().send("hi").await;
    for cursor in ["2", "3", "9223372036854775807"] {
        assert_unknown_cursor(&visitor, cursor).await;
    }
}

#[tokio::test]
async fn a_cursor_that_is_none_is_unknown() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    for cursor in ["-1", "x", "1.5", "1e3", "9223372036854775808"] {
        assert_unknown_cursor(&visitor, cursor).await;
        let path = format!("/sessions/{}/messages?before={cursor}", visitor.session());
        let failure = visitor.calls().get(&path).await.failure();
        assert_eq!((failure.code, failure.kind), (400, ErrorType::UnknownCursor), "{cursor}");
        assert!(failure.error.starts_with("before "), "{}", failure.error);
    }
}

#[tokio::test]
async fn a_session_id_in_a_path_is_refused_by_name() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let long = "x".repeat(65);
    for id in ["a%20b", "%C3%A4", "a%2Fb", "a%00", "a%2E", "a.b", &long] {
        let answers = [
            visitor.calls().get(&format!("/responses/{id}")).await,
            visitor.calls().get(&format!("/sessions/{id}/events")).await,
            visitor.calls().get(&format!("/sessions/{id}/messages")).await,
            relay.operator_calls().get(&format!("/sessions/{id}")).await,
        ];
        for answer in answers {
            let failure = answer.failure();
            assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest), "{id}");
            assert!(failure.error.starts_with("session_id must be"), "{}", failure.error);
        }
    }
    let failure = visitor.calls().get("/responses/%FF").await.failure();
    assert_eq!((failure.code, failure.error.as_str()), (400, "the path is not valid UTF-8"));
}

#[tokio::test]
async fn a_message_id_in_a_path_is_refused_by_name() {
    let relay = TestRelay::start().await;
    let body =
        json!({ "lease_id": "x", "lease_seconds": 1, "error": "x", "offset": 0, "text": "x" });
    for id in ["x", "1.5", "-", "1e999", "0x1", "%31%20", "9223372036854775808"] {
        for call in ["extend", "chunks", "nack"] {
            let path = format!("/inbox/{id}/{call}");
            let failure = relay.poller_calls().post(&path, &body).await.failure();
            assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest), "{path}");
            assert!(failure.error.starts_with("message_id must be"), "{}", failure.error);
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_is_refused_by_name() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let before = stored(&relay).await;
    let message = json!({ "message": "hi" });
    let reply = json!({ "session_id": visitor.session(), "response": "hello" });
    let (stranger, poller) = (relay.stranger_calls(), relay.poller_calls());
    let long = "k".repeat(256);
    let odd =
        ["", "a key with blanks in it", "schlüssel-lang-genug", "tab\tbed-long-enough", &long];
    for key in odd {
        let key = HeaderValue::from_bytes(key.as_bytes()).unwrap();
        for (caller, path, body) in
            [(&stranger, "/messages", &message), (&poller, "/outbox", &reply)]
        {
            let request = caller.request(Method::POST, path).header(IDEMPOTENCY_KEY, &key);
            let failure = Answer::to(request.json(body)).await.failure();
            assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest), "{key:?}");
            assert!(failure.error.starts_with("Idempotency-Key must be"), "{}", failure.error);
        }
    }
    assert_eq!(stored(&relay).await, before);
    stranger.with_key(&long[1..]).post("/messages", &message).await.data::<Value>();
    poller.with_key(&long[1..]).post("/outbox", &reply).await.data::<Value>();
    poller.with_key("k").post("/outbox", &reply).await.data::<Value>();
}

#[tokio::test]
async fn a_key_that_can_be_guessed_opens_no_session() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let before = stored(&relay).await;
    let stranger = relay.stranger_calls();
    for (caller, body) in [
        (&stranger, json!({ "message": "hi" })),
        (&stranger, json!({ "message": "hi", "session_id": "mine" })),
        (visitor.calls(), json!({ "message": "hi" })),
    ] {
        let answer = caller.with_key("fifteen-chars-x").post("/messages", &body).await;
        let failure = answer.failure();
        assert_eq!((failure.code, failure.kind), (400, ErrorType::InvalidRequest));
        assert!(failure.error.starts_with("Idempotency-Key must have"), "{}", failure.error);
    }
    assert_eq!(stored(&relay).await, before);
    let body = json!({ "message": "two", "session_id": visitor.session() });
    visitor.calls().with_key("2").post("/messages", &body).await.data::<Value>();
    stranger
        .with_key("sixteen-chars-xx")
        .post("/messages", &json!({ "message": "hi" }))
        .await
        .data::<Value>();
}

#[tokio::test]
async fn a_key_that_can_be_guessed_opens_no_named_session_for_a_known_visitor_either() {
    let relay = TestRelay::start().await;
    let (mut visitor, mut thief) = (relay.visitor(), relay.visitor());
    visitor.send("hi").await;
    thief.send("hi").await;
    let body = json!({ "message": "hi", "session_id": "second" });
    let opened = visitor.calls().with_key("1").post("/messages", &body).await;
    let taken = thief.calls().with_key("1").post("/messages", &body).await;
    assert!(!taken.status.is_success(), "whoever guesses the key is given the session's token");
    assert_eq!(opened.failure().kind, ErrorType::InvalidRequest);
}

async fn assert_unknown_cursor(visitor: &Visitor, cursor: &str) {
    let (calls, session) = (visitor.calls(), visitor.session());
    let stream = format!("/sessions/{session}/events");
    let resumed = calls.request(Method::GET, &stream).header("last-event-id", cursor);
    for answer in [
        calls.get(&format!("/responses/{session}?after={cursor}")).await,
        calls.get(&format!("{stream}?after={cursor}")).await,
        Answer::to(resumed).await,
    ] {
        let failure = answer.failure();
        assert_eq!(failure.code, 400, "{cursor}");
        assert_eq!(failure.kind, ErrorType::UnknownCursor, "{cursor}: {}", failure.error);
    }
}
