//! What a visitor may click: the quick replies that an agent offers, and thumbs up or down.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use postern_shared::operator::{Ratings, SessionDetail, Sessions};
use postern_shared::poller::ReplyStored;
use postern_shared::visitor::{Entry, FeedbackTaken, Rating};
use postern_shared::{ErrorType, MessageId};
use postern_tests::{Answer, TestPoller, TestRelay, Visitor};
use serde_json::{Value, json};

/// An agent that offers two answers, and one that no relay would take.
const OFFERING: &str = "printf 'quick-reply: Yes\nquick-reply:\nquick-reply: No, \"thanks\"\n' >&2;
                        echo 'Shall I go on?'";

/// The session's last entry as the operator sees it.
async fn seen_by_operator(relay: &TestRelay, visitor: &Visitor) -> Entry {
    let path = format!("/sessions/{}", visitor.session());
    let mut detail: SessionDetail = relay.operator_calls().get(&path).await.data();
    detail.messages.pop().unwrap()
}

#[tokio::test]
async fn an_agents_quick_replies_come_with_its_reply_wherever_it_is_read() {
    let relay = TestRelay::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "exec", "--exec", OFFERING]);
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let told = visitor.next_reply_entry().await;
    assert_eq!(told.text, "Shall I go on?");
    assert_eq!(told.quick_replies, ["Yes", "No, \"thanks\""]);
    assert_eq!(visitor.poll("").await.responses, std::slice::from_ref(&told));
    assert_eq!(visitor.transcript().await.messages[1], told);
    assert_eq!(seen_by_operator(&relay, &visitor).await, told);
}

#[tokio::test]
async fn quick_replies_outlive_a_relay_that_is_away_and_a_poller_that_starts_again() {
    let mut relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let folder = tempfile::tempdir().unwrap();
    let (asked, go) = (folder.path().join("asked"), folder.path().join("go"));
    let (asked_path, go_path) = (asked.to_string_lossy(), go.to_string_lossy());
    let wait = format!("touch {asked_path}; until [ -e {go_path} ]; do sleep 0.01; done");
    let command = format!("{wait}; {OFFERING}; touch {asked_path}-done");
    let mut poller = TestPoller::start(&relay, &["--agent", "exec", "--exec", &command]);
    postern_tests::eventually("the agent is asked", async || asked.exists()).await;
    relay.stop().await;
    std::fs::write(&go, "").unwrap();
    let done = folder.path().join("asked-done");
    postern_tests::eventually("the agent is done", async || done.exists()).await;
    poller.stop().await;
    relay.start_again();
    std::fs::remove_file(&asked).unwrap();
    poller.start_again();
    assert_eq!(visitor.next_reply_entry().await.quick_replies, ["Yes", "No, \"thanks\""]);
    assert!(!asked.exists(), "the agent was asked again");
}

#[tokio::test]
async fn a_repeat_must_offer_the_same() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let poller = relay.poller_calls().with_key("a-reply-of-its-own");
    let post = async |quick_replies: Value| -> Answer {
        let body = json!({
            "session_id": visitor.session(), "response": "Shall I?", "quick_replies": quick_replies,
        });
        poller.post("/outbox", &body).await
    };
    let first: ReplyStored = post(json!(["Yes", "No"])).await.data();
    let again: ReplyStored = post(json!(["Yes", "No"])).await.data();
    assert_eq!(first, again);
    for other in [json!([]), json!(["Yes"]), json!(["No", "Yes"])] {
        assert_eq!(post(other).await.failure().kind, ErrorType::IdempotencyMismatch);
    }
}

/// A visitor who has a reply from the agent.
async fn answered(relay: &TestRelay) -> (Visitor, MessageId) {
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let body = json!({ "session_id": visitor.session(), "response": "hello" });
    let stored: ReplyStored = relay.poller_calls().post("/outbox", &body).await.data();
    (visitor, stored.response_id)
}

async fn rate(visitor: &Visitor, reply: MessageId, feedback: Value) -> Answer {
    visitor.calls().post(&format!("/messages/{reply}/feedback"), &feedback).await
}

async fn ratings(relay: &TestRelay) -> Vec<Ratings> {
    let list: Sessions = relay.operator_calls().get("/sessions").await.data();
    list.sessions.into_iter().map(|session| session.ratings).collect()
}

#[tokio::test]
async fn the_last_rating_of_a_reply_counts_and_null_takes_it_back() {
    let relay = TestRelay::start().await;
    let (visitor, reply) = answered(&relay).await;
    let (_, _) = answered(&relay).await;
    let steps = [
        (json!({ "rating": "up" }), Some(Rating::Up), (1, 0)),
        (json!({ "rating": "up" }), Some(Rating::Up), (1, 0)),
        (json!({ "rating": "down", "comment": " wrong & <b>" }), Some(Rating::Down), (0, 1)),
        (json!({ "rating": null }), None, (0, 0)),
        (json!({ "rating": null }), None, (0, 0)),
        (json!({ "rating": "down" }), Some(Rating::Down), (0, 1)),
    ];
    for (feedback, rating, (up, down)) in steps {
        let taken: FeedbackTaken = rate(&visitor, reply, feedback.clone()).await.data();
        assert_eq!(taken.rating, rating);
        let entry = visitor.transcript().await.messages.pop().unwrap();
        assert_eq!(entry.rating, rating);
        assert_eq!(entry.comment.as_deref(), feedback["comment"].as_str());
        assert_eq!(seen_by_operator(&relay, &visitor).await, entry);
        assert_eq!(ratings(&relay).await, [Ratings::default(), Ratings { up, down }]);
    }
}

#[tokio::test]
async fn a_rating_outlives_the_relay_and_no_event_tells_it() {
    let mut relay = TestRelay::start().await;
    let (mut visitor, reply) = answered(&relay).await;
    rate(&visitor, reply, json!({ "rating": "up" })).await.data::<Value>();
    relay.stop().await;
    relay.start_again();
    assert_eq!(visitor.next_reply_entry().await.rating, None);
    assert_eq!(visitor.poll("").await.responses[0].rating, None);
    assert_eq!(visitor.transcript().await.messages[1].rating, Some(Rating::Up));
}

#[tokio::test]
async fn only_a_reply_of_ones_own_session_can_be_rated() {
    let relay = TestRelay::start().await;
    let (visitor, reply) = answered(&relay).await;
    let (other, _) = answered(&relay).await;
    let up = json!({ "rating": "up" });
    let own_message = visitor.transcript().await.messages[0].id;
    for (caller, message) in [(&other, reply), (&visitor, own_message), (&visitor, MessageId(99))] {
        let failure = rate(caller, message, up.clone()).await.failure();
        assert_eq!((failure.code, failure.kind), (404, ErrorType::NotFound));
        assert_eq!(failure.error, "message_id names no reply of this session");
    }
    let path = format!("/messages/{reply}/feedback");
    for caller in [relay.stranger_calls(), relay.poller_calls(), relay.operator_calls()] {
        assert_eq!(caller.post(&path, &up).await.failure().code, 401);
    }
    let no_rating = rate(&visitor, reply, json!({ "rating": null, "comment": "why?" })).await;
    assert_eq!(no_rating.failure().error, "comment needs a rating");
    let long = rate(&visitor, reply, json!({ "rating": "up", "comment": "ü".repeat(1_001) })).await;
    assert_eq!(long.failure().error, "comment is longer than 1000 characters");
    assert_eq!(ratings(&relay).await, [Ratings::default(); 2]);
    let longest = json!({ "rating": "up", "comment": "ü".repeat(1_000) });
    rate(&visitor, reply, longest).await.data::<Value>();
}

#[tokio::test]
async fn the_metrics_count_ratings() {
    let relay = TestRelay::start().await;
    let (visitor, reply) = answered(&relay).await;
    for rating in ["up", "down", "up"] {
        rate(&visitor, reply, json!({ "rating": rating })).await.data::<Value>();
    }
    let metrics = relay.operator_calls().get("//metrics").await;
    let text = String::from_utf8(metrics.body).unwrap();
    for line in [r#"feedback_total{rating="up"} 2"#, r#"feedback_total{rating="down"} 1"#] {
        assert!(text.contains(&format!("postern_relay_{line}")), "{text}");
    }
}
