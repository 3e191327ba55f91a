//! Which connections are let in, and how long one may do nothing.
//!
//! hyper bounds the head of an HTTP/1 request in time, but neither a silent connection nor one of
//! HTTP/2; so a connection is watched from outside, by its bytes and by the requests under way on it.

mod answer;
mod conversation;
mod crowd;
mod gate;
mod handover;
mod serve;
mod stream;

use std::time::Duration;

use clap::Args;
use postern_host::seconds;

pub(crate) use answer::until_sent;
pub(crate) use conversation::{Answer, Endless};
pub(crate) use crowd::{Crowd, Place};
pub(crate) use gate::Gate;
pub(crate) use serve::{Entrance, serve};

use crate::client_address::TrustedProxies;

/// A proxy on the relay's own host is the operator's.
const ON_THIS_HOST: &str = "127.0.0.0/8,::1";

/// The most memory for what was read and not yet understood, or written and not yet sent, on one
/// connection of HTTP/1; also the longest head of a request.
const HTTP1_BUFFER: usize = 64 * 1024;

/// How many requests may be under way at once on one connection of HTTP/2.
const HTTP2_STREAMS: u32 = 64;

/// The longest head of an HTTP/2 request, in bytes.
const HTTP2_HEAD: u32 = 16 * 1024;

/// How far a client of HTTP/2 may be ahead of what is read, on one connection.
const HTTP2_WINDOW: u32 = 256 * 1024;

/// How far an answer on HTTP/2 may be ahead of its client.
const HTTP2_SEND_BUFFER: usize = 64 * 1024;

/// How many requests a client of HTTP/2 may take back before they are looked at (CVE-2023-44487).
const HTTP2_RESETS: usize = 20;

/// Who may connect, how often, and how slow a client may be.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ConnectionLimits {
    /// How many connections may be open; by default half as many as the system lets this process
    /// have open files
    #[arg(long, env = "POSTERN_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<usize>,

    /// How many connections one address may have open, and calls of visitors under way; IPv6 counts
    /// by /64, trusted proxies do not count
    #[arg(
        long,
        env = "POSTERN_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value_t = 256
    )]
    pub max_connections_per_address: usize,

    /// Proxies whose X-Forwarded-For or Forwarded is believed, as addresses and networks with commas
    /// between them; "" for none
    #[arg(long, env = "POSTERN_TRUSTED_PROXIES", value_name = "LIST",
          default_value = ON_THIS_HOST)]
    pub trusted_proxies: TrustedProxies,

    /// How long a connection may be open with no request on it, and how long the head of one may take
    #[arg(long, env = "POSTERN_IDLE_DEADLINE", value_name = "SECONDS", default_value = "10",
          value_parser = seconds::parse)]
    pub idle_deadline: Duration,

    /// How long a client may leave what it was sent unread, or unacknowledged
    #[arg(long, env = "POSTERN_WRITE_DEADLINE", value_name = "SECONDS", default_value = "30",
          value_parser = seconds::parse)]
    pub write_deadline: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: None,
            max_connections_per_address: 256,
            trusted_proxies: ON_THIS_HOST.parse().unwrap_or_default(),
            idle_deadline: Duration::from_secs(10),
            write_deadline: Duration::from_secs(30),
        }
    }
}

impl ConnectionLimits {
    /// The calls of visitors under way.
    pub(crate) fn calls(&self) -> Crowd {
        Crowd::new(usize::MAX, self.max_connections_per_address)
    }
}
