//! The gate every connection comes through, and its place for as long as it is open.

use std::collections::HashMap;
use std::future::{self, Ready};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::net::TcpStream;
use tower::Layer;

use super::ConnectionLimits;
use super::answer::Requests;
use super::stream::WatchedStream;
use crate::client_address::ClientAddress;
use crate::metrics::{Held, Metrics};

/// The most connections that are let in when no number is given.
const MOST: usize = 32_768;

/// Lets a connection in while there is a place for it.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    limits: Arc<ConnectionLimits>,
    max: usize,
    open: Arc<Mutex<Open>>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// An open connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<Open>>,
    /// What it counts towards; a trusted proxy counts towards nothing.
    network: Option<IpAddr>,
    _counted: Held,
}

impl Gate {
    pub(crate) fn new(limits: ConnectionLimits, metrics: Metrics) -> Self {
        let max = limits.max_connections.unwrap_or_else(half_the_open_files);
        Self { limits: Arc::new(limits), max, open: Arc::default(), metrics }
    }

    fn let_in(&self, stream: TcpStream, requests: Requests) -> io::Result<WatchedStream> {
        let place = self.place(ClientAddress::new(stream.peer_addr()?.ip()))?;
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        SockRef::from(&stream).set_tcp_user_timeout(Some(self.limits.write_deadline))?;
        Ok(WatchedStream::new(stream, place, requests, self.limits.idle_deadline))
    }

    fn place(&self, address: ClientAddress) -> io::Result<Place> {
        let is_proxy = self.limits.trusted_proxies.contain(address);
        let network = (!is_proxy).then(|| address.network());
        let mut open = lock(&self.open);
        let of_network = network.and_then(|network| open.by_network.get(&network)).copied();
        if open.all >= self.max
            || of_network.unwrap_or(0) >= self.limits.max_connections_per_address
        {
            self.metrics.connections_refused.inc();
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        open.all += 1;
        if let Some(network) = network {
            *open.by_network.entry(network).or_default() += 1;
        }
        let counted = Held::count(&self.metrics.connections);
        Ok(Place { open: self.open.clone(), network, _counted: counted })
    }
}

impl<S> Accept<TcpStream, S> for Gate {
    type Stream = WatchedStream;
    type Service = AddExtension<S, Requests>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let requests = Requests::default();
        let service = Extension(requests.clone()).layer(service);
        future::ready(self.let_in(stream, requests).map(|stream| (stream, service)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all -= 1;
        let Some(network) = self.network else { return };
        if let Some(count) = open.by_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                open.by_network.remove(&network);
            }
        }
    }
}

/// Nothing panics while it is held, and a count is right after each step.
fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The other half is for files that are sent and fetched, one for each connection at most.
fn half_the_open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    // The lower limit is for programs of old that cannot count further than 1,024.
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_err() {
        limit = getrlimit(Resource::Nofile);
    }
    let files = limit.current.and_then(|files| usize::try_from(files).ok());
    files.map_or(MOST, |files| MOST.min(files / 2))
}
