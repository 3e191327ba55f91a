//! The settings of the agents: flags over environment over default.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Args, ValueEnum};
use postern_host::key::KeyError;
use postern_host::seconds;

use super::{BrocaArgs, ExecArgs, HttpArgs, OpenAiArgs};

/// Which agent answers, and how it is reached.
///
/// Settings of another agent than the chosen one are ignored, so that an environment can hold
/// several and a flag can choose.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    /// Who answers the visitors
    #[arg(long, env = "POSTERN_AGENT", value_name = "AGENT")]
    pub agent: Option<AgentKind>,

    /// The settings of [`AgentKind::Exec`].
    #[command(flatten)]
    pub exec: ExecArgs,

    /// The settings of [`AgentKind::Http`].
    #[command(flatten)]
    pub http: HttpArgs,

    /// The settings of [`AgentKind::OpenAi`].
    #[command(flatten)]
    pub openai: OpenAiArgs,

    /// The settings of [`AgentKind::Broca`].
    #[command(flatten)]
    pub broca: BrocaArgs,

    /// What holds for every agent.
    #[command(flatten)]
    pub limits: AgentLimits,
}

/// The agents by the names they have in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AgentKind {
    /// Repeats the message; for a first try
    Echo,
    /// Runs a command per message: JSON on its input, the reply on its output
    Exec,
    /// Posts the message as JSON to a URL
    Http,
    /// Asks a service with the OpenAI chat completions API: Ollama, llama.cpp, vLLM, hosted ones
    #[value(name = "openai")]
    OpenAi,
    /// Puts the message into the queue of Broca, in its database, and waits for the answer there
    Broca,
}

/// How long an agent may take and how much it may say.
#[derive(Debug, Clone, Copy, Args)]
pub struct AgentLimits {
    /// How long the agent may take for one reply; it is ended after that
    #[arg(
        long = "agent-timeout",
        env = "POSTERN_AGENT_TIMEOUT",
        value_name = "SECONDS",
        default_value = "300",
        value_parser = seconds::parse
    )]
    pub timeout: Duration,

    /// How long a reply may be; a longer one is a failure
    #[arg(long, env = "POSTERN_MAX_REPLY_BYTES", value_name = "BYTES", default_value = "262144")]
    pub max_reply_bytes: NonZeroUsize,
}

/// Why no agent can be made of the settings; names the setting to mend.
#[derive(Debug, thiserror::Error)]
pub enum AgentConfigError {
    /// None was chosen.
    #[error("no agent is chosen: --agent (POSTERN_AGENT) takes echo, exec, http, openai or broca")]
    NoAgent,
    /// The chosen agent lacks a setting.
    #[error("--agent {agent} needs {flag}")]
    Missing {
        /// The chosen agent.
        agent: &'static str,
        /// What it lacks, as it would be written on the command line.
        flag: &'static str,
    },
    /// A URL that cannot be used.
    #[error("{flag} must be an http:// or https:// URL")]
    InvalidUrl {
        /// The flag that holds it.
        flag: &'static str,
    },
    /// A key that cannot be read or used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// This system gives no means to speak HTTP, such as no trusted certificates.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(#[source] reqwest::Error),
}
