//! Limits: how much one address, one session and one site may ask for.
//!
//! What an address asks for is counted in memory and forgotten by a restart; what a session and a
//! site may store is counted in the rows, by the transaction that stores it.

mod address;
mod streams;

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

pub use address::Allowance;
pub(crate) use address::{Addresses, forget_rested};
pub(crate) use streams::{CountedStream, Streams};

/// A minute, in which messages, calls and failures are counted.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// An hour.
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
/// A day.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// The flags of the limits; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct RateLimits {
    /// Whether visitors are limited; off is for load tests, and behind a limiter of your own
    #[arg(long, env = "POSTERN_RATE_LIMIT", default_value = "on", value_name = "on|off")]
    pub rate_limit: Switch,

    /// What one address may ask for.
    #[command(flatten)]
    pub address: AddressLimits,

    /// What one session and one site may ask for.
    #[command(flatten)]
    pub site: SiteLimits,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// What one address may ask for; IPv6 counts by /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct AddressLimits {
    /// Messages that one address may send in a minute; 0 is no limit, here and below
    #[arg(long, env = "POSTERN_ADDRESS_MESSAGES_PER_MINUTE", value_name = "N",
          default_value_t = Self::DEFAULT.address_messages_per_minute)]
    pub address_messages_per_minute: u32,

    /// Messages that one address may send in an hour
    #[arg(long, env = "POSTERN_ADDRESS_MESSAGES_PER_HOUR", value_name = "N",
          default_value_t = Self::DEFAULT.address_messages_per_hour)]
    pub address_messages_per_hour: u32,

    /// Sessions that one address may open in an hour
    #[arg(long, env = "POSTERN_ADDRESS_SESSIONS_PER_HOUR", value_name = "N",
          default_value_t = Self::DEFAULT.address_sessions_per_hour)]
    pub address_sessions_per_hour: u32,

    /// Keys and tokens that are not known which one address may show in a minute
    #[arg(long, env = "POSTERN_ADDRESS_FAILURES_PER_MINUTE", value_name = "N",
          default_value_t = Self::DEFAULT.address_failures_per_minute)]
    pub address_failures_per_minute: u32,

    /// Visitors' calls of any kind that one address may make in a minute
    #[arg(long, env = "POSTERN_ADDRESS_CALLS_PER_MINUTE", value_name = "N",
          default_value_t = Self::DEFAULT.address_calls_per_minute)]
    pub address_calls_per_minute: u32,

    /// Event streams and held calls that one address may have open
    #[arg(long, env = "POSTERN_ADDRESS_STREAMS", value_name = "N",
          default_value_t = Self::DEFAULT.address_streams)]
    pub address_streams: u32,
}

/// What one session and one site may ask for; each site may have its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteLimits {
    /// Messages that one session may send in a minute
    #[arg(long, env = "POSTERN_SESSION_MESSAGES_PER_MINUTE", value_name = "N",
          default_value_t = Self::DEFAULT.session_messages_per_minute)]
    pub session_messages_per_minute: u32,

    /// Messages that one session may send in a day
    #[arg(long, env = "POSTERN_SESSION_MESSAGES_PER_DAY", value_name = "N",
          default_value_t = Self::DEFAULT.session_messages_per_day)]
    pub session_messages_per_day: u32,

    /// Messages of one session that may wait for their replies
    #[arg(long, env = "POSTERN_SESSION_OPEN_MESSAGES", value_name = "N",
          default_value_t = Self::DEFAULT.session_open_messages)]
    pub session_open_messages: u32,

    /// Event streams and held calls that one session may have open
    #[arg(long, env = "POSTERN_SESSION_STREAMS", value_name = "N",
          default_value_t = Self::DEFAULT.session_streams)]
    pub session_streams: u32,

    /// Messages that all visitors of a site may send in a minute
    #[arg(long, env = "POSTERN_SITE_MESSAGES_PER_MINUTE", value_name = "N",
          default_value_t = Self::DEFAULT.site_messages_per_minute)]
    pub site_messages_per_minute: u32,

    /// Messages that a site's agent is given in a day (UTC); after those, visitors are told kindly
    #[arg(long, env = "POSTERN_SITE_DAILY_BUDGET", value_name = "N",
          default_value_t = Self::DEFAULT.site_daily_budget)]
    pub site_daily_budget: u32,

    /// Messages of a site that may wait for their replies
    #[arg(long, env = "POSTERN_SITE_OPEN_MESSAGES", value_name = "N",
          default_value_t = Self::DEFAULT.site_open_messages)]
    pub site_open_messages: u32,

    /// Sessions that a site may have
    #[arg(long, env = "POSTERN_SITE_SESSIONS", value_name = "N",
          default_value_t = Self::DEFAULT.site_sessions)]
    pub site_sessions: u32,

    /// Hashes that a browser computes, on average, before it may open a session; 20000 take it 0.1 to
    /// 0.3 seconds, and up to 16 times as many are asked for while many sessions are opened
    #[arg(long, env = "POSTERN_PROOF_OF_WORK", value_name = "N",
          default_value_t = Self::DEFAULT.proof_of_work)]
    pub proof_of_work: u32,
}

impl AddressLimits {
    const DEFAULT: Self = Self {
        address_messages_per_minute: 60,
        address_messages_per_hour: 1_000,
        address_sessions_per_hour: 20,
        address_failures_per_minute: 10,
        address_calls_per_minute: 600,
        address_streams: 100,
    };

    /// No limit at all.
    pub const OFF: Self = Self {
        address_messages_per_minute: 0,
        address_messages_per_hour: 0,
        address_sessions_per_hour: 0,
        address_failures_per_minute: 0,
        address_calls_per_minute: 0,
        address_streams: 0,
    };
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl SiteLimits {
    const DEFAULT: Self = Self {
        session_messages_per_minute: 20,
        session_messages_per_day: 500,
        session_open_messages: 5,
        session_streams: 10,
        site_messages_per_minute: 600,
        site_daily_budget: 10_000,
        site_open_messages: 10_000,
        site_sessions: 1_000_000,
        proof_of_work: 0,
    };

    /// No limit at all.
    pub const OFF: Self = Self {
        session_messages_per_minute: 0,
        session_messages_per_day: 0,
        session_open_messages: 0,
        session_streams: 0,
        site_messages_per_minute: 0,
        site_daily_budget: 0,
        site_open_messages: 0,
        site_sessions: 0,
        proof_of_work: 0,
    };

    /// The same but for what a site has of its own, by the names of the flags.
    pub(crate) fn with(&self, own: &toml::Table) -> Result<Self, toml::de::Error> {
        // Numbers always make a table.
        let mut all = toml::Table::try_from(self).unwrap_or_default();
        all.extend(own.clone());
        all.try_into()
    }
}

impl Default for SiteLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// One of the limits, by its flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is said beside its flag")]
pub enum Limit {
    AddressMessagesPerMinute,
    AddressMessagesPerHour,
    AddressSessionsPerHour,
    AddressFailuresPerMinute,
    AddressCallsPerMinute,
    AddressStreams,
    SessionMessagesPerMinute,
    SessionMessagesPerDay,
    SessionOpenMessages,
    SessionStreams,
    SiteMessagesPerMinute,
    SiteDailyBudget,
    SiteOpenMessages,
    SiteSessions,
}

impl Limit {
    /// Its flag, without dashes in front.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddressMessagesPerMinute => "address-messages-per-minute",
            Self::AddressMessagesPerHour => "address-messages-per-hour",
            Self::AddressSessionsPerHour => "address-sessions-per-hour",
            Self::AddressFailuresPerMinute => "address-failures-per-minute",
            Self::AddressCallsPerMinute => "address-calls-per-minute",
            Self::AddressStreams => "address-streams",
            Self::SessionMessagesPerMinute => "session-messages-per-minute",
            Self::SessionMessagesPerDay => "session-messages-per-day",
            Self::SessionOpenMessages => "session-open-messages",
            Self::SessionStreams => "session-streams",
            Self::SiteMessagesPerMinute => "site-messages-per-minute",
            Self::SiteDailyBudget => "site-daily-budget",
            Self::SiteOpenMessages => "site-open-messages",
            Self::SiteSessions => "site-sessions",
        }
    }
}

/// A limit that has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit {} is reached", limit.name())]
pub struct Exceeded {
    /// Which.
    pub limit: Limit,
    /// How much it allows.
    pub quota: u32,
    /// In what time; `None` when it bounds how much there may be at once.
    pub window: Option<Duration>,
    /// How long until it allows something again, or until it is worth asking.
    pub retry_after: Duration,
}
