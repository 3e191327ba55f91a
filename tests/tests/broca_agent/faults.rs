//! A poller that is killed at any step, as `kill -9` would, queues nothing twice and loses nothing.

use postern_tests::{API_KEY, Process, TestRelay};
use rustix::process::Signal;

use crate::letta::TestLetta;
use crate::sanctum::{Processor, Sanctum};

/// The steps of a message through the poller, from before it is queued to after it was answered.
const STEPS: [&str; 6] = [
    "poller: Letta has made the identity",
    "poller: Letta has made the block",
    "poller: Broca's rows written, not committed",
    "poller: in Broca's queue",
    "poller: agent done, not journaled",
    "poller: outcome journaled, relay not told",
];

struct Bridge {
    relay: TestRelay,
    sanctum: Sanctum,
    letta: TestLetta,
}

impl Bridge {
    async fn start() -> Self {
        let relay = TestRelay::start().await;
        Self { relay, sanctum: Sanctum::filled(), letta: TestLetta::start().await }
    }

    /// A poller that dies at a step; an empty one never comes.
    fn poller(&self, step: &str) -> Process {
        let queue = self.sanctum.path().with_file_name("poller.db");
        let (relay, letta) = (self.relay.url(), self.letta.url());
        let mut args = vec!["run", "--relay", &relay, "--queue", queue.to_str().unwrap()];
        let flags = self.sanctum.flags(&["--letta-url", &letta]);
        args.extend(flags.iter().map(String::as_str));
        let fault = format!("{step}@1");
        let environment = [("POSTERN_API_KEY", API_KEY), ("POSTERN_FAULT", &fault)];
        Process::start_with("postern-poller", &args, &environment)
    }

    fn assert_queued_once(&self, step: &str) {
        assert_eq!(self.sanctum.messages(), ["Hi"], "{step}");
        assert_eq!(self.sanctum.queue(), ["completed"], "{step}");
        assert_eq!(self.letta.made(), (1, 1), "{step}");
    }
}

#[tokio::test]
async fn a_poller_that_is_killed_at_any_step_queues_a_message_once() {
    for step in STEPS {
        let bridge = Bridge::start().await;
        let mut visitor = bridge.relay.visitor();
        let _processor = Processor::echo(&bridge.sanctum);
        let dying = bridge.poller(step);
        visitor.send("Hi").await;
        let (status, log) = dying.end().await;
        assert_eq!(status.code(), None, "it was not killed at {step:?}: {log:?}");
        let _poller = bridge.poller("");
        assert_eq!(visitor.next_reply().await, "re Hi", "{step}");
        bridge.assert_queued_once(step);
    }
}

#[tokio::test]
async fn a_poller_that_is_killed_while_broca_works_gets_the_answer_when_it_is_back() {
    let bridge = Bridge::start().await;
    let mut visitor = bridge.relay.visitor();
    let poller = bridge.poller("");
    visitor.send("Hi").await;
    let work = bridge.sanctum.begins().await;
    poller.signal(Signal::KILL);
    poller.end().await;
    bridge.sanctum.complete(&work, "Good day");
    let _poller = bridge.poller("");
    assert_eq!(visitor.next_reply().await, "Good day");
    bridge.assert_queued_once("while Broca works");
}
