//! The host's clock is set while Postern runs, or between two runs: by an hour, either way.
//!
//! The processes see a clock that the test sets, by libfaketime; where it is not installed these
//! tests say so. `FAR` is how far the clock jumps; every wait here is of seconds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_shared::Timestamp;
use postern_shared::poller::LeasedMessage;
use postern_shared::visitor::{Entry, MessageAccepted, Responses, Transcript};
use postern_tests::faults::{HostClock, listening, poller_args, relay_args};
use postern_tests::{API_KEY, Caller, Process, TestAgent, TestRelay, eventually};
use reqwest::StatusCode;
use rustix::process::{Signal, geteuid};
use serde_json::{Value, json};

/// How far the clock jumps, in seconds.
const FAR: i64 = 3_600;

/// Long enough for a lease of a second to run out, and far from [`FAR`].
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn leases_and_order_do_not_follow_the_relays_clock() {
    tokio::join!(leases_and_order_hold(FAR), leases_and_order_hold(-FAR));
}

async fn leases_and_order_hold(jump: i64) {
    let Some(stage) = Stage::start().await else { return };
    let first = stage.accept("first").await;
    let leased = stage.lease(json!({ "lease_seconds": 30, "limit": 1 })).await;
    let second = stage.accept("second").await;
    stage.clock.jump(jump);
    let third = stage.accept("third").await;

    assert_eq!(ids(&stage.lease(json!({})).await), [second.message_id, third.message_id]);
    assert!(stage.lease(json!({ "wait_seconds": 1 })).await.is_empty(), "the lease broke");
    stage.clock.jump(0);
    let path = format!("/inbox/{}/extend", first.message_id);
    let extend = json!({ "lease_id": leased[0].lease_id, "lease_seconds": 30 });
    assert_eq!(stage.poller().post(&path, &extend).await.status, StatusCode::OK);
    stage.answer(&leased[0], "late by one clock, not by the other").await;
    assert_eq!(
        texts(&stage.transcript(&first).await),
        ["first", "late by one clock, not by the other"]
    );
}

#[tokio::test]
async fn a_lease_runs_out_and_a_retry_comes_in_seconds_wherever_the_clock_is_set() {
    tokio::join!(a_lease_and_a_retry_end_in_time(FAR), a_lease_and_a_retry_end_in_time(-FAR));
}

async fn a_lease_and_a_retry_end_in_time(jump: i64) {
    let Some(stage) = Stage::start().await else { return };
    let message = stage.accept("hi").await;
    let leased = stage.lease(json!({ "lease_seconds": 1 })).await;
    assert_eq!(ids(&leased), [message.message_id]);
    stage.clock.jump(jump);
    let again = stage.lease_soon().await;
    assert_eq!((again[0].id, again[0].attempts), (message.message_id, 2));

    let path = format!("/inbox/{}/nack", message.message_id);
    let nack = json!({ "lease_id": again[0].lease_id, "error": "not now",
                       "retry_after_seconds": 1 });
    stage.poller().post(&path, &nack).await.data::<Value>();
    stage.clock.jump(-jump);
    let again = stage.lease_soon().await;
    assert_eq!((again[0].id, again[0].attempts), (message.message_id, 3));
}

#[tokio::test]
async fn a_relay_whose_clock_was_set_while_it_was_down_keeps_order_and_delays_nothing() {
    tokio::join!(order_outlives_a_restart(FAR), order_outlives_a_restart(-FAR));
}

async fn order_outlives_a_restart(jump: i64) {
    let Some(mut stage) = Stage::start().await else { return };
    let given_back = stage.accept("given back").await;
    let leased = stage.lease(json!({ "lease_seconds": 30 })).await;
    let path = format!("/inbox/{}/nack", given_back.message_id);
    let nack = json!({ "lease_id": leased[0].lease_id, "error": "not now",
                       "retry_after_seconds": 2 });
    stage.poller().post(&path, &nack).await.data::<Value>();
    let mut waiting = Vec::new();
    for text in ["one", "two", "three"] {
        waiting.push(stage.accept(text).await);
    }
    stage.restart_at(jump).await;
    waiting.push(stage.accept("after the jump").await);

    let mut leased = stage.lease(json!({ "limit": 1 })).await;
    let begun = Instant::now();
    while leased.len() < 1 + waiting.len() {
        leased.extend(stage.lease(json!({ "limit": 1, "wait_seconds": 5 })).await);
        assert!(begun.elapsed() < 2 * SOON, "{leased:?}");
    }
    let order: Vec<_> =
        ids(&leased).into_iter().filter(|id| *id != given_back.message_id).collect();
    assert_eq!(order, waiting.iter().map(|one| one.message_id).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lease_outlives_a_restart_at_another_time() {
    // Set forward, the relay cannot tell the jump from a long time down: the lease runs out, and
    // still the answer counts unless the message was given to another.
    let (holds, runs_out) = (true, false);
    tokio::join!(
        a_lease_is_answered(-FAR, holds),
        a_lease_is_answered(0, holds),
        a_lease_is_answered(FAR, runs_out),
    );
}

async fn a_lease_is_answered(jump: i64, holds: bool) {
    let Some(mut stage) = Stage::start().await else { return };
    let message = stage.accept("hi").await;
    let leased = stage.lease(json!({ "lease_seconds": 30 })).await;
    stage.restart_at(jump).await;
    if holds {
        assert!(stage.lease(json!({})).await.is_empty(), "the lease broke at {jump}");
    }
    stage.answer(&leased[0], "hello").await;
    assert_eq!(texts(&stage.transcript(&message).await), ["hi", "hello"]);
    assert!(stage.lease(json!({})).await.is_empty(), "an answered message came again");
}

#[tokio::test]
async fn a_visitor_misses_nothing_and_sees_nothing_twice_when_the_clock_jumps() {
    tokio::join!(a_conversation_stays_whole(FAR), a_conversation_stays_whole(-FAR));
}

async fn a_conversation_stays_whole(jump: i64) {
    let Some(mut stage) = Stage::start().await else { return };
    let visitor = stage.accept("0").await;
    let before = Timestamp::now();
    let mut cursor = None;
    for turn in 0..6 {
        let leased = stage.lease_soon().await;
        match turn {
            0 => {}
            1 => stage.clock.jump(jump),
            2 => stage.clock.jump(0),
            3 => stage.restart_at(jump).await,
            _ => stage.restart_at(0).await,
        }
        stage.answer(&leased[0], &format!("re {turn}")).await;
        let seen = stage.responses(&visitor, &cursor).await;
        assert_eq!(texts(&seen.responses), [format!("re {turn}")]);
        cursor = Some(format!("after={}", seen.cursor));
        stage.say(&visitor, &(turn + 1).to_string()).await;
    }
    let transcript = stage.transcript(&visitor).await;
    let told: Vec<_> = (0..6).flat_map(|n| [n.to_string(), format!("re {n}")]).collect();
    assert_eq!(texts(&transcript)[..12], told);
    assert!(transcript.is_sorted_by_key(|entry| entry.id));
    assert!(!transcript.is_sorted_by_key(|entry| entry.timestamp), "the clock did not jump");

    // From a moment on, whoever asks gets every entry of that moment or later.
    for entry in transcript.iter().filter(|entry| entry.text.starts_with("re ")) {
        let since = Some(format!("since={}", entry.timestamp));
        let found = stage.responses(&visitor, &since).await.responses;
        let hidden: Vec<_> = transcript
            .iter()
            .filter(|other| other.text.starts_with("re "))
            .filter(|other| other.timestamp >= entry.timestamp && !found.contains(other))
            .collect();
        assert!(hidden.is_empty(), "{since:?} hides {hidden:?}");
    }
    let all = Some(format!("since={}", before - Duration::from_secs(2 * 3_600)));
    assert_eq!(stage.responses(&visitor, &all).await.responses.len(), 6);
}

#[tokio::test]
async fn a_poller_does_not_follow_its_hosts_clock() {
    tokio::join!(a_poller_goes_on(FAR), a_poller_goes_on(-FAR));
}

async fn a_poller_goes_on(jump: i64) {
    let Some(mut clock) = host_clock() else { return };
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let flags = ["--agent", "http", "--http-url", &agent.url(), "--lease-seconds", "1"];
    let args = poller_args(&relay.url(), &relay.file("poller.db"), &flags);
    let mut poller = clock.start("postern-poller", &args);
    poller.line_with("pulling messages").await;
    let mut visitor = relay.visitor();

    // A lease that is kept by heartbeat while the clock jumps.
    visitor.send("slow").await;
    let asked = agent.next().await;
    clock.jump(jump);
    let other = relay.poller_calls();
    assert!(other.lease(&json!({ "wait_seconds": 2 })).await.is_empty(), "the lease broke");
    asked.reply("still mine");
    assert_eq!(visitor.next_reply().await, "still mine");

    // A retry that is asked for before the next jump.
    visitor.send("once more").await;
    agent.next().await.fail(StatusCode::BAD_GATEWAY);
    clock.jump(-jump);
    let begun = Instant::now();
    agent.replies("at once").await;
    assert_eq!(visitor.next_reply().await, "at once");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());

    // A restart at another time, with an answer on its way.
    visitor.send("over a restart").await;
    let asked = agent.next().await;
    poller.signal(Signal::KILL);
    poller.end().await;
    drop(asked);
    clock.jump(0);
    let _poller = clock.start("postern-poller", &args);
    agent.replies("after it").await;
    assert_eq!(visitor.next_reply().await, "after it");
    assert_eq!(visitor.transcript().await.messages.len(), 6);
    assert!(!agent.is_asked(), "the agent was asked twice");
}

#[tokio::test]
async fn an_answer_in_the_journal_outlives_a_jump_of_the_pollers_clock() {
    tokio::join!(a_journal_is_posted(FAR), a_journal_is_posted(-FAR));
}

async fn a_journal_is_posted(jump: i64) {
    let Some(mut clock) = host_clock() else { return };
    let mut relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let flags = ["--agent", "http", "--http-url", &agent.url()];
    let args = poller_args(&relay.url(), &relay.file("poller.db"), &flags);
    let mut poller = clock.start("postern-poller", &args);
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let asked = agent.next().await;
    relay.stop().await;
    asked.reply("written down");
    poller.line_with("the relay was not told").await;
    poller.signal(Signal::KILL);
    poller.end().await;
    clock.jump(jump);
    relay.start_again();
    let _poller = clock.start("postern-poller", &args);
    assert_eq!(visitor.next_reply().await, "written down");
    assert!(!agent.is_asked(), "the agent was asked twice");
}

/// A relay under a clock of its own.
struct Stage {
    clock: HostClock,
    folder: tempfile::TempDir,
    relay: Process,
    address: SocketAddr,
}

impl Stage {
    async fn start() -> Option<Self> {
        let mut clock = host_clock()?;
        let folder = tempfile::tempdir().unwrap();
        let args = relay_args(&folder.path().join("relay.db"));
        let mut relay = clock.start("postern-relay", &args);
        let address = listening(&mut relay).await;
        Some(Self { clock, folder, relay, address })
    }

    /// Sets the clock while the relay is down.
    async fn restart_at(&mut self, jump: i64) {
        self.relay.signal(Signal::KILL);
        let ended = async || self.caller().request(reqwest::Method::GET, "//health").send().await;
        eventually("the relay's end", async || ended().await.is_err()).await;
        self.clock.jump(jump);
        let args = relay_args(&self.folder.path().join("relay.db"));
        self.relay = self.clock.start("postern-relay", &args);
        self.address = listening(&mut self.relay).await;
    }

    fn caller(&self) -> Caller {
        Caller::new(self.address)
    }

    fn poller(&self) -> Caller {
        self.caller().with_secret(API_KEY)
    }

    /// Sends a message of a session of its own.
    async fn accept(&self, text: &str) -> MessageAccepted {
        self.caller().post("/messages", &json!({ "message": text })).await.data()
    }

    /// Sends one more message of a session.
    async fn say(&self, session: &MessageAccepted, text: &str) {
        let body = json!({ "session_id": session.session_id, "message": text });
        self.visitor(session).post("/messages", &body).await.data::<Value>();
    }

    async fn lease(&self, request: Value) -> Vec<LeasedMessage> {
        self.poller().lease(&request).await
    }

    /// Waits for what must be visible within seconds.
    async fn lease_soon(&self) -> Vec<LeasedMessage> {
        let begun = Instant::now();
        let leased = self.lease(json!({ "wait_seconds": 30, "lease_seconds": 30 })).await;
        assert_eq!(leased.len(), 1);
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        leased
    }

    async fn answer(&self, leased: &LeasedMessage, text: &str) {
        let body = json!({ "session_id": leased.session_id, "message_id": leased.id,
                           "lease_id": leased.lease_id, "response": text });
        self.poller().post("/outbox", &body).await.data::<Value>();
    }

    fn visitor(&self, session: &MessageAccepted) -> Caller {
        self.caller().with_secret(session.session_token.as_ref().unwrap())
    }

    async fn responses(&self, session: &MessageAccepted, query: &Option<String>) -> Responses {
        let query = query.as_deref().unwrap_or_default();
        let path = format!("/responses/{}?{query}", session.session_id);
        self.visitor(session).get(&path).await.data()
    }

    async fn transcript(&self, session: &MessageAccepted) -> Vec<Entry> {
        let path = format!("/sessions/{}/messages", session.session_id);
        self.visitor(session).get(&path).await.data::<Transcript>().messages
    }
}

/// A clock to set; `None`, with a word about it, only where it cannot be had.
fn host_clock() -> Option<HostClock> {
    let clock = HostClock::find();
    if clock.is_none() {
        let can_install = geteuid().is_root() && std::path::Path::new("/usr/bin/apt-get").exists();
        assert!(!can_install, "libfaketime is missing: apt-get install faketime");
        eprintln!("not run: libfaketime is missing (Debian: apt-get install faketime)");
    }
    clock
}

fn ids(leased: &[LeasedMessage]) -> Vec<postern_shared::MessageId> {
    leased.iter().map(|message| message.id).collect()
}

fn texts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.text.as_str()).collect()
}
