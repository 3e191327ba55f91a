//! Replies appear as they are written: whoever looks on sees the whole text so far and then the
//! rest, whatever restarts in between.

use postern_poller::poller::Pace;
use postern_relay::config::Limits;
use postern_shared::visitor::{MessageState, Role};
use postern_tests::{ChaosProxy, Event, TestAgent, TestPoller, TestRelay, Visitor, short_leases};

/// A relay, an agent that a test writes for, and a poller between them.
struct Stage {
    relay: TestRelay,
    agent: TestAgent,
    poller: TestPoller,
}

impl Stage {
    async fn set() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let relay = TestRelay::with(limits);
        let agent = TestAgent::start().await;
        let flags = ["--agent", "http", "--http-url", &agent.url()];
        let poller = TestPoller::at(&relay.url(), &flags, short_leases());
        Self { relay, agent, poller }
    }

    async fn visitor_who_asked(&self) -> Visitor {
        let mut visitor = self.relay.visitor();
        visitor.send("tell me").await;
        visitor
    }
}

#[tokio::test]
async fn a_reply_is_seen_by_every_tab_while_it_is_written() {
    let mut stage = Stage::set().await;
    let mut visitor = stage.visitor_who_asked().await;
    let mut other_tab = visitor.other_tab();
    other_tab.listen().await;
    let writing = stage.agent.next().await.begin();
    for (piece, so_far) in [("Grü", "Grü"), ("ße ", "Grüße "), ("🦀 & <b>", "Grüße 🦀 & <b>")]
    {
        writing.write(piece);
        visitor.sees_written(so_far).await;
        other_tab.sees_written(so_far).await;
    }
    drop(writing);
    for tab in [&mut visitor, &mut other_tab] {
        assert_eq!(tab.next_reply().await, "Grüße 🦀 & <b>");
    }
}

#[tokio::test]
async fn pieces_follow_on_each_other_and_the_reply_comes_once() {
    let mut stage = Stage::set().await;
    let mut visitor = stage.visitor_who_asked().await;
    let writing = stage.agent.next().await.begin();
    let words: Vec<_> = (0..200).map(|number| format!("wörd {number} ")).collect();
    let feed = async {
        for word in &words {
            writing.write(word);
            tokio::task::yield_now().await;
        }
        drop(writing);
    };
    let watch = async {
        let mut next_offset = 0;
        loop {
            match visitor.next_event().await.unwrap() {
                Event::Chunk(chunk) => {
                    assert_eq!(chunk.offset, next_offset);
                    next_offset += chunk.text.len() as u64;
                }
                Event::Message(entry) if entry.role == Role::Agent => return entry.text,
                _ => {}
            }
        }
    };
    let ((), reply) = tokio::join!(feed, watch);
    assert_eq!(reply, words.concat());
    let transcript = visitor.transcript().await;
    assert_eq!(transcript.messages.len(), 2);
}

#[tokio::test]
async fn who_comes_in_the_middle_gets_the_whole_text_so_far() {
    let mut stage = Stage::set().await;
    let mut visitor = stage.visitor_who_asked().await;
    let writing = stage.agent.next().await.begin();
    writing.write("once upon ");
    visitor.sees_written("once upon ").await;
    visitor.hang_up();
    writing.write("a time ");
    let mut other_tab = visitor.other_tab();
    other_tab.sees_written("once upon a time ").await;
    // Back after its last cursor, and a page that was loaded anew.
    visitor.sees_written("once upon a time ").await;
    writing.write("there was a gate");
    drop(writing);
    assert_eq!(visitor.next_reply().await, "once upon a time there was a gate");
    assert_eq!(other_tab.next_reply().await, "once upon a time there was a gate");
}

#[tokio::test]
async fn a_relay_that_restarts_in_the_middle_gets_what_it_lost() {
    let mut stage = Stage::set().await;
    let mut visitor = stage.visitor_who_asked().await;
    let writing = stage.agent.next().await.begin();
    writing.write("before ");
    visitor.sees_written("before ").await;
    stage.relay.stop().await;
    visitor.hang_up();
    writing.write("during ");
    stage.relay.start_again();
    visitor.sees_written("before during ").await;
    writing.write("after");
    visitor.sees_written("before during after").await;
    drop(writing);
    assert_eq!(visitor.next_reply().await, "before during after");
    assert!(!stage.agent.is_asked(), "the agent was asked again");
}

#[tokio::test]
async fn a_poller_that_restarts_in_the_middle_begins_the_reply_anew() {
    let mut stage = Stage::set().await;
    let mut visitor = stage.visitor_who_asked().await;
    let first = stage.agent.next().await.begin();
    first.write("a first try");
    visitor.sees_written("a first try").await;
    stage.poller.abort().await;
    first.is_abandoned().await;
    stage.poller.start_again();
    let second = stage.agent.next().await.begin();
    second.write("a second");
    visitor.sees_written("a second").await;
    second.write(" try");
    drop(second);
    assert_eq!(visitor.next_reply().await, "a second try");
    assert_eq!(visitor.transcript().await.messages.len(), 2);
}

#[tokio::test]
async fn a_way_to_the_relay_that_keeps_breaking_loses_and_doubles_no_piece() {
    let relay = TestRelay::start().await;
    let proxy = ChaosProxy::start(relay.address(), 4).await;
    let mut agent = TestAgent::start().await;
    let flags = ["--agent", "http", "--http-url", &agent.url()];
    let url = format!("http://{}", proxy.address());
    let _poller = TestPoller::at(&url, &flags, Pace::default());
    let mut visitor = relay.visitor();
    visitor.send("tell me").await;
    let writing = agent.next().await.begin();
    proxy.break_it();
    let mut so_far = String::new();
    for number in 0..60 {
        let word = format!("wörd {number}, ");
        writing.write(&word);
        so_far.push_str(&word);
        visitor.sees_written(&so_far).await;
    }
    drop(writing);
    assert_eq!(visitor.next_reply().await, so_far);
    assert!(proxy.faults() > 3, "only {} connections were broken", proxy.faults());
    assert!(!agent.is_asked(), "the agent was asked again");
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_written_anew() {
    let mut stage = Stage::set().await;
    let mut visitor = stage.visitor_who_asked().await;
    let first = stage.agent.next().await.begin();
    first.write("half of i");
    visitor.sees_written("half of i").await;
    first.break_off();
    visitor.sees_state(MessageState::Retrying).await;
    let second = stage.agent.next().await.begin();
    second.write("ha");
    visitor.sees_written("ha").await;
    second.write("lf and the rest");
    drop(second);
    assert_eq!(visitor.next_reply().await, "half and the rest");
}

#[tokio::test]
async fn a_reply_longer_than_the_relays_limit_ends_with_a_clear_failure() {
    let limits = Limits { max_reply_bytes: 1_000, ..Limits::default() };
    let mut stage = Stage::with(limits).await;
    let mut visitor = stage.visitor_who_asked().await;
    let writing = stage.agent.next().await.begin();
    writing.write(&"x".repeat(900));
    visitor.sees_written(&"x".repeat(900)).await;
    writing.write(&"x".repeat(200));
    writing.is_abandoned().await;
    let notice = visitor.next_reply_entry().await;
    assert_eq!(notice.role, Role::System);
    visitor.sees_state(MessageState::Failed).await;
    let dead = stage.relay.operator_calls().get("/deadletters").await.json();
    let error = dead["data"]["dead_letters"][0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("longer than 1000 bytes"), "{error}");
}

#[tokio::test]
async fn an_exec_agents_output_is_shown_line_by_line() {
    let relay = TestRelay::start().await;
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let command =
        format!("echo one; until [ -e {0} ]; do sleep 0.01; done; echo two", go.to_string_lossy());
    let _poller = TestPoller::start(&relay, &["--agent", "exec", "--exec", &command]);
    let mut visitor = relay.visitor();
    visitor.send("go").await;
    visitor.sees_written("one\n").await;
    std::fs::write(go, "").unwrap();
    assert_eq!(visitor.next_reply().await, "one\ntwo");
}
