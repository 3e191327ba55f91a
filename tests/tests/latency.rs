//! How long the whole way takes with nothing in between but Postern.
//!
//! For figures that mean something: `cargo test --release --package postern-tests --test latency --
//! --nocapture --test-threads 1`, after `cargo build --release`.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use postern_poller::poller::Pace;
use postern_shared::visitor::Role;
use postern_tests::{Event, TestAgent, TestPoller, TestRelay, Visitor, Writing};
use tokio::time;

const MESSAGES: usize = 200;

/// A bound that only a timer in the path could break: several times what a busy machine takes, and
/// a fraction of the shortest poll interval anyone would choose.
const NO_TIMER: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_on_the_visitors_stream_in_milliseconds() {
    let relay = TestRelay::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "echo"]);
    let mut visitor = relay.visitor();
    visitor.send("warm").await;
    visitor.next_reply().await;
    let mut took = Vec::with_capacity(MESSAGES);
    for number in 0..MESSAGES {
        let begun = Instant::now();
        visitor.send(&number.to_string()).await;
        assert_eq!(visitor.next_reply().await, number.to_string());
        took.push(begun.elapsed());
    }
    let median = report("POST /messages to the reply on the event stream, echo agent", took);
    assert!(median < NO_TIMER, "something waits on a timer: median {median:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_first_words_are_on_the_visitors_stream_in_milliseconds() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let _poller = TestPoller::start(&relay, &["--agent", "http", "--http-url", &agent.url()]);
    let mut visitor = relay.visitor();
    let mut took = Vec::with_capacity(MESSAGES);
    for number in 0..MESSAGES {
        visitor.send("say something").await;
        let writing = agent.next().await.begin();
        let begun = Instant::now();
        writing.write(&number.to_string());
        visitor.sees_written(&number.to_string()).await;
        took.push(begun.elapsed());
        drop(writing);
        assert_eq!(visitor.next_reply().await, number.to_string());
    }
    let median = report("an agent's first byte to the event stream", took);
    assert!(median < NO_TIMER, "something waits on a timer: median {median:?}");
}

/// Many replies are written at the same time, each in pieces at a steady rate: nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_replies_are_written_at_once() {
    const REPLIES: usize = 200;
    const PIECES: u32 = 150;
    const BETWEEN_PIECES: Duration = Duration::from_millis(20);

    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let flags = ["--agent", "http", "--http-url", &agent.url()];
    let pace = Pace { concurrency: REPLIES, ..Pace::default() };
    let _poller = TestPoller::at(&relay.url(), &flags, pace);
    let begun = Instant::now();
    let mut at_work = Vec::with_capacity(REPLIES);
    let mut watching = Vec::with_capacity(REPLIES);
    for _ in 0..REPLIES {
        let mut visitor = relay.visitor();
        visitor.send("tell me a long story").await;
        let writing = agent.next().await.begin();
        visitor.listen().await;
        watching.push(tokio::spawn(delays(visitor, begun)));
        at_work.push(tokio::spawn(write(writing, begun, PIECES, BETWEEN_PIECES)));
    }
    join_all(at_work).await;
    let mut took = Vec::new();
    for seen in join_all(watching).await {
        let seen = seen.unwrap();
        assert_eq!(seen.len(), PIECES as usize);
        took.extend(seen);
    }
    report("an agent's piece to the event stream, 200 replies of 50 pieces a second", took);
}

/// Writes the moment of each piece's writing, a line each.
async fn write(writing: Writing, begun: Instant, pieces: u32, between: Duration) {
    let mut tick = time::interval(between);
    for _ in 0..pieces {
        tick.tick().await;
        writing.write(&format!("{}\n", begun.elapsed().as_micros()));
    }
}

/// How long each piece took to come: as part of a chunk, or at the latest with the reply.
async fn delays(mut visitor: Visitor, begun: Instant) -> Vec<Duration> {
    let (mut text, mut took) = (String::new(), Vec::new());
    loop {
        let (end, whole) = match visitor.next_event().await.expect("a stream that goes on") {
            Event::Chunk(chunk) => (false, format!("{text}{}", chunk.text)),
            Event::Message(entry) if entry.role == Role::Agent => (true, entry.text + "\n"),
            _ => continue,
        };
        assert!(whole.starts_with(&text), "a piece was lost or doubled");
        let written = whole[text.len()..].lines().map(|line| line.parse().expect("a moment"));
        took.extend(written.map(|at| begun.elapsed().saturating_sub(Duration::from_micros(at))));
        text = whole;
        if end {
            return took;
        }
    }
}

/// Prints the median and the tail; returns the median.
fn report(what: &str, mut took: Vec<Duration>) -> Duration {
    took.sort();
    let count = took.len();
    let (median, p99) = (took[count / 2], took[count * 99 / 100]);
    eprintln!("{what}, {count} times: median {median:?}, p99 {p99:?}, worst {:?}", took[count - 1]);
    median
}
