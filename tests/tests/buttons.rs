//! What a visitor may click: the quick replies that an agent offers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use postern_shared::ErrorType;
use postern_shared::operator::SessionDetail;
use postern_shared::poller::ReplyStored;
use postern_shared::visitor::Entry;
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
