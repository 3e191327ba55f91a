//! The gate every connection comes through, and its place for as long as it is open.

use std::io;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::ConnectionLimits;
use super::answer::Requests;
use super::crowd::{Crowd, Place};
use super::stream::WatchedStream;
use crate::client_address::ClientAddress;
use crate::metrics::{Held, Metrics};

/// The most connections that are let in when no number is given.
const MOST: usize = 32_768;

/// Lets a connection in while there is a place for it.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    limits: Arc<ConnectionLimits>,
    crowd: Crowd,
    metrics: Metrics,
}

/// What an open connection holds.
#[derive(Debug)]
pub(super) struct Entered {
    _place: Place,
    _counted: Held,
}

impl Gate {
    pub(crate) fn new(limits: ConnectionLimits, metrics: Metrics) -> Self {
        // The other half is for files that are sent and fetched, one for each connection at most.
        let half = MOST.min(open_files() / 2);
        let most = limits.max_connections.unwrap_or(half);
        let crowd = Crowd::new(most, limits.max_connections_per_address);
        Self { limits: Arc::new(limits), crowd, metrics }
    }

    /// Lets a connection in; without a place for it, it is closed.
    pub(super) fn let_in(
        &self,
        stream: TcpStream,
        requests: Requests,
    ) -> io::Result<WatchedStream> {
        let entered = self.enter(ClientAddress::new(stream.peer_addr()?.ip()))?;
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        SockRef::from(&stream).set_tcp_user_timeout(Some(self.limits.write_deadline))?;
        Ok(WatchedStream::new(stream, entered, requests, self.limits.idle_deadline))
    }

    fn enter(&self, address: ClientAddress) -> io::Result<Entered> {
        match self.crowd.enter(self.limits.trusted_proxies.network(address)) {
            Some(place) => {
                Ok(Entered { _place: place, _counted: Held::count(&self.metrics.connections) })
            }
            None => {
                self.metrics.connections_refused.inc();
                Err(io::ErrorKind::QuotaExceeded.into())
            }
        }
    }
}

/// How many files this process may have open, once it has asked for all that it may have: the lower
/// limit is for programs of old that cannot count further than 1,024.
fn open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_err() {
        limit = getrlimit(Resource::Nofile);
    }
    limit.current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}
