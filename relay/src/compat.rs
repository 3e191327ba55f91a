//! Contracts of other relays, which a site may serve beside the versioned calls.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::fmt::friendly::SpanParser;
use serde::{Deserialize, Serialize};

/// A contract that programs in use were written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contract {
    /// That of the Broca web chat bridge.
    Broca,
}

/// Which contract sites serve beside the versioned calls.
#[derive(Debug, Clone, Copy, Args)]
pub struct CompatArgs {
    /// Serve programs written for another relay, too
    #[arg(long, env = "POSTERN_COMPAT", value_name = "CONTRACT")]
    pub compat: Option<Contract>,

    /// How long a message that such a program fetched is given to no other, such as 20m or 90s
    #[arg(long, env = "POSTERN_COMPAT_LEASE", value_name = "DURATION", default_value = "20m",
          value_parser = parse_lease)]
    pub compat_lease: Duration,

    /// Let visitors in by a session id of their own making, of at least 20 characters, and nothing else
    #[arg(long, env = "POSTERN_COMPAT_VISITORS")]
    pub compat_visitors: bool,
}

/// How a site serves another relay's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compat {
    /// Which.
    pub contract: Contract,
    /// For how long a message that was fetched is given to nobody else.
    pub lease: Duration,
    /// Whether a session's id alone lets its visitor in.
    pub visitors: bool,
}

impl CompatArgs {
    /// What a site serves, by its own settings and these.
    pub(crate) fn of_site(
        &self,
        contract: Option<Contract>,
        visitors: Option<bool>,
    ) -> Option<Compat> {
        contract.or(self.compat).map(|contract| Compat {
            contract,
            lease: self.compat_lease,
            visitors: visitors.unwrap_or(self.compat_visitors),
        })
    }
}

fn parse_lease(text: &str) -> Result<Duration, &'static str> {
    SpanParser::new()
        .parse_unsigned_duration(text)
        .ok()
        .filter(|lease| !lease.is_zero())
        .ok_or("must be a duration above zero, such as 20m or 90s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_written_with_its_unit() {
        for (text, seconds) in [("20m", 1_200), ("90s", 90), ("1h 30m", 5_400), ("2 hours", 7_200)]
        {
            assert_eq!(parse_lease(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "20", "0s", "-1m", "20 parsecs"] {
            assert!(parse_lease(text).is_err(), "{text}");
        }
    }
}
