//! A relay on a port of its own, with a file of its own.

use std::net::SocketAddr;
use std::time::Duration;

use postern_relay::compat::Compat;
use postern_relay::config::{Limits, default_file_types};
use postern_relay::connections::ConnectionLimits;
use postern_relay::limits::{AddressLimits, SiteLimits};
use postern_relay::secret::SecretHash;
use postern_relay::sites::Site;
use postern_relay::{Config, Server};
use tempfile::TempDir;

use crate::{ADMIN_KEY, API_KEY, Caller, Visitor};

/// How long a relay in a test waits for a poller before it says so.
const AWAY_AFTER: Duration = Duration::from_secs(1);

/// A running relay; its file outlives a restart and goes with this value.
pub struct TestRelay {
    server: Option<Server>,
    address: SocketAddr,
    folder: TempDir,
    limits: Limits,
    rates: (AddressLimits, SiteLimits),
    compat: Option<Compat>,
}

impl TestRelay {
    /// Starts a relay with the limits that users have on what is sent, and none on how often.
    #[expect(clippy::unused_async, reason = "needs a runtime to start in")]
    pub async fn start() -> Self {
        Self::with(Limits::default())
    }

    /// Starts a relay with other limits, inside a runtime.
    ///
    /// # Panics
    /// When it does not start.
    pub fn with(limits: Limits) -> Self {
        Self::start_with(limits, (AddressLimits::OFF, SiteLimits::OFF), None)
    }

    /// Starts a relay that lets an address and a site's visitors ask for so much, inside a runtime.
    ///
    /// # Panics
    /// When it does not start.
    pub fn limited(address: AddressLimits, site: SiteLimits) -> Self {
        Self::start_with(Limits::default(), (address, site), None)
    }

    /// Starts a relay that serves another relay's contract, too, to a site's visitors who may ask for
    /// so much, inside a runtime.
    ///
    /// # Panics
    /// When it does not start.
    pub fn compatible(compat: Compat, site: SiteLimits) -> Self {
        Self::start_with(Limits::default(), (AddressLimits::OFF, site), Some(compat))
    }

    fn start_with(
        limits: Limits,
        rates: (AddressLimits, SiteLimits),
        compat: Option<Compat>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = bind(([127, 0, 0, 1], 0).into(), &folder, limits, rates, compat);
        Self { address: server.address(), server: Some(server), folder, limits, rates, compat }
    }

    /// Where it listens; the same after a restart.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a poller is told it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Gives it other limits from its next start on.
    pub fn limits_are(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Ends it as SIGTERM would.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown().await;
        }
    }

    /// Starts it again on the same address and file.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        self.server = Some(bind(self.address, &self.folder, self.limits, self.rates, self.compat));
    }

    /// Someone on a page; has no session yet.
    pub fn visitor(&self) -> Visitor {
        Visitor::new(self.address)
    }

    /// Calls as a poller would.
    pub fn poller_calls(&self) -> Caller {
        Caller::new(self.address).with_secret(API_KEY)
    }

    /// Calls as the operator would.
    pub fn operator_calls(&self) -> Caller {
        Caller::new(self.address).with_secret(ADMIN_KEY)
    }

    /// Calls without any credential.
    pub fn stranger_calls(&self) -> Caller {
        Caller::new(self.address)
    }
}

fn bind(
    listen: SocketAddr,
    folder: &TempDir,
    limits: Limits,
    (address_limits, of_site): (AddressLimits, SiteLimits),
    compat: Option<Compat>,
) -> Server {
    let site = Site { limits: of_site, compat, ..Site::only(Some(SecretHash::of(API_KEY))) };
    let config = Config {
        listen,
        db: folder.path().join("relay.db"),
        files: folder.path().join("relay.db.files"),
        file_types: default_file_types(),
        admin_key: Some(SecretHash::of(ADMIN_KEY)),
        sites: vec![site],
        away_after: AWAY_AFTER,
        limits,
        address_limits,
        connections: ConnectionLimits::default(),
        tls: None,
    };
    Server::bind(config).expect("a relay that starts")
}
