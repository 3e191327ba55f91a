//! What each kind of refusal looks like, in full.

use futures_util::stream;
use insta::assert_json_snapshot;
use postern_shared::LeaseId;
use postern_shared::visitor::MessageAccepted;
use postern_tests::{Answer, TestRelay, soon};
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{answered, assert_refused, masked};

#[tokio::test]
async fn a_wrong_field_is_invalid_request() {
    let relay = TestRelay::start().await;
    let answer = relay.stranger_calls().post("/messages", &json!({ "message": 1 })).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_refused(&answer, StatusCode::BAD_REQUEST);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 400,
      "error": "message cannot be read: invalid type: integer `1`, expected a string at line 1 column 12",
      "success": false,
      "timestamp": "[time]",
      "type": "invalid_request"
    }
    "#);
}

#[tokio::test]
async fn a_cursor_beyond_the_end_is_unknown() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let path = format!("/responses/{}?after=4", visitor.session());
    let answer = visitor.calls().get(&path).await;
    assert_refused(&answer, StatusCode::BAD_REQUEST);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 400,
      "error": "the cursor, in after or Last-Event-ID, was not given out for this session",
      "success": false,
      "timestamp": "[time]",
      "type": "unknown_cursor"
    }
    "#);
}

#[tokio::test]
async fn a_call_without_a_credential_is_unauthorized() {
    let relay = TestRelay::start().await;
    let answer = relay.stranger_calls().get("/inbox").await;
    assert_refused(&answer, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 401,
      "error": "show a key: Authorization: Bearer …",
      "success": false,
      "timestamp": "[time]",
      "type": "unauthorized"
    }
    "#);
}

#[tokio::test]
async fn a_key_for_other_calls_is_forbidden() {
    let relay = TestRelay::start().await;
    let answer = relay.operator_calls().get("/inbox").await;
    assert_refused(&answer, StatusCode::FORBIDDEN);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 403,
      "error": "this key is not for this call",
      "success": false,
      "timestamp": "[time]",
      "type": "forbidden"
    }
    "#);
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let relay = TestRelay::start().await;
    for path in ["/nothing", "//", "//api", "//api/v1/", "//api/v2/messages", "/messages/1"] {
        let answer = relay.stranger_calls().get(path).await;
        assert_eq!(answer.failure().code, 404, "{path}");
    }
    assert_json_snapshot!(masked(&relay.stranger_calls().get("/nothing").await), @r#"
    {
      "code": 404,
      "error": "there is nothing at this path",
      "success": false,
      "timestamp": "[time]",
      "type": "not_found"
    }
    "#);
}

#[tokio::test]
async fn an_unknown_session_is_not_found() {
    let relay = TestRelay::start().await;
    let answer = relay.operator_calls().get("/sessions/nobody").await;
    assert_refused(&answer, StatusCode::NOT_FOUND);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 404,
      "error": "session_id names no session",
      "success": false,
      "timestamp": "[time]",
      "type": "not_found"
    }
    "#);
}

#[tokio::test]
async fn a_wrong_method_is_not_allowed() {
    let relay = TestRelay::start().await;
    let calls = relay.poller_calls();
    let wrong = [
        (Method::GET, "/messages"),
        (Method::PUT, "/messages"),
        (Method::POST, "/responses/s1"),
        (Method::DELETE, "/sessions/s1/events"),
        (Method::POST, "/inbox"),
        (Method::GET, "/inbox/lease"),
        (Method::GET, "/outbox"),
        (Method::PATCH, "/sessions/s1"),
        (Method::POST, "//health"),
        (Method::POST, "//widget.js"),
        (Method::GET, "//api/messages"),
    ];
    for (method, path) in wrong {
        let answer = Answer::to(calls.request(method.clone(), path)).await;
        assert_eq!(answer.failure().code, 405, "{method} {path}");
        assert!(answer.headers.contains_key("allow"), "{method} {path}");
    }
    assert_json_snapshot!(masked(&calls.get("/outbox").await), @r#"
    {
      "code": 405,
      "error": "this path does not take this method",
      "success": false,
      "timestamp": "[time]",
      "type": "method_not_allowed"
    }
    "#);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_a_timeout() {
    let relay = TestRelay::start().await;
    let silence = Body::wrap_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = relay.stranger_calls().request(Method::POST, "/messages").body(silence);
    let answer = soon("an answer to half a request", Answer::to(request)).await;
    assert_refused(&answer, StatusCode::REQUEST_TIMEOUT);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 408,
      "error": "the body did not arrive in time",
      "success": false,
      "timestamp": "[time]",
      "type": "request_timeout"
    }
    "#);
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large() {
    let relay = TestRelay::start().await;
    let body = json!({ "message": "x".repeat(64 * 1024) });
    let answer = relay.stranger_calls().post("/messages", &body).await;
    assert_refused(&answer, StatusCode::PAYLOAD_TOO_LARGE);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 413,
      "error": "the body is larger than 65536 bytes",
      "success": false,
      "timestamp": "[time]",
      "type": "payload_too_large"
    }
    "#);
}

#[tokio::test]
async fn a_message_in_the_wrong_state_is_a_conflict_that_says_which() {
    let relay = TestRelay::start().await;
    let poller = relay.poller_calls();
    relay.visitor().send("hi").await;
    let extend = |lease_id: &LeaseId| json!({ "lease_id": lease_id, "lease_seconds": 60 });
    let nack = |lease_id: &LeaseId| json!({ "lease_id": lease_id, "error": "busy" });

    let first = poller.lease(&json!({})).await.remove(0);
    poller.post("/inbox/1/nack", &nack(&first.lease_id)).await;
    let answer = poller.post("/inbox/1/extend", &extend(&first.lease_id)).await;
    assert_refused(&answer, StatusCode::CONFLICT);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 409,
      "error": "the message is not leased: lease it first",
      "success": false,
      "timestamp": "[time]",
      "type": "not_leased"
    }
    "#);

    let second = poller.lease(&json!({})).await.remove(0);
    let answer = poller.post("/inbox/1/extend", &extend(&first.lease_id)).await;
    assert_refused(&answer, StatusCode::CONFLICT);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 409,
      "error": "lease_id is not the message's latest lease: it ran out, and the message was leased again",
      "success": false,
      "timestamp": "[time]",
      "type": "stale_lease"
    }
    "#);

    let reply = json!({
        "session_id": second.session_id, "response": "hello", "message_id": 1,
        "lease_id": second.lease_id,
    });
    poller.post("/outbox", &reply).await.data::<Value>();
    let answer = poller.post("/inbox/1/extend", &extend(&second.lease_id)).await;
    assert_refused(&answer, StatusCode::CONFLICT);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 409,
      "error": "the message has been answered",
      "success": false,
      "timestamp": "[time]",
      "type": "already_answered"
    }
    "#);
}

#[tokio::test]
async fn a_dead_letter_says_so() {
    let relay = TestRelay::start().await;
    let poller = relay.poller_calls();
    relay.visitor().send("hi").await;
    let lease_id = poller.lease(&json!({})).await.remove(0).lease_id;
    let nack = json!({ "lease_id": lease_id, "error": "no", "dead_letter": true });
    assert_json_snapshot!(masked(&poller.post("/inbox/1/nack", &nack).await), @r#"
    {
      "data": {
        "dead_letter": true
      },
      "message": "Message given up",
      "success": true,
      "timestamp": "[time]"
    }
    "#);
    let answer = poller.post("/inbox/1/nack", &nack).await;
    assert_refused(&answer, StatusCode::CONFLICT);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 409,
      "error": "the message was given up and is a dead letter",
      "success": false,
      "timestamp": "[time]",
      "type": "dead_letter"
    }
    "#);
}

#[tokio::test]
async fn a_used_idempotency_key_with_another_body_is_a_mismatch() {
    let relay = TestRelay::start().await;
    let calls = relay.stranger_calls().with_key("a-key-of-some-length");
    calls.post("/messages", &json!({ "message": "one" })).await.data::<Value>();
    let answer = calls.post("/messages", &json!({ "message": "two" })).await;
    assert_refused(&answer, StatusCode::UNPROCESSABLE_ENTITY);
    assert_json_snapshot!(masked(&answer), @r#"
    {
      "code": 422,
      "error": "Idempotency-Key was used before with another body: take a new key",
      "success": false,
      "timestamp": "[time]",
      "type": "idempotency_mismatch"
    }
    "#);
}

#[tokio::test]
async fn a_store_that_cannot_write_is_unavailable_and_says_when_to_come_back() {
    let relay = TestRelay::start().await;
    let other = rusqlite::Connection::open(relay.file("relay.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let calls = relay.stranger_calls();
    let refused = calls.post("/messages", &json!({ "message": "hi" })).await;
    let health = calls.get("//health").await;
    other.execute_batch("ROLLBACK").unwrap();

    for answer in [&refused, &health] {
        assert_refused(answer, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers["retry-after"], "2");
    }
    assert_json_snapshot!(masked(&refused), @r#"
    {
      "code": 503,
      "error": "the relay cannot store anything now: try again shortly",
      "retry_after": 2,
      "success": false,
      "timestamp": "[time]",
      "type": "unavailable"
    }
    "#);
    let body = json!({ "message": "hi" });
    assert_eq!(calls.post("/messages", &body).await.data::<MessageAccepted>().message_id.0, 1);
}
