//! The doctor: checks, in the order in which things depend on each other, whether this host can
//! serve as a relay's private half.

use std::path::Path;
use std::time::Duration;

use postern_shared::visitor::Identity;
use postern_shared::{MessageId, Metadata, Timestamp};
use serde::Serialize;
use tokio::time::{self, Instant};

use crate::agent::{Agent, Question};
use crate::config::{ConfigError, RelayArgs, RunArgs};
use crate::queue::{Queue, QueueError};
use crate::relay::{Relay, RelayError};
use crate::sockets;

/// Clocks further apart than this are named: timestamps would mislead people.
const MAX_SKEW: Duration = Duration::from_secs(30);

/// How often sockets are looked at while the agent runs.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, in a word or two.
    pub check: &'static str,
    /// Whether all is well.
    pub ok: bool,
    /// What was found, and what to do when it is not well.
    pub sentence: String,
}

impl Finding {
    fn good(check: &'static str, sentence: impl Into<String>) -> Self {
        Self { check, ok: true, sentence: sentence.into() }
    }

    fn bad(check: &'static str, sentence: impl Into<String>) -> Self {
        Self { check, ok: false, sentence: sentence.into() }
    }
}

/// Makes every check, telling each finding as it comes.
pub async fn examine(args: RunArgs, mut tell: impl FnMut(&Finding)) -> bool {
    let mut well = true;
    let mut report = |finding: Finding| {
        well &= finding.ok;
        tell(&finding);
    };
    for finding in check_relay(args.relay).await {
        report(finding);
    }
    let (agent, listening) = check_agent(Agent::from_args(&args.agent)).await;
    report(agent);
    report(check_queue(&args.queue).await);
    report(listening);
    well
}

async fn check_relay(args: RelayArgs) -> Vec<Finding> {
    let relay = match args.into_relay() {
        Ok(relay) => relay,
        Err(ConfigError::Key(problem)) => return vec![Finding::bad("key", problem.to_string())],
        Err(problem) => return vec![Finding::bad("relay", problem.to_string())],
    };
    let asked = Timestamp::now();
    let health = match relay.health().await {
        Ok(health) => health,
        Err(problem @ RelayError::BadCertificate(_)) => {
            return vec![Finding::bad("tls", problem.to_string())];
        }
        Err(problem) => return vec![Finding::bad("relay", unreachable(&relay, &problem))],
    };
    let version = &health.data.version;
    vec![
        Finding::good("relay", format!("{} answers, version {version}", relay.address())),
        check_tls(&relay),
        check_clock(asked, health.timestamp, Timestamp::now()),
        check_key(&relay).await,
    ]
}

fn unreachable(relay: &Relay, problem: &RelayError) -> String {
    format!("{}: {problem}; is the address right, and is the relay running?", relay.address())
}

fn check_tls(relay: &Relay) -> Finding {
    match (relay.address().scheme(), relay.is_private()) {
        ("https", _) => {
            Finding::good("tls", "the connection is encrypted and its certificate good")
        }
        (_, true) => Finding::good("tls", "not encrypted, but it never leaves this machine"),
        _ => Finding::bad(
            "tls",
            "the connection is not encrypted: anyone on the way can read the key; use https",
        ),
    }
}

/// The relay's clock is compared with the middle of the call.
fn check_clock(asked: Timestamp, relay: Timestamp, answered: Timestamp) -> Finding {
    let middle = (asked.as_millisecond() + answered.as_millisecond()) / 2;
    let skew = Duration::from_millis(relay.as_millisecond().abs_diff(middle));
    if skew <= MAX_SKEW {
        return Finding::good("clock", "this host and the relay agree on the time");
    }
    let seconds = skew.as_secs();
    Finding::bad("clock", format!("this host and the relay are {seconds} s apart; set the clock"))
}

async fn check_key(relay: &Relay) -> Finding {
    match relay.peek().await {
        Ok(inbox) => {
            let waiting = inbox.pagination.total;
            Finding::good("key", format!("the relay takes the key; {waiting} messages wait"))
        }
        Err(problem) => Finding::bad("key", problem.to_string()),
    }
}

/// Asks the agent one thing, and looks for listening sockets while it is at work.
async fn check_agent(agent: Result<Agent, impl ToString>) -> (Finding, Finding) {
    let agent = match agent {
        Ok(agent) => agent,
        Err(problem) => return (Finding::bad("agent", problem.to_string()), check_sockets()),
    };
    if let Err(problem) = agent.check().await {
        return (Finding::bad("agent", problem.to_string()), check_sockets());
    }
    let question = match question("Are you there?") {
        Ok(question) => question,
        Err(problem) => return (Finding::bad("agent", problem.to_string()), check_sockets()),
    };
    let asked = Instant::now();
    let answer = agent.answer(&question);
    tokio::pin!(answer);
    let mut listening = check_sockets();
    let answer = loop {
        tokio::select! {
            answer = &mut answer => break answer,
            () = time::sleep(LOOK_EVERY), if listening.ok => listening = check_sockets(),
        }
    };
    let seconds = asked.elapsed().as_secs_f64();
    let agent = match answer {
        Ok(_) => Finding::good("agent", format!("the agent answers, in {seconds:.1} s")),
        Err(problem) => Finding::bad("agent", problem.to_string()),
    };
    let listening = if listening.ok { check_sockets() } else { listening };
    (agent, listening)
}

async fn check_queue(path: &Path) -> Finding {
    let shown = path.display();
    let queue = match Queue::open(path) {
        Ok(queue) => queue,
        Err(QueueError::InUse(_)) => {
            return Finding::good("queue", format!("{shown} is in use by a running poller"));
        }
        Err(problem) => return Finding::bad("queue", problem.to_string()),
    };
    match queue.check_writable().await {
        Ok(()) => Finding::good("queue", format!("{shown} can be written")),
        Err(problem) => Finding::bad("queue", problem.to_string()),
    }
}

fn check_sockets() -> Finding {
    match sockets::listening_sockets_of_tree() {
        Ok(found) if found.is_empty() => {
            Finding::good("sockets", "nothing in this process or below it listens")
        }
        Ok(found) => {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            Finding::bad("sockets", format!("something listens: {}", found.join("; ")))
        }
        Err(problem) => Finding::bad("sockets", format!("this could not be checked: {problem}")),
    }
}

/// A question as a visitor's first message would be.
///
/// # Errors
/// Never, as long as the ids here are good ones.
pub fn question(text: &str) -> Result<Question, postern_shared::ids::InvalidId> {
    Ok(Question {
        session_id: "local".parse()?,
        uid: "0000000000000000".parse()?,
        visitor: Identity::default(),
        message_id: MessageId(0),
        message: text.to_owned(),
        timestamp: Timestamp::now(),
        metadata: Metadata::new(),
        files: Vec::new(),
        history: Vec::new(),
    })
}
