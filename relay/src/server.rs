//! The running relay: bound, serving, and ended without losing what it accepted.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use postern_shared::SiteId;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::Config;
use crate::clock::Clock;
use crate::connections::{self, Entrance, Gate};
use crate::file_keeper;
use crate::files::Files;
use crate::health::HealthCheck;
use crate::http::{App, Calls, Shared};
use crate::keyring::{self, Keyring, Opens};
use crate::limits::{self, AddressLimits, Addresses, SiteLimits, Streams};
use crate::metrics::Metrics;
use crate::presence::{self, Presence};
use crate::proof::Proofs;
use crate::sites::{ServedSite, Site, Sites};
use crate::store::{OpenError, Store};
use crate::sweeper;

/// A relay that listens.
#[derive(Debug)]
pub struct Server {
    scheme: &'static str,
    address: SocketAddr,
    store: Store,
    serving: JoinHandle<()>,
    cancelled: CancellationToken,
    tasks: TaskTracker,
    #[cfg(fuzzing)]
    pub(crate) calls: Calls,
}

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// There is no key for something that needs one.
    #[error(
        "{name} is not set, and no key is stored: put {what} key into {name}, or into a file that {name}_FILE names; `postern-relay keygen` prints a good one"
    )]
    NoKey {
        /// The setting.
        name: &'static str,
        /// Whose key it is.
        what: &'static str,
    },
    /// A site was not written to the database.
    #[error("the site {0} was not stored")]
    SiteNotStored(SiteId),
    /// The folder of files.
    #[error("the folder of files {folder} cannot be used: {cause}")]
    Files {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The address.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
}

impl StartError {
    /// Whether it will be the same until somebody changes a setting.
    pub fn is_of_config(&self) -> bool {
        matches!(self, Self::NoKey { .. })
    }
}

/// Why a relay stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Nothing can be stored any more.
    #[error("the store's writer thread ended")]
    StoreEnded,
    /// No connections can be taken any more.
    #[error("the listener ended: {0}")]
    ListenerEnded(String),
}

impl Server {
    /// Opens the store and listens; returns once connections are taken. Call it within a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`StartError`] names the file or address.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        let clock = Clock::start();
        let stored: Vec<_> = config.sites.iter().map(Site::stored).collect();
        let (store, keys) = Store::open(&config.db, &stored, clock.now())?;
        let files = Files::open(&config.files)
            .map_err(|cause| StartError::Files { folder: config.files, cause })?;
        let (listener, address) = listen(config.listen)?;
        let metrics = Metrics::new();
        let sites = serve_sites(config.sites, config.away_after, &store, &metrics)?;
        let keyring = Keyring::new(config.admin_key, sites.clone(), &keys, clock);
        check_keys(&keyring, &sites)?;
        warn_of_no_limits(&config.address_limits, &sites);
        let gate = Gate::new(config.connections.clone(), metrics.clone());
        let addresses = Arc::new(Addresses::new(&config.address_limits));
        let cancelled = CancellationToken::new();
        let app = App::new(Shared {
            store: store.clone(),
            clock,
            sites,
            keyring,
            limits: config.limits,
            addresses,
            address_limits: config.address_limits,
            streams: Streams::default(),
            files,
            file_types: config.file_types.into(),
            metrics,
            health: HealthCheck::default(),
            given: Arc::default(),
            calls: config.connections.calls(),
            proxies: config.connections.trusted_proxies,
            cancelled: cancelled.clone(),
        });
        let tasks = tend(&app, config.limits.files_wait);
        let tls = config.tls.map(|tls| tls.start(&tasks, cancelled.clone()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let calls = Calls::new(app, tls.is_some());
        let answer = calls.clone();
        let entrance = Entrance { gate, tls, answer, cancelled: cancelled.clone() };
        let serving = tokio::spawn(connections::serve(listener, entrance));
        Ok(Self {
            scheme,
            address,
            store,
            serving,
            cancelled,
            tasks,
            #[cfg(fuzzing)]
            calls,
        })
    }

    /// Where it listens; the port is the real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it speaks there: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Waits until it fails; half a relay does not go on.
    pub async fn failed(&mut self) -> ServeError {
        tokio::select! {
            () = self.store.closed() => ServeError::StoreEnded,
            ended = &mut self.serving => ServeError::ListenerEnded(format!("{ended:?}")),
        }
    }

    /// Takes no more connections, ends long polls and streams, lets answers under way finish, and
    /// closes the store. Done within a few seconds.
    pub async fn shutdown(self) {
        info!("shutting down");
        self.cancelled.cancel();
        if !self.serving.is_finished() {
            let _ = self.serving.await;
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

/// Starts what goes on beside the calls, until the app's token is cancelled.
fn tend(app: &App, files_wait: Duration) -> TaskTracker {
    let tasks = TaskTracker::new();
    let (store, clock) = (&app.store, app.clock);
    let cancelled = || app.cancelled.clone();
    let (max_attempts, metrics) = (app.limits.max_attempts, app.metrics.clone());
    tasks.spawn(sweeper::run(store.clone(), clock, max_attempts, metrics, cancelled()));
    let files = app.files.clone();
    tasks.spawn(file_keeper::run(store.clone(), files, clock, files_wait, cancelled()));
    for served in app.sites.iter() {
        tasks.spawn(presence::run(served.presence.clone(), cancelled()));
    }
    tasks.spawn(keyring::run(app.keyring.clone(), store.clone(), cancelled()));
    tasks.spawn(limits::forget_rested(Arc::clone(&app.addresses), cancelled()));
    tasks
}

fn warn_of_no_limits(address: &AddressLimits, sites: &Sites) {
    let is_free = |served: &Arc<ServedSite>| served.site.limits == SiteLimits::OFF;
    if *address == AddressLimits::OFF && sites.iter().all(is_free) {
        warn!("visitors are not limited: whoever can reach this relay can fill its disk");
    }
}

/// The sites as the handlers need them.
fn serve_sites(
    sites: Vec<Site>,
    away_after: Duration,
    store: &Store,
    metrics: &Metrics,
) -> Result<Sites, StartError> {
    let serve = |site: Site| {
        let key = store.site(&site.id).ok_or_else(|| StartError::SiteNotStored(site.id.clone()))?;
        let presence = Presence::start(away_after, metrics.host_connected(&site.id));
        let proofs = Proofs::new();
        Ok(ServedSite { site, key, presence, proofs, told_of_budget: AtomicI64::default() })
    };
    sites.into_iter().map(serve).collect::<Result<_, _>>().map(Sites::new)
}

/// Somebody must be able to fetch what is stored, and somebody to look after it.
fn check_keys(keyring: &Keyring, sites: &Sites) -> Result<(), StartError> {
    if !keyring.opens_any(|opens| matches!(opens, Opens::Everything)) {
        return Err(StartError::NoKey { name: "POSTERN_ADMIN_KEY", what: "the operator's" });
    }
    if !keyring.opens_any(|opens| matches!(opens, Opens::Site(_))) {
        return Err(StartError::NoKey { name: "POSTERN_API_KEY", what: "a poller's" });
    }
    for served in sites.iter() {
        let is_its = |opens: &Opens| matches!(opens, Opens::Site(site) if site.key == served.key);
        if !keyring.opens_any(is_its) {
            let id = &served.site.id;
            warn!(site.id = %id, "no poller has a key for this site: `postern-relay keys create NAME --site {id}` makes one");
        }
    }
    Ok(())
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |cause| StartError::Listen { address, cause };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener.try_into().map_err(failed)?, address))
}
