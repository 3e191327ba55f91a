//! A visitor stops a reply: the agent is ended within a second, and what was written stays.

use std::time::{Duration, Instant};

use postern_shared::ErrorType;
use postern_shared::visitor::{Entry, MessageState, Role};
use postern_tests::{TestAgent, TestPoller, TestRelay, eventually, short_leases};
use reqwest::StatusCode;
use serde_json::json;

/// How long it may take until an agent that was stopped is ended.
const AT_ONCE: Duration = Duration::from_secs(1);

fn assert_stopped(entry: &Entry, text: &str) {
    assert_eq!((entry.role, entry.stopped, entry.text.as_str()), (Role::Agent, true, text));
}

#[tokio::test]
async fn what_was_written_stays_as_the_reply() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitor = relay.visitor();
    let message = visitor.send("tell me everything").await;
    let writing = agent.next().await.begin();
    writing.write("First of all");
    visitor.sees_written("First of all").await;

    let stopped_at = Instant::now();
    assert_eq!(visitor.cancel(message).await.status, StatusCode::OK);
    visitor.sees_state(MessageState::Cancelled).await;
    writing.is_abandoned().await;
    assert!(stopped_at.elapsed() < AT_ONCE, "{:?}", stopped_at.elapsed());
    let reply = visitor.next_reply_entry().await;
    assert_stopped(&reply, "First of all");
    assert_eq!(reply.message_id, Some(message));
    assert_stopped(&visitor.transcript().await.messages[1], "First of all");

    // The conversation goes on, and the agent knows what was said.
    visitor.send("and then?").await;
    let question = agent.replies("Then this.").await;
    assert_eq!(question.history[1].content, "First of all");
    assert_eq!(visitor.next_reply().await, "Then this.");
}

#[tokio::test]
async fn an_agent_that_has_written_nothing_is_stopped_as_well() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitor = relay.visitor();
    let message = visitor.send("think hard").await;
    let mut asked = agent.next().await;
    let stopped_at = Instant::now();
    visitor.cancel(message).await;
    asked.is_abandoned().await;
    assert!(stopped_at.elapsed() < AT_ONCE, "{:?}", stopped_at.elapsed());
    assert_stopped(&visitor.next_reply_entry().await, "");
    visitor.send("something else").await;
    assert_eq!(agent.replies("sure").await.history, []);
}

#[tokio::test]
async fn a_program_is_asked_to_end_before_it_is_killed() {
    let relay = TestRelay::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("asked");
    let command = format!(
        "trap 'touch {}; exit 1' TERM; echo begun; while :; do sleep 0.05; done",
        mark.to_string_lossy()
    );
    let _poller = TestPoller::start(&relay, &["--agent", "exec", "--exec", &command]);
    let mut visitor = relay.visitor();
    let message = visitor.send("run").await;
    visitor.sees_written("begun\n").await;
    visitor.cancel(message).await;
    assert_stopped(&visitor.next_reply_entry().await, "begun");
    assert!(mark.exists(), "it was killed without being asked");
}

#[tokio::test]
async fn a_program_that_does_not_care_is_killed() {
    let relay = TestRelay::start().await;
    let command = "trap '' TERM; echo $$; while :; do sleep 0.05; done";
    let _poller = TestPoller::start(&relay, &["--agent", "exec", "--exec", command]);
    let mut visitor = relay.visitor();
    let message = visitor.send("run").await;
    visitor.sees_state(MessageState::Working).await;
    visitor.cancel(message).await;
    let pid = visitor.next_reply_entry().await.text;
    let folder = std::path::Path::new("/proc").join(pid.trim());
    eventually("the program's end", async || !folder.exists()).await;
}

#[tokio::test]
async fn a_message_that_waits_is_stopped_at_once() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let first = visitor.send("one").await;
    let second = visitor.send("two").await;
    visitor.cancel(second).await.data::<serde_json::Value>();
    assert_stopped(&visitor.next_reply_entry().await, "");
    visitor.cancel(first).await;
    assert_stopped(&visitor.next_reply_entry().await, "");
    assert_eq!(relay.poller_calls().lease(&json!({})).await, []);
}

#[tokio::test]
async fn stopping_a_later_message_leaves_the_earlier_one_its_lease() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitor = relay.visitor();
    visitor.send("one").await;
    let second = visitor.send("two").await;
    let asked = agent.next().await;
    visitor.cancel(second).await;
    assert_stopped(&visitor.next_reply_entry().await, "");
    assert_eq!(relay.poller_calls().lease(&json!({})).await, []);
    asked.reply("re one");
    assert_eq!(visitor.next_reply().await, "re one");
}

#[tokio::test]
async fn a_stop_is_not_forgotten_when_the_poller_dies() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let flags = ["--agent", "http", "--http-url", &agent.url()];
    let mut poller = TestPoller::at(&relay.url(), &flags, short_leases());
    let mut visitor = relay.visitor();
    let message = visitor.send("tell me").await;
    let writing = agent.next().await.begin();
    writing.write("so far");
    visitor.sees_written("so far").await;
    poller.abort().await;
    visitor.cancel(message).await;
    // The lease runs out, and the relay knows what was written.
    assert_stopped(&visitor.next_reply_entry().await, "so far");
    poller.start_again();
    visitor.send("next").await;
    assert_eq!(agent.replies("re next").await.message, "next");
}

#[tokio::test]
async fn a_stop_is_not_forgotten_when_the_relay_restarts() {
    let mut relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    let message = visitor.send("tell me").await;
    let leased = relay.poller_calls().lease(&json!({})).await;
    visitor.cancel(message).await;
    relay.stop().await;
    relay.start_again();
    let extend = json!({ "lease_id": leased[0].lease_id, "lease_seconds": 60, "wait_seconds": 30 });
    let extended = relay.poller_calls().post(&format!("/inbox/{message}/extend"), &extend).await;
    assert_eq!(extended.json()["data"]["cancelled"], true);
}

#[tokio::test]
async fn nobody_stops_what_is_not_theirs_or_is_over() {
    let relay = TestRelay::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "echo"]);
    let mut visitor = relay.visitor();
    let message = visitor.send("mine").await;
    assert_eq!(visitor.next_reply().await, "mine");
    let over = visitor.cancel(message).await.failure();
    assert_eq!(over.kind, ErrorType::AlreadyAnswered);

    let mut stranger = relay.visitor();
    stranger.send("theirs").await;
    let foreign = stranger.cancel(message).await.failure();
    assert_eq!((foreign.code, foreign.kind), (404, ErrorType::NotFound));
    let path = format!("/messages/{message}/cancel");
    assert_eq!(relay.stranger_calls().post(&path, &json!({})).await.failure().code, 401);
    assert_eq!(relay.poller_calls().post(&path, &json!({})).await.failure().code, 401);
}
