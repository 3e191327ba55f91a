//! Slow and stuck parties: agents that do not end, visitors that do not read, pollers that vanish.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on gives up")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use postern_relay::config::Limits;
use postern_shared::visitor::{MessageAccepted, Role};
use postern_tests::faults::poller_args;
use postern_tests::{
    API_KEY, Caller, Process, TestAgent, TestPoller, TestRelay, eventually, short_leases, soon,
};
use procfs::process::Process as ProcfsProcess;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

#[tokio::test]
async fn an_agent_that_never_ends_is_ended_retried_and_given_up() {
    // A child of its own, to see that the whole group goes.
    StuckAgent::start("sleep 1000 & echo $! >> $pids; wait", 2).loses_one_message(4).await;
}

#[tokio::test]
async fn an_agent_that_ignores_sigterm_is_killed() {
    let stuck = "trap '' TERM; sleep 1000 & echo $! >> $pids; while :; do wait; done";
    StuckAgent::start(stuck, 1).loses_one_message(2).await;
}

#[tokio::test]
async fn an_agent_that_writes_forever_is_ended() {
    StuckAgent::start("yes & echo $! >> $pids; wait", 5).loses_one_message(2).await;
}

#[tokio::test]
async fn an_agent_that_logs_forever_is_ended() {
    StuckAgent::start("yes >&2", 1).loses_one_message(1).await;
}

#[tokio::test]
async fn an_agent_that_closes_its_output_and_goes_on_is_ended() {
    StuckAgent::start("echo half; exec >&- 2>&-; sleep 1000", 1).loses_one_message(1).await;
}

#[tokio::test]
async fn an_agent_that_leaves_a_process_with_its_output_behind_has_answered() {
    let relay = TestRelay::start().await;
    let leaves = "sleep 1000 & echo hello";
    let _poller = TestPoller::start(&relay, &["--agent", "exec", "--exec", leaves]);
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let begun = Instant::now();
    assert_eq!(visitor.next_reply().await, "hello");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_agent_that_is_killed_is_asked_again() {
    let relay = TestRelay::start().await;
    let mark = relay.file("killed-once");
    let command = format!("mkdir {} 2>/dev/null && kill -KILL $$; echo recovered", mark.display());
    let _poller = TestPoller::start(&relay, &["--agent", "exec", "--exec", &command]);
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    assert_eq!(visitor.next_reply().await, "recovered");
    assert!(mark.exists(), "the agent was never killed");
    assert_eq!(visitor.transcript().await.messages.len(), 2);
}

/// An agent that is stuck over one message and answers the next.
struct StuckAgent {
    relay: TestRelay,
    poller: TestPoller,
    pids: PathBuf,
}

impl StuckAgent {
    /// `how` is a shell's command; what it starts is to be noted in `$pids`.
    fn start(how: &str, max_attempts: u32) -> Self {
        let relay = TestRelay::with(Limits { max_attempts, ..Limits::default() });
        let pids = relay.file("pids");
        let command = format!(
            "pids={}; read -r question; case $question in *stuck*) echo $$ >> $pids; {how};; esac; \
             echo fine",
            pids.display(),
        );
        let flags = ["--agent", "exec", "--exec", &command, "--agent-timeout", "0.3"];
        let poller = TestPoller::at(&relay.url(), &flags, short_leases());
        Self { relay, poller, pids }
    }

    /// Sends the message over which it is stuck and one more, and sees the first given up, the
    /// second answered, and nothing left of `started` processes.
    async fn loses_one_message(mut self, started: usize) {
        let mut visitor = self.relay.visitor();
        let stuck = visitor.send("stuck").await;
        let next = visitor.send("and now?").await;
        let notice = visitor.next_reply_entry().await;
        assert_eq!((notice.role, notice.message_id), (Role::System, Some(stuck)));
        let reply = visitor.next_reply_entry().await;
        assert_eq!((reply.role, reply.message_id), (Role::Agent, Some(next)));
        assert_eq!(reply.text, "fine");
        assert_eq!(visitor.transcript().await.messages.len(), 4);
        let pids = std::fs::read_to_string(&self.pids).unwrap();
        let pids: Vec<i32> = pids.lines().map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(pids.len(), started, "{pids:?}");
        eventually("the agents' end", async || !pids.iter().any(|pid| is_running(*pid))).await;
        self.poller.stop().await;
    }
}

#[tokio::test]
async fn a_visitor_that_stops_reading_costs_nobody_else_anything() {
    const STUCK: usize = 10;
    const ENTRIES: usize = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let (relay, address) =
        Process::relay(&folder.path().join("relay.db"), ([127, 0, 0, 1], 0).into()).await;
    let visitor = Caller::new(address);
    let first = json!({ "message": entry(0) });
    let session: MessageAccepted = visitor.post("/messages", &first).await.data();
    let token = session.session_token.unwrap();
    let visitor = visitor.with_secret(&token);
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        stuck.push(listen_without_reading(address, session.session_id.as_str(), &token).await);
    }
    let before = resident_bytes(&relay);
    for crowd in (1..ENTRIES).collect::<Vec<_>>().chunks(200) {
        let sent = crowd.iter().map(async |number| {
            let message = json!({ "session_id": session.session_id, "message": entry(*number) });
            visitor.post("/messages", &message).await.data::<Value>();
        });
        join_all(sent).await;
    }
    // All of it held for each of them would be 100 MB more.
    let grown = resident_bytes(&relay).saturating_sub(before);
    assert!(grown < 80 << 20, "{} MB", grown >> 20);

    let begun = Instant::now();
    let other = Caller::new(address);
    let accepted: MessageAccepted =
        other.post("/messages", &json!({ "message": "hi" })).await.data();
    let other = other.with_secret(accepted.session_token.as_ref().unwrap());
    let path = format!("/sessions/{}/events", accepted.session_id);
    let mut events = other.request(reqwest::Method::GET, &path).send().await.unwrap();
    let mut seen = String::new();
    while !seen.contains("\"hi\"") {
        let piece = soon("an event", events.chunk()).await.unwrap().expect("a stream");
        seen += &String::from_utf8_lossy(&piece);
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

    // Whoever reads again has missed nothing.
    let late = soon("all that was said", read_all(stuck.swap_remove(0), ENTRIES)).await;
    let mut sorted = late.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..ENTRIES).collect::<Vec<_>>(), "lost or repeated");

    let begun = Instant::now();
    relay.signal(Signal::TERM);
    let (status, log) = relay.end().await;
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A text of 10,000 characters that tells its number.
fn entry(number: usize) -> String {
    format!("<{number}>{:.<9990}", "")
}

async fn listen_without_reading(address: SocketAddr, session: &str, token: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!(
        "GET /api/v1/sessions/{session}/events HTTP/1.1\r\nHost: relay\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    stream
}

/// Reads so many entries, and gives their numbers in the order of their cursors.
async fn read_all(mut stream: TcpStream, count: usize) -> Vec<usize> {
    let mut text = Vec::new();
    let mut numbers = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    while numbers.len() < count {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the stream ended after {} entries", numbers.len());
        text.extend_from_slice(&buffer[..read]);
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = text.split_off(whole);
        for line in String::from_utf8(std::mem::replace(&mut text, rest)).unwrap().lines() {
            let number = line.split_once("\"text\":\"<").and_then(|(_, rest)| rest.split_once('>'));
            numbers.extend(number.map(|(number, _)| number.parse::<usize>().unwrap()));
        }
    }
    numbers
}

#[tokio::test]
async fn a_poller_that_leases_and_dies_is_succeeded_when_its_lease_runs_out() {
    let relay = TestRelay::start().await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let begun = Instant::now();
    let leased = relay.poller_calls().lease(&json!({ "lease_seconds": 1 })).await;
    assert_eq!(leased.len(), 1);
    let _poller = TestPoller::start(&relay, &["--agent", "echo"]);
    assert_eq!(visitor.next_reply().await, "hi");
    let waited = begun.elapsed();
    assert!((1_000..2_000).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test]
async fn a_message_with_which_every_poller_dies_is_given_up_and_the_visitor_told() {
    let relay = TestRelay::with(Limits { max_attempts: 2, ..Limits::default() });
    let mut visitor = relay.visitor();
    let message = visitor.send("hi").await;
    let dying = json!({ "lease_seconds": 1, "wait_seconds": 30 });
    for attempt in 1..=2 {
        let leased = relay.poller_calls().lease(&dying).await;
        assert_eq!((leased[0].id, leased[0].attempts), (message, attempt));
    }
    let notice = visitor.next_reply_entry().await;
    assert_eq!((notice.role, notice.message_id), (Role::System, Some(message)));
    let leased = relay.poller_calls().lease(&json!({})).await;
    assert!(leased.is_empty());
}

#[tokio::test]
async fn two_pollers_with_one_key_answer_each_message_once_and_one_session_in_turn() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start().await;
    let url = agent.url();
    let flags = ["--agent", "http", "--http-url", &url];
    let _first = TestPoller::at(&relay.url(), &flags, short_leases());
    let _second = TestPoller::at(&relay.url(), &flags, short_leases());
    let mut visitors: Vec<_> = (0..12).map(|_| relay.visitor()).collect();
    for turn in 0..4 {
        for visitor in &mut visitors {
            visitor.send(&turn.to_string()).await;
        }
    }
    for _ in 0..4 * visitors.len() {
        let asked = agent.next().await;
        let reply = format!("re {}", asked.question.message);
        asked.reply(&reply);
    }
    for visitor in &mut visitors {
        for turn in 0..4 {
            assert_eq!(visitor.next_reply().await, format!("re {turn}"));
        }
        assert_eq!(visitor.transcript().await.messages.len(), 8);
    }
    assert_eq!(agent.overlaps(), 0, "one session had two agents at once");
    assert!(!agent.is_asked(), "a message was asked twice");
}

#[tokio::test]
async fn a_poller_that_comes_back_late_posts_nothing_and_asks_nobody() {
    let mut stage = TwoPollers::start().await;
    let (mut done, mut undone) = (stage.relay.visitor(), stage.relay.visitor());
    done.send("answered in time").await;
    undone.send("not answered in time").await;
    let asked = [stage.first_agent.next().await, stage.first_agent.next().await];
    stage.relay.stop().await;
    let mut asked = asked.into_iter();
    asked.next().unwrap().reply("from the first");
    stage.eventually_in_queue("answered", 1).await;
    stage.first.abort().await;
    drop(asked);
    stage.relay.start_again();

    let _second = stage.second();
    for _ in 0..2 {
        stage.second_agent.replies("from the second").await;
    }
    assert_eq!(done.next_reply().await, "from the second");
    assert_eq!(undone.next_reply().await, "from the second");
    stage.first.start_again();
    stage.eventually_in_queue("%", 0).await;
    for visitor in [done, undone] {
        assert_eq!(visitor.transcript().await.messages.len(), 2);
    }
    assert!(!stage.first_agent.is_asked(), "the agent was asked again");
}

#[tokio::test]
async fn an_answer_that_came_too_late_is_used_when_its_message_comes_back() {
    let mut stage = TwoPollers::start().await;
    let mut visitor = stage.relay.visitor();
    visitor.send("hi").await;
    let asked = stage.first_agent.next().await;
    stage.relay.stop().await;
    asked.reply("from the journal");
    stage.eventually_in_queue("answered", 1).await;
    stage.first.abort().await;
    stage.relay.start_again();

    let mut second = stage.second();
    let lost = stage.second_agent.next().await;
    stage.first.start_again();
    let parked = "SELECT count(*) FROM job WHERE state = 'answered' AND lease_id IS NULL";
    let queue = stage.first.queue();
    eventually("the refusal of the late answer", async || count(&queue, parked) == 1).await;
    second.abort().await;
    drop(lost);
    assert_eq!(visitor.next_reply().await, "from the journal");
    assert_eq!(visitor.transcript().await.messages.len(), 2);
    assert!(!stage.first_agent.is_asked(), "the agent was asked again");
    let inbox: Value = stage.relay.poller_calls().get("/inbox").await.data();
    assert_eq!(inbox["pagination"]["total"], 0);
}

#[tokio::test]
async fn a_lease_that_is_read_after_it_has_run_out_asks_nobody() {
    let relay = TestRelay::start().await;
    let (mut first_agent, mut second_agent) = (TestAgent::start().await, TestAgent::start().await);
    let mut first = poller_process(&relay, &first_agent);
    relay.operator_calls().sees_lease_calls_held(1).await;
    first.signal(Signal::STOP);
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    eventually("the lease of the call that stands still", async || {
        let inbox: Value = relay.poller_calls().get("/inbox").await.data();
        inbox["messages"][0]["attempts"] == 1
    })
    .await;

    let flags = ["--agent", "http", "--http-url", &second_agent.url()];
    let _second = TestPoller::at(&relay.url(), &flags, short_leases());
    let asked = second_agent.next().await;
    first.signal(Signal::CONT);
    first.line_with("a lease came too late").await;
    asked.reply("in time");
    assert_eq!(visitor.next_reply().await, "in time");
    assert_eq!(visitor.transcript().await.messages.len(), 2);
    assert!(!first_agent.is_asked(), "two agents were asked");
}

#[tokio::test]
async fn a_poller_that_stood_still_for_longer_than_its_lease_does_no_harm() {
    let relay = TestRelay::start().await;
    let (mut first_agent, mut second_agent) = (TestAgent::start().await, TestAgent::start().await);
    let mut first = poller_process(&relay, &first_agent);
    first.line_with("pulling messages").await;
    let mut visitor = relay.visitor();
    visitor.send("hi").await;
    let asked = first_agent.next().await;
    first.signal(Signal::STOP);
    asked.reply("too late");

    let flags = ["--agent", "http", "--http-url", &second_agent.url()];
    let _second = TestPoller::at(&relay.url(), &flags, short_leases());
    second_agent.replies("in time").await;
    assert_eq!(visitor.next_reply().await, "in time");
    first.signal(Signal::CONT);
    let queue = relay.file("poller.db");
    eventually("the first poller's rest", async || count(&queue, "SELECT count(*) FROM job") == 0)
        .await;
    visitor.send("again").await;
    let again = tokio::select! {
        asked = first_agent.next() => asked,
        asked = second_agent.next() => asked,
    };
    // Not the first message: the relay may have leased it to the call that stood still as well.
    assert_eq!(again.reply("once more").message, "again");
    assert_eq!(visitor.next_reply().await, "once more");
    assert_eq!(visitor.transcript().await.messages.len(), 4);
    assert!(!first_agent.is_asked() && !second_agent.is_asked(), "an agent was asked twice");
}

/// A poller in a process of its own, with leases of a second.
fn poller_process(relay: &TestRelay, agent: &TestAgent) -> Process {
    let url = agent.url();
    let flags = ["--agent", "http", "--http-url", &url, "--lease-seconds", "1"];
    let args = poller_args(&relay.url(), &relay.file("poller.db"), &flags);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    Process::start_with("postern-poller", &args, &[("POSTERN_API_KEY", API_KEY)])
}

/// A poller that goes away, and another that takes over; each with an agent of its own.
struct TwoPollers {
    relay: TestRelay,
    first: TestPoller,
    first_agent: TestAgent,
    second_agent: TestAgent,
}

impl TwoPollers {
    async fn start() -> Self {
        let relay = TestRelay::start().await;
        let (first_agent, second_agent) = (TestAgent::start().await, TestAgent::start().await);
        let flags = ["--agent", "http", "--http-url", &first_agent.url()];
        let first = TestPoller::at(&relay.url(), &flags, short_leases());
        Self { relay, first, first_agent, second_agent }
    }

    fn second(&self) -> TestPoller {
        let flags = ["--agent", "http", "--http-url", &self.second_agent.url()];
        TestPoller::at(&self.relay.url(), &flags, short_leases())
    }

    /// Waits until the first poller's queue holds so many messages in a state.
    async fn eventually_in_queue(&self, state: &str, messages: i64) {
        let queue = self.first.queue();
        let sql = format!("SELECT count(*) FROM job WHERE state LIKE '{state}'");
        eventually("the queue", async || count(&queue, &sql) == messages).await;
    }
}

fn count(queue: &Path, sql: &str) -> i64 {
    let connection = Connection::open(queue).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn resident_bytes(process: &Process) -> u64 {
    let process = ProcfsProcess::new(process.pid().as_raw_nonzero().get()).unwrap();
    process.statm().unwrap().resident * procfs::page_size()
}

/// A zombie has no descriptors left.
fn is_running(pid: i32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|mut fds| fds.next().is_some())
}
