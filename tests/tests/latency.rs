//! How long the whole way takes with nothing in between but Postern.

use std::time::{Duration, Instant};

use postern_tests::{TestPoller, TestRelay};

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
    took.sort();
    let (median, p99) = (took[MESSAGES / 2], took[MESSAGES * 99 / 100]);
    eprintln!(
        "POST /messages to the reply on the event stream, echo agent, {MESSAGES} messages: median {median:?}, p99 {p99:?}"
    );
    assert!(median < NO_TIMER, "something waits on a timer: median {median:?}");
}
