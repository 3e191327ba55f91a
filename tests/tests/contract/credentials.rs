//! Which credential opens which call, and no other.

use postern_shared::poller::Inbox;
use postern_shared::visitor::Transcript;
use postern_tests::{ADMIN_KEY, API_KEY, Answer, Caller, TestRelay};
use reqwest::Method;
use serde_json::json;

use crate::support::{answered, assert_wants_key, open, texts};

#[tokio::test]
async fn the_pollers_calls_want_the_pollers_key() {
    let relay = TestRelay::start().await;
    let token = open(&relay.stranger_calls(), "hi").await.session_token.unwrap();
    let calls = [
        (Method::GET, "/inbox"),
        (Method::POST, "/inbox/lease"),
        (Method::POST, "/inbox/1/extend"),
        (Method::POST, "/inbox/1/chunks"),
        (Method::POST, "/inbox/1/nack"),
        (Method::POST, "/outbox"),
        (Method::GET, "//api/inbox"),
        (Method::POST, "//api/outbox"),
    ];
    for (method, path) in calls {
        assert_wants_key(&relay, method, path, ADMIN_KEY, &token).await;
    }
    assert_eq!(relay.poller_calls().lease(&json!({})).await[0].attempts, 1);
}

#[tokio::test]
async fn the_operators_calls_want_the_operators_key() {
    let relay = TestRelay::start().await;
    let token = open(&relay.stranger_calls(), "hi").await.session_token.unwrap();
    for path in ["/sessions", "/sessions/s1", "//api/sessions", "//metrics"] {
        assert_wants_key(&relay, Method::GET, path, API_KEY, &token).await;
    }
}

#[tokio::test]
async fn the_visitors_calls_want_the_sessions_own_token() {
    let relay = TestRelay::start().await;
    let visitor = answered(&relay).await;
    let other = open(&relay.stranger_calls(), "hi").await.session_token.unwrap();
    let before = relay.poller_calls().get("/inbox").await.data::<Inbox>();
    let session = visitor.session();
    let message = json!({ "session_id": session, "message": "let me in" }).to_string();
    let calls = [
        (Method::GET, format!("/responses/{session}")),
        (Method::GET, format!("/sessions/{session}/events")),
        (Method::GET, format!("/sessions/{session}/messages")),
        (Method::GET, format!("//api/responses/{session}")),
        (Method::POST, "/messages".to_owned()),
        (Method::POST, "//api/messages".to_owned()),
    ];
    for (method, path) in calls {
        let call = async |caller: Caller| {
            let request = caller.request(method.clone(), &path).body(message.clone());
            let answer = Answer::to(request).await;
            answer.failure().code
        };
        let stranger = relay.stranger_calls();
        assert_eq!(call(stranger.clone()).await, 401, "{path} without a token");
        for unknown in ["unknown", API_KEY, ADMIN_KEY] {
            assert_eq!(call(stranger.with_secret(unknown)).await, 401, "{path} with {unknown}");
        }
        assert_eq!(call(stranger.with_secret(&other)).await, 403, "{path} of another session");
    }
    assert_eq!(relay.poller_calls().get("/inbox").await.data::<Inbox>(), before);
}

#[tokio::test]
async fn a_new_session_keeps_the_visitors_identity_by_an_earlier_token() {
    let relay = TestRelay::start().await;
    let first = open(&relay.stranger_calls(), "hi").await;
    assert!(first.is_new_user);
    let known = relay.stranger_calls().with_secret(first.session_token.as_deref().unwrap());
    let second = open(&known, "me again").await;
    assert_ne!(second.session_id, first.session_id);
    assert_ne!(second.session_token, first.session_token);
    assert_eq!((&second.uid, second.is_new_user), (&first.uid, false));

    let stranger = open(&relay.stranger_calls(), "somebody else").await;
    assert_ne!(stranger.uid, first.uid);
    assert!(stranger.is_new_user);
    let path = format!("/sessions/{}/messages", first.session_id);
    let transcript: Transcript = known.get(&path).await.data();
    assert_eq!(texts(&transcript.messages), ["hi"]);
}
