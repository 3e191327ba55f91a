//! What `postern-poller` can be told: flags over environment over default.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use postern_host::key::{self, KeyError};

use crate::agent::{Agent, AgentArgs, AgentConfigError};
use crate::poller::{Config, Pace};
use crate::relay::{Relay, RelayError};

/// Which relay, and the key for it.
#[derive(Debug, Clone, Args)]
pub struct RelayArgs {
    /// The relay's address, such as `https://relay.example`
    #[arg(long, env = "POSTERN_RELAY", value_name = "URL")]
    pub relay: String,

    /// A file with the relay's API key; POSTERN_API_KEY holds the key itself
    #[arg(long, env = "POSTERN_API_KEY_FILE", value_name = "PATH")]
    pub api_key_file: Option<PathBuf>,
}

/// The flags of `postern-poller run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Which relay.
    #[command(flatten)]
    pub relay: RelayArgs,

    /// The queue's file; made when it does not exist
    #[arg(long, env = "POSTERN_QUEUE", default_value = "poller.db", value_name = "PATH")]
    pub queue: PathBuf,

    /// How many messages of different sessions are worked on at once
    #[arg(long, env = "POSTERN_CONCURRENCY", default_value_t = 8, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// How many earlier messages and replies of the conversation the agent is given; with 0, none are kept here
    #[arg(long, env = "POSTERN_HISTORY", default_value_t = 40, value_name = "N")]
    pub history: u32,

    /// After how many seconds without a sign of life the relay gives a message to another poller
    #[arg(long, env = "POSTERN_LEASE_SECONDS", default_value_t = 60, value_name = "SECONDS",
          value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub lease_seconds: u16,

    /// Who answers.
    #[command(flatten)]
    pub agent: AgentArgs,
}

/// Why the poller does not start; each names the setting.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The relay's address.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentConfigError),
}

impl RelayArgs {
    /// Prepares the calls; nothing is sent.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the setting.
    pub fn into_relay(self) -> Result<Relay, ConfigError> {
        let key = key::read("POSTERN_API_KEY", self.api_key_file.as_deref())?;
        Ok(Relay::new(&self.relay, &key)?)
    }
}

impl RunArgs {
    /// Reads the key and checks everything.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the setting.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        Ok(Config {
            relay: self.relay.into_relay()?,
            queue: self.queue,
            agent: Agent::from_args(&self.agent)?,
            pace: Pace {
                concurrency: self.concurrency.into(),
                history: self.history,
                lease: Duration::from_secs(self.lease_seconds.into()),
                ..Pace::default()
            },
        })
    }
}
