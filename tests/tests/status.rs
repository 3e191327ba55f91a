//! The visitor is told how things stand, by the poller's own calls and the lease alone.

use postern_relay::config::Limits;
use postern_shared::visitor::{Host, MessageState, Status};
use postern_tests::{Event, TestAgent, TestPoller, TestRelay, Visitor, short_leases};
use reqwest::StatusCode;

async fn next_status(visitor: &mut Visitor) -> Status {
    visitor.sees_status(|_| true).await
}

fn told(host: Host, message: Option<(postern_shared::MessageId, MessageState)>) -> Status {
    Status {
        host,
        message_id: message.map(|(id, _)| id),
        state: message.map(|(_, state)| state),
        progress: None,
    }
}

#[tokio::test]
async fn a_message_is_followed_from_waiting_to_its_reply() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let mut visitor = relay.visitor();
    let message = visitor.send("hi").await;
    let waiting = told(Host::Connected, Some((message, MessageState::Waiting)));
    assert_eq!(next_status(&mut visitor).await, waiting);
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let working = told(Host::Connected, Some((message, MessageState::Working)));
    visitor.sees_status(|status| *status == working).await;
    agent.next().await.fail(StatusCode::SERVICE_UNAVAILABLE);
    let retrying = told(Host::Connected, Some((message, MessageState::Retrying)));
    assert_eq!(next_status(&mut visitor).await, retrying);
    assert_eq!(next_status(&mut visitor).await, working);
    agent.replies("hello").await;
    assert_eq!(next_status(&mut visitor).await, told(Host::Connected, None));
}

#[tokio::test]
async fn a_message_that_is_given_up_is_told_as_failed() {
    let relay = TestRelay::with(Limits { max_attempts: 1, ..Limits::default() });
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitor = relay.visitor();
    let message = visitor.send("hi").await;
    visitor.sees_state(MessageState::Working).await;
    agent.next().await.fail(StatusCode::SERVICE_UNAVAILABLE);
    let failed = next_status(&mut visitor).await;
    assert_eq!(failed, told(Host::Connected, Some((message, MessageState::Failed))));
    let next = visitor.send("again").await;
    let next = visitor.sees_status(|status| status.message_id == Some(next)).await;
    assert_ne!(next.state, Some(MessageState::Failed));
}

#[tokio::test]
async fn a_lease_that_runs_out_unsticks_the_state_by_itself() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let flags = ["--agent", "http", "--http-url", &agent.url()];
    let mut poller = TestPoller::at(&relay.url(), &flags, short_leases());
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let _asked = agent.next().await;
    visitor.sees_state(MessageState::Working).await;
    poller.abort().await;
    visitor.sees_state(MessageState::Retrying).await;
}

#[tokio::test]
async fn a_host_that_stops_calling_is_away_and_comes_back_with_its_first_call() {
    let relay = TestRelay::start().await;
    let mut poller = TestPoller::start(&relay, &["--agent", "echo"]);
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    assert_eq!(visitor.next_reply().await, "hi");
    poller.stop().await;
    visitor.sees_status(|status| *status == told(Host::Away, None)).await;
    let kept = visitor.send("are you there?").await;
    let status = next_status(&mut visitor).await;
    assert_eq!(status, told(Host::Away, Some((kept, MessageState::Waiting))));
    let metrics = relay.operator_calls().request(reqwest::Method::GET, "/../../metrics");
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"postern_relay_host_connected{site="default"} 0"#), "{metrics}");
    poller.start_again();
    visitor.sees_status(|status| status.host == Host::Connected).await;
    assert_eq!(visitor.next_reply().await, "are you there?");
}

#[tokio::test]
async fn a_host_whose_agents_are_all_busy_is_there() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut busy = Vec::new();
    for _ in 0..8 {
        relay.visitor().send("keep busy").await;
        busy.push(agent.next().await);
    }
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    // Longer than the relay takes to call a host away that does not call.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(next_status(&mut visitor).await.host, Host::Connected);
}

#[tokio::test]
async fn an_agent_says_in_words_what_it_is_doing() {
    let relay = TestRelay::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let command = format!(
        "echo 'status: Searching the <archive>' >&2; until [ -e {} ]; do sleep 0.01; done;
         echo found; until [ -e {} ]; do sleep 0.01; done",
        one.to_string_lossy(),
        two.to_string_lossy(),
    );
    let _poller = TestPoller::start(&relay, &["--agent", "exec", "--exec", &command]);
    let mut visitor = relay.visitor();
    visitor.send("look it up").await;
    let progress = |words: Option<&str>| words.map(ToOwned::to_owned);
    let searching = progress(Some("Searching the <archive>"));
    visitor.sees_status(|status| status.progress == searching).await;
    let mut other_tab = visitor.other_tab();
    other_tab.sees_status(|status| status.progress == searching).await;
    std::fs::write(one, "").unwrap();
    // Text takes the place of the words.
    visitor.sees_status(|status| status.progress.is_none()).await;
    std::fs::write(two, "").unwrap();
    assert_eq!(visitor.next_reply().await, "found");
}

#[tokio::test]
async fn a_stream_tells_how_things_stand_when_it_opens() {
    let relay = TestRelay::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "echo"]);
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    assert_eq!(visitor.next_reply().await, "hi");
    visitor.hang_up();
    let first = visitor.next_event().await.unwrap();
    assert_eq!(first, Event::Status(told(Host::Connected, None)));
}
