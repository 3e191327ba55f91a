//! A poller in this process, with a queue file that outlives it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use postern_poller::agent::{Agent, AgentArgs};
use postern_poller::poller::{self, Config, Pace, PollerError};
use postern_poller::relay::Relay;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{API_KEY, TestRelay, soon};

/// A running poller.
pub struct TestPoller {
    running: Option<(JoinHandle<Result<(), PollerError>>, CancellationToken)>,
    relay: String,
    agent: Vec<String>,
    folder: TempDir,
    pace: Pace,
}

/// The agent's flags, read as the program reads them.
#[derive(Parser)]
struct AgentFlags {
    #[command(flatten)]
    agent: AgentArgs,
}

impl TestPoller {
    /// Starts a poller with an agent given by flags, such as `["--agent", "echo"]`.
    pub fn start(relay: &TestRelay, agent: &[&str]) -> Self {
        Self::at(&relay.url(), agent, Pace::default())
    }

    /// Starts a poller at any address and pace.
    ///
    /// # Panics
    /// When it does not start.
    pub fn at(relay: &str, agent: &[&str], pace: Pace) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let agent = agent.iter().map(ToString::to_string).collect();
        let mut poller = Self { running: None, relay: relay.to_owned(), agent, folder, pace };
        poller.start_again();
        poller
    }

    /// Starts it again on the same queue.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        let config = Config {
            relay: Relay::new(&self.relay, API_KEY).expect("a good address"),
            queue: self.queue(),
            agent: agent(&self.agent),
            pace: self.pace,
        };
        let cancelled = CancellationToken::new();
        let running = tokio::spawn(poller::run(config, cancelled.clone()));
        self.running = Some((running, cancelled));
    }

    /// Its queue's file.
    pub fn queue(&self) -> PathBuf {
        self.folder.path().join("poller.db")
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it as SIGTERM would.
    ///
    /// # Panics
    /// When it does not end well.
    pub async fn stop(&mut self) {
        if let Some((running, cancelled)) = self.running.take() {
            cancelled.cancel();
            soon("the poller's end", running).await.expect("no panic").expect("a good end");
        }
    }

    /// Ends it in the middle of whatever it does.
    pub async fn abort(&mut self) {
        if let Some((running, _)) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
    }
}

/// A pace for tests of leases: one second, so that one runs out while the test watches.
pub fn short_leases() -> Pace {
    Pace { lease: Duration::from_secs(1), ..Pace::default() }
}

fn agent(flags: &[String]) -> Agent {
    let flags = std::iter::once("poller").chain(flags.iter().map(String::as_str));
    let flags = AgentFlags::try_parse_from(flags).expect("good flags");
    Agent::from_args(&flags.agent).expect("a good agent")
}
