//! The bridge end to end: what a visitor says reaches a private agent, and its reply comes back.

use std::time::Duration;

use postern_shared::visitor::Role;
use postern_tests::{TestAgent, TestPoller, TestRelay, eventually, short_leases};
use reqwest::StatusCode;
use serde_json::json;

#[tokio::test]
async fn a_message_reaches_the_agent_and_its_reply_comes_back() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitor = relay.visitor();

    let message = visitor.send_with("hi & <hello> äöü 🦀", json!({ "page": "/prices" })).await;
    let question = agent.replies("hello \"you\" & <b>").await;
    assert_eq!(question.message, "hi & <hello> äöü 🦀");
    assert_eq!(question.metadata["page"], "/prices");
    assert_eq!(&question.session_id, visitor.session());
    assert_eq!(&question.uid, visitor.uid());

    let reply = visitor.next_reply_entry().await;
    assert_eq!(reply.text, "hello \"you\" & <b>");
    assert_eq!((reply.role, reply.message_id), (Role::Agent, Some(message)));
    let transcript = visitor.transcript().await;
    let texts: Vec<_> = transcript.messages.iter().map(|entry| entry.text.as_str()).collect();
    assert_eq!(texts, ["hi & <hello> äöü 🦀", "hello \"you\" & <b>"]);
}

#[tokio::test]
async fn replies_come_by_long_poll_as_well() {
    let relay = TestRelay::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "echo"]);
    let mut visitor = relay.visitor();
    visitor.send("one").await;
    let first = visitor.poll("wait=30").await;
    assert_eq!(first.responses[0].text, "one");
    visitor.send("two").await;
    let second = visitor.poll(&format!("wait=30&after={}", first.cursor)).await;
    assert_eq!(second.responses.len(), 1);
    assert_eq!(second.responses[0].text, "two");
}

#[tokio::test]
async fn one_session_is_answered_in_order_and_never_by_two_agents_at_once() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitor = relay.visitor();
    for text in ["one", "two", "three"] {
        visitor.send(text).await;
    }
    for text in ["one", "two", "three"] {
        let asked = agent.next().await;
        assert_eq!(asked.question.message, text);
        assert!(!agent.is_asked(), "the session has a second agent");
        asked.reply(&text.to_uppercase());
        assert_eq!(visitor.next_reply().await, text.to_uppercase());
    }
    assert_eq!(agent.overlaps(), 0);
}

#[tokio::test]
async fn sessions_are_answered_side_by_side_up_to_the_concurrency() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitors: Vec<_> = (0..9).map(|_| relay.visitor()).collect();
    for visitor in &mut visitors {
        visitor.send("hi").await;
    }
    let mut at_work = Vec::new();
    for _ in 0..8 {
        at_work.push(agent.next().await);
    }
    // The ninth waits at the relay, unleased, until one of the eight is done.
    let inbox: serde_json::Value = relay.poller_calls().get("/inbox").await.data();
    let unleased = inbox["messages"].as_array().unwrap().iter().filter(|m| m["attempts"] == 0);
    assert_eq!(unleased.count(), 1);
    assert!(!agent.is_asked());
    at_work.pop().unwrap().reply("done");
    agent.next().await.reply("done");
}

#[tokio::test]
async fn history_goes_with_each_question() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitor = relay.visitor();
    visitor.send("my name is Ada").await;
    assert!(agent.replies("hello Ada").await.history.is_empty());
    visitor.next_reply().await;
    visitor.send("what is my name?").await;
    let history = agent.replies("Ada").await.history;
    let said: Vec<_> = history.iter().map(|turn| turn.content.as_str()).collect();
    assert_eq!(said, ["my name is Ada", "hello Ada"]);
    assert_eq!(serde_json::to_value(&history).unwrap()[0]["role"], "user");
}

#[tokio::test]
async fn a_stream_resumes_after_its_cursor_with_nothing_lost_or_repeated() {
    let relay = TestRelay::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "echo"]);
    let mut visitor = relay.visitor();
    visitor.send("one").await;
    assert_eq!(visitor.next_reply().await, "one");
    visitor.hang_up();
    visitor.send("two").await;
    eventually("the reply while nobody listens", async || {
        visitor.transcript().await.messages.len() == 4
    })
    .await;
    assert_eq!(visitor.next_reply().await, "two");
    visitor.send("three").await;
    assert_eq!(visitor.next_reply().await, "three");
}

#[tokio::test]
async fn a_long_backlog_comes_whole_and_in_order() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    for number in 0..250 {
        visitor.send(&number.to_string()).await;
    }
    for number in 0..250 {
        assert_eq!(visitor.next_entry().await.unwrap().text, number.to_string());
    }
}

#[tokio::test]
async fn two_tabs_of_one_session_see_the_same() {
    let relay = TestRelay::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "echo"]);
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let mut tab = visitor.other_tab();
    assert_eq!(visitor.next_reply().await, "hi");
    assert_eq!(tab.next_entry().await.unwrap().role, Role::Visitor);
    assert_eq!(tab.next_entry().await.unwrap().role, Role::Agent);
}

#[tokio::test]
async fn a_failing_agent_is_asked_again_and_the_visitor_sees_one_reply() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    agent.next().await.fail(StatusCode::BAD_GATEWAY);
    agent.replies("hello after all").await;
    assert_eq!(visitor.next_reply().await, "hello after all");
    assert_eq!(visitor.transcript().await.messages.len(), 2);
}

#[tokio::test]
async fn a_message_the_agent_refuses_is_a_dead_letter_and_the_session_goes_on() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitor = relay.visitor();
    let refused = visitor.send("unanswerable").await;
    visitor.send("fine").await;
    agent.next().await.fail(StatusCode::UNPROCESSABLE_ENTITY);
    let notice = visitor.next_reply_entry().await;
    assert_eq!((notice.role, notice.message_id), (Role::System, Some(refused)));
    agent.replies("also fine").await;
    assert_eq!(visitor.next_reply().await, "also fine");
}

#[tokio::test]
async fn a_slow_agent_keeps_its_lease_by_heartbeat() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let url = agent.url();
    let flags = ["--agent", "http", "--http-url", &url];
    let _poller = TestPoller::at(&relay.url(), &flags, short_leases());
    let mut visitor = relay.visitor();
    visitor.send("take your time").await;
    let asked = agent.next().await;
    // Three leases long, a second poller gets nothing.
    let other = relay.poller_calls();
    let leased: serde_json::Value =
        other.post("/inbox/lease", &json!({ "wait_seconds": 3 })).await.data();
    assert_eq!(leased["messages"], json!([]));
    asked.reply("here it is");
    assert_eq!(visitor.next_reply().await, "here it is");
    assert!(!agent.is_asked());
}

#[tokio::test]
async fn a_poller_that_dies_with_a_message_is_succeeded_by_another() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let url = agent.url();
    let flags = ["--agent", "http", "--http-url", &url];
    let mut first = TestPoller::at(&relay.url(), &flags, short_leases());
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let lost = agent.next().await;
    first.abort().await;
    drop(lost);
    let _second = TestPoller::at(&relay.url(), &flags, short_leases());
    agent.replies("from the second").await;
    assert_eq!(visitor.next_reply().await, "from the second");
}

#[tokio::test]
async fn an_answer_journaled_while_the_relay_is_away_is_posted_and_not_asked_for_again() {
    let mut relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let url = agent.url();
    let flags = ["--agent", "http", "--http-url", &url];
    let mut poller = TestPoller::start(&relay, &flags);
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let asked = agent.next().await;
    relay.stop().await;
    asked.reply("written down");
    let queue = poller.queue();
    eventually("the journal", async || is_journaled(&queue)).await;
    poller.abort().await;
    relay.start_again();
    poller.start_again();
    assert_eq!(visitor.next_reply().await, "written down");
    assert!(!agent.is_asked(), "the agent was asked twice");
}

#[tokio::test]
async fn an_agent_whose_lease_cannot_be_renewed_is_ended_before_another_may_start() {
    let mut relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let url = agent.url();
    let flags = ["--agent", "http", "--http-url", &url];
    let _poller = TestPoller::at(&relay.url(), &flags, short_leases());
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let mut asked = agent.next().await;
    let begun = std::time::Instant::now();
    relay.stop().await;
    asked.is_abandoned().await;
    assert!(begun.elapsed() < short_leases().lease + Duration::from_millis(500));
    relay.start_again();
    agent.replies("second try").await;
    assert_eq!(visitor.next_reply().await, "second try");
    assert_eq!(agent.overlaps(), 0);
}

#[tokio::test]
async fn a_poller_that_ends_lets_its_agents_finish() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let url = agent.url();
    let mut poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &url]);
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let asked = agent.next().await;
    let ending = tokio::spawn(async move { poller.stop().await });
    tokio::task::yield_now().await;
    asked.reply("just in time");
    assert_eq!(visitor.next_reply().await, "just in time");
    ending.await.unwrap();
}

#[tokio::test]
async fn a_relay_that_comes_back_is_found_again() {
    let mut relay = TestRelay::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "echo"]);
    let mut visitor = relay.visitor();
    visitor.send("before").await;
    assert_eq!(visitor.next_reply().await, "before");
    relay.stop().await;
    assert!(visitor.next_entry().await.is_none(), "the stream goes on without a relay");
    relay.start_again();
    visitor.hang_up();
    visitor.send("after").await;
    assert_eq!(visitor.next_reply().await, "after");
}

#[tokio::test]
async fn shutting_down_ends_long_polls_and_streams_at_once() {
    let mut relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    visitor.listen().await;
    let poller = relay.poller_calls();
    let _leased = poller.post("/inbox/lease", &json!({})).await;
    let held = tokio::spawn(async move {
        let answer = poller.post("/inbox/lease", &json!({ "wait_seconds": 30 })).await;
        answer.data::<serde_json::Value>()
    });
    relay.operator_calls().sees_lease_calls_held(1).await;
    let begun = std::time::Instant::now();
    relay.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(held.await.unwrap()["messages"], json!([]));
    assert_eq!(visitor.next_entry().await.map(|entry| entry.text), Some("hi".to_owned()));
    assert_eq!(visitor.next_entry().await, None, "the stream goes on without a relay");
}

fn is_journaled(queue: &std::path::Path) -> bool {
    let connection = rusqlite::Connection::open(queue).expect("the queue");
    let sql = "SELECT count(*) FROM job WHERE state = 'answered'";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).is_ok_and(|jobs| jobs == 1)
}
