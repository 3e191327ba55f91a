//! Repeats: what is sent again is known, and answered as the first time.

use std::collections::HashSet;

use futures_util::future::join_all;
use postern_relay::maintenance::check;
use postern_shared::ErrorType;
use postern_shared::poller::{LeasedMessage, ReplyStored};
use postern_shared::visitor::{MessageAccepted, Transcript};
use postern_tests::{Answer, Caller, TestRelay};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{lease_one, open, reply_to};

/// As long as a key that opens a session must be.
const OPENING_KEY: &str = "0f8b2c1e-opening";

#[tokio::test]
async fn a_repeated_message_is_stored_once() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let calls = visitor.calls().with_key("again");
    let body = json!({
        "session_id": visitor.session(), "message": "two", "metadata": { "b": 1, "a": [2] },
    });
    let first: MessageAccepted = calls.post("/messages", &body).await.data();
    // The same body, written in another order.
    let same = format!(
        r#"{{"metadata":{{"a":[2],"b":1}},"message":"tw\u006f","session_id":"{}"}}"#,
        visitor.session()
    );
    let repeated: MessageAccepted = calls.post_bytes("/messages", same).await.data();
    assert_eq!(repeated, first);
    assert_eq!(visitor.transcript().await.messages.len(), 2);
    assert_eq!(open(&relay).await.pagination.total, 2);
}

#[tokio::test]
async fn a_repeat_is_known_however_much_was_said_since() {
    let mut relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let replies = relay.poller_calls();
    let hi = reply_to(&lease_one(&relay).await, "hello");
    replies.post("/outbox", &hi).await.data::<ReplyStored>();
    let say = async |turn: usize, text: &str| {
        let body = json!({ "session_id": visitor.session(), "message": text });
        visitor.calls().with_key(&format!("message-{turn}")).post("/messages", &body).await
    };
    let answer = async |turn: usize, leased: &LeasedMessage| {
        let calls = replies.with_key(&format!("reply-{turn}"));
        calls.post("/outbox", &reply_to(leased, "yes")).await
    };
    let mut turns = Vec::new();
    // More than a session's row has room for, and more than one row of earlier ones.
    for turn in 0..40 {
        let message: MessageAccepted = say(turn, "well?").await.data();
        let leased = lease_one(&relay).await;
        let reply: ReplyStored = answer(turn, &leased).await.data();
        turns.push((message, leased, reply));
    }
    for (turn, (message, leased, reply)) in turns.iter().enumerate() {
        assert_eq!(say(turn, "well?").await.data::<MessageAccepted>(), *message);
        assert_eq!(answer(turn, leased).await.data::<ReplyStored>(), *reply);
        assert_mismatch(&say(turn, "well!").await);
    }
    assert_eq!(open(&relay).await.pagination.total, 0);
    relay.stop().await;
    let report = check(&relay.file("relay.db"), &relay.file("relay.db.files")).unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
}

#[tokio::test]
async fn a_message_without_a_key_is_a_new_one_each_time() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let body = json!({ "session_id": visitor.session(), "message": "hi" });
    for _ in 0..2 {
        visitor.calls().post("/messages", &body).await.data::<Value>();
    }
    assert_eq!(visitor.transcript().await.messages.len(), 3);
}

#[tokio::test]
async fn a_message_under_a_used_key_with_another_body_is_refused() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let calls = visitor.calls().with_key("used");
    let session = visitor.session();
    let body = json!({ "session_id": session, "message": "two", "metadata": { "a": 1 } });
    calls.post("/messages", &body).await.data::<Value>();
    let others = [
        json!({ "session_id": session, "message": "two!", "metadata": { "a": 1 } }),
        json!({ "session_id": session, "message": "two ", "metadata": { "a": 1 } }),
        json!({ "session_id": session, "message": "two", "metadata": { "a": 2 } }),
        json!({ "session_id": session, "message": "two" }),
    ];
    for other in others {
        assert_mismatch(&calls.post("/messages", &other).await);
    }
    assert_eq!(visitor.transcript().await.messages.len(), 2);
}

#[tokio::test]
async fn a_repeated_reply_is_stored_once() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let leased = lease_one(&relay).await;
    let poller = relay.poller_calls().with_key("reply-1");
    let first: ReplyStored = poller.post("/outbox", &reply_to(&leased, "hello")).await.data();
    // The message is answered by now; a repeat is still told the first answer.
    let repeated = poller.post("/outbox", &reply_to(&leased, "hello")).await;
    assert_eq!(repeated.status, StatusCode::OK);
    assert_eq!(repeated.data::<ReplyStored>(), first);
    assert_eq!(visitor.poll("").await.responses.len(), 1);

    assert_mismatch(&poller.post("/outbox", &reply_to(&leased, "hello!")).await);
    let alone = json!({ "session_id": leased.session_id, "response": "hello" });
    assert_mismatch(&poller.post("/outbox", &alone).await);
    assert_eq!(visitor.poll("").await.responses.len(), 1);
}

#[tokio::test]
async fn a_second_reply_under_another_key_is_refused() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let leased = lease_one(&relay).await;
    let reply = reply_to(&leased, "hello");
    let poller = relay.poller_calls();
    poller.with_key("one").post("/outbox", &reply).await.data::<Value>();
    for second in [poller.with_key("two"), poller] {
        let failure = second.post("/outbox", &reply).await.failure();
        assert_eq!((failure.code, failure.kind), (409, ErrorType::AlreadyAnswered));
    }
    assert_eq!(visitor.poll("").await.responses.len(), 1);
}

#[tokio::test]
async fn a_reply_that_was_refused_leaves_its_key_free() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let poller = relay.poller_calls().with_key("reply-1");
    let early = json!({ "session_id": visitor.session(), "response": "hello", "message_id": 1 });
    let failure = poller.post("/outbox", &early).await.failure();
    assert_eq!(failure.kind, ErrorType::NotLeased);
    let leased = lease_one(&relay).await;
    poller.post("/outbox", &reply_to(&leased, "hello again")).await.data::<Value>();
}

#[tokio::test]
async fn repeats_are_known_after_the_relay_started_again() {
    let mut relay = TestRelay::start().await;
    let stranger = relay.stranger_calls().with_key(OPENING_KEY);
    let opening = json!({ "message": "hi" });
    let opened: MessageAccepted = stranger.post("/messages", &opening).await.data();
    let token = opened.session_token.as_deref().unwrap();
    let visitor = relay.stranger_calls().with_secret(token).with_key("second");
    let second = json!({ "session_id": opened.session_id, "message": "two" });
    let accepted: MessageAccepted = visitor.post("/messages", &second).await.data();
    let leased = lease_one(&relay).await;
    let poller = relay.poller_calls().with_key("reply-1");
    let replied: ReplyStored = poller.post("/outbox", &reply_to(&leased, "hello")).await.data();

    relay.stop().await;
    relay.start_again();
    let reopened: MessageAccepted = stranger.post("/messages", &opening).await.data();
    assert_eq!(without_token(reopened), without_token(opened));
    assert_eq!(visitor.post("/messages", &second).await.data::<MessageAccepted>(), accepted);
    let repeated = poller.post("/outbox", &reply_to(&leased, "hello")).await;
    assert_eq!(repeated.data::<ReplyStored>(), replied);
    assert_mismatch(&stranger.post("/messages", &json!({ "message": "ho" })).await);
    assert_mismatch(&poller.post("/outbox", &reply_to(&leased, "ho")).await);
    let transcript: Transcript =
        visitor.get(&format!("/sessions/{}/messages", accepted.session_id)).await.data();
    assert_eq!(transcript.messages.len(), 3);
}

#[tokio::test]
async fn a_lease_holds_over_a_restart() {
    let mut relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let leased = lease_one(&relay).await;
    relay.stop().await;
    relay.start_again();
    assert_eq!(relay.poller_calls().lease(&json!({})).await, []);
    relay.poller_calls().post("/outbox", &reply_to(&leased, "hello")).await.data::<Value>();
    assert_eq!(visitor.next_reply().await, "hello");
}

#[tokio::test]
async fn twenty_repeats_at_once_store_one_message_and_one_reply() {
    let relay = TestRelay::start().await;
    let stranger = relay.stranger_calls().with_key(OPENING_KEY);
    let opening = json!({ "message": "hi" });
    let opened = join_all((0..20).map(|_| stranger.post("/messages", &opening))).await;
    let opened: Vec<MessageAccepted> = opened.iter().map(Answer::data).collect();
    let tokens: HashSet<_> = opened.iter().map(|o| o.session_token.clone().unwrap()).collect();
    assert_eq!(tokens.len(), 20);
    for token in &tokens {
        let calls = relay.stranger_calls().with_secret(token);
        let path = format!("/sessions/{}/messages", opened[0].session_id);
        assert_eq!(calls.get(&path).await.data::<Transcript>().messages.len(), 1);
    }
    let opened: Vec<_> = opened.into_iter().map(without_token).collect();
    assert!(opened.iter().all(|other| *other == opened[0]), "{opened:?}");
    assert_eq!(open(&relay).await.pagination.total, 1);

    let leased = lease_one(&relay).await;
    let poller = relay.poller_calls().with_key("reply-1");
    let reply = reply_to(&leased, "hello");
    let replied = join_all((0..20).map(|_| poller.post("/outbox", &reply))).await;
    let replied: HashSet<i64> =
        replied.iter().map(|answer| answer.data::<ReplyStored>().response_id.0).collect();
    assert_eq!(replied.len(), 1);
    let session: Value =
        relay.operator_calls().get(&format!("/sessions/{}", leased.session_id)).await.data();
    assert_eq!(session["session"]["message_count"], 1);
    assert_eq!(session["session"]["response_count"], 1);
    assert_eq!(session["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_lost_opening_answer_is_made_good() {
    let relay = TestRelay::start().await;
    for (body, calls) in openings(&relay).await {
        let calls = calls.with_key(&format!("opening-key-of-{body}").replace(' ', "-"));
        let lost: MessageAccepted = calls.post("/messages", &body).await.data();
        let repeated: MessageAccepted = calls.post("/messages", &body).await.data();
        for accepted in [&lost, &repeated] {
            let token = accepted.session_token.as_deref().expect("a token");
            let calls = relay.stranger_calls().with_secret(token);
            let path = format!("/sessions/{}/messages", accepted.session_id);
            let transcript: Transcript = calls.get(&path).await.data();
            assert_eq!(transcript.messages.len(), 1, "{body}");
        }
        assert_eq!(without_token(repeated), without_token(lost), "{body}");
        let other = json!({ "session_id": body["session_id"], "message": "something else" });
        assert_mismatch(&calls.post("/messages", &other).await);
    }
}

#[tokio::test]
async fn an_opening_repeated_under_another_name_is_refused() {
    let relay = TestRelay::start().await;
    let stranger = relay.stranger_calls().with_key(OPENING_KEY);
    stranger
        .post("/messages", &json!({ "session_id": "s1", "message": "hi" }))
        .await
        .data::<Value>();
    let other = json!({ "session_id": "s2", "message": "hi" });
    assert_mismatch(&stranger.post("/messages", &other).await);
    let sessions: Value = relay.operator_calls().get("/sessions").await.data();
    assert_eq!(sessions["pagination"]["total"], 1);
}

#[tokio::test]
async fn a_taken_name_is_not_opened_by_a_new_key() {
    let relay = TestRelay::start().await;
    let body = json!({ "session_id": "s1", "message": "hi" });
    let stranger = relay.stranger_calls();
    stranger.with_key(OPENING_KEY).post("/messages", &body).await.data::<Value>();
    let failure = stranger.with_key("another-opening-key").post("/messages", &body).await.failure();
    assert_eq!((failure.code, failure.kind), (401, ErrorType::Unauthorized));
    assert_eq!(open(&relay).await.pagination.total, 1);
}

#[tokio::test]
async fn visitors_and_pollers_keys_do_not_clash() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let leased = lease_one(&relay).await;
    let message = json!({ "session_id": visitor.session(), "message": "hello" });
    let calls = visitor.calls().with_key("same-key");
    let message: MessageAccepted = calls.post("/messages", &message).await.data();
    let poller = relay.poller_calls().with_key("same-key");
    let reply: ReplyStored = poller.post("/outbox", &reply_to(&leased, "hello")).await.data();
    assert_ne!(reply.response_id, message.message_id);
    assert_eq!(visitor.transcript().await.messages.len(), 3);
}

#[tokio::test]
async fn sessions_keys_do_not_clash() {
    let relay = TestRelay::start().await;
    let mut visitors = [relay.visitor(), relay.visitor()];
    for visitor in &mut visitors {
        visitor.send("hi").await;
        let body = json!({ "session_id": visitor.session(), "message": "two" });
        let calls = visitor.calls().with_key("same-key");
        calls.post("/messages", &body).await.data::<Value>();
        assert_eq!(visitor.transcript().await.messages.len(), 2);
    }
}

/// Every way to open a session: unnamed, under a chosen name, and each with an earlier token.
async fn openings(relay: &TestRelay) -> Vec<(Value, Caller)> {
    let mut earlier = relay.visitor();
    earlier.send("before").await;
    let (stranger, known) = (relay.stranger_calls(), earlier.calls().clone());
    vec![
        (json!({ "message": "unnamed" }), stranger.clone()),
        (json!({ "message": "named", "session_id": "s1" }), stranger),
        (json!({ "message": "unnamed, known" }), known.clone()),
        (json!({ "message": "named, known", "session_id": "s2" }), known),
    ]
}

fn without_token(accepted: MessageAccepted) -> MessageAccepted {
    MessageAccepted { session_token: None, ..accepted }
}

#[track_caller]
fn assert_mismatch(answer: &Answer) {
    let failure = answer.failure();
    assert_eq!((failure.code, failure.kind), (422, ErrorType::IdempotencyMismatch));
    assert!(failure.error.starts_with("Idempotency-Key "), "{}", failure.error);
}
