//! TLS without a program in front: a certificate of the operator's own, or one that ACME brings.

mod acme;
mod files;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use postern_host::seconds;
use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use rustls_acme::acme::ACME_TLS_ALPN_NAME;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use acme::Acme;
pub use files::{CertificateError, CertificateFiles};

/// How the relay comes to a certificate; without one it speaks plain HTTP.
#[derive(Debug, Clone, Args)]
pub struct TlsArgs {
    /// A file with the relay's certificate and those of its CA after it, in PEM; it is read again
    /// when it changes
    #[arg(long, env = "POSTERN_TLS_CERT", value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,

    /// A file with the key of that certificate, in PEM
    #[arg(long, env = "POSTERN_TLS_KEY", value_name = "PATH")]
    pub tls_key: Option<PathBuf>,

    /// How often the two files are looked at
    #[arg(long, env = "POSTERN_TLS_LOOK_EVERY", value_name = "SECONDS", default_value = "10",
          value_parser = seconds::parse, hide = true)]
    pub tls_look_every: Duration,

    /// A name that visitors reach this relay by, for a certificate by ACME; may be given again. The
    /// relay must be reached on port 443 by it, and using it accepts the CA's terms
    #[arg(
        long = "acme-domain",
        env = "POSTERN_ACME_DOMAINS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub acme_domains: Vec<String>,

    /// Where the CA can reach you
    #[arg(long, env = "POSTERN_ACME_EMAIL", value_name = "ADDRESS")]
    pub acme_email: Option<String>,

    /// The folder of the ACME account and certificate; beside the database, with .acme, when not given
    #[arg(long, env = "POSTERN_ACME_CACHE", value_name = "DIR")]
    pub acme_cache: Option<PathBuf>,

    /// The CA's directory; Let's Encrypt's when not given
    #[arg(long, env = "POSTERN_ACME_DIRECTORY", value_name = "URL")]
    pub acme_directory: Option<String>,

    /// A file with the certificates that the directory itself is trusted by, in PEM, for a CA of
    /// one's own
    #[arg(long, env = "POSTERN_ACME_ROOTS", value_name = "PATH")]
    pub acme_roots: Option<PathBuf>,
}

/// Where the relay's certificate comes from; every file that is named was read, and fits.
#[derive(Debug, Clone)]
pub enum Tls {
    /// Files of the operator's.
    Files(CertificateFiles),
    /// A CA that is asked by ACME.
    Acme(Acme),
}

/// Why TLS cannot be served; each names the setting.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the two is missing.
    #[error("--tls-cert and --tls-key go together: give both, or neither")]
    HalfAPair,
    /// Two ways at once.
    #[error("--tls-cert and --acme-domain are two ways to a certificate: give one of them")]
    TwoWays,
    /// A file of the operator's.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificates that an ACME directory is trusted by.
    #[error("--acme-roots names {path}, which holds no certificates in PEM: {problem}")]
    AcmeRoots {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        problem: String,
    },
    /// The folder of the ACME account.
    #[error("--acme-cache names {folder}, which cannot be used: {cause}")]
    AcmeCache {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

impl TlsArgs {
    /// Reads what is named; `None` without TLS. The ACME cache is beside `db` unless it is named.
    ///
    /// # Errors
    /// A [`TlsError`] that names the setting.
    pub fn open(self, db: &Path) -> Result<Option<Tls>, TlsError> {
        match (&self.tls_cert, &self.tls_key, self.acme_domains.is_empty()) {
            (None, None, true) => Ok(None),
            (None, None, false) => Ok(Some(Tls::Acme(Acme::open(self, db)?))),
            (Some(cert), Some(key), true) => {
                let look_every = self.tls_look_every;
                Ok(Some(Tls::Files(CertificateFiles::open(cert, key, look_every)?)))
            }
            (Some(_), Some(_), false) => Err(TlsError::TwoWays),
            _ => Err(TlsError::HalfAPair),
        }
    }
}

impl Tls {
    /// Gives what connections are taken with, and keeps its certificate fresh until cancelled.
    pub(crate) fn start(
        self,
        tasks: &TaskTracker,
        cancelled: CancellationToken,
    ) -> watch::Receiver<Arc<ServerConfig>> {
        match self {
            Self::Files(files) => {
                let (latest, config) = watch::channel(files.config());
                tasks.spawn(files.follow(latest, cancelled));
                config
            }
            Self::Acme(acme) => {
                let state = acme.state();
                let config = config_with(state.resolver(), &[ACME_TLS_ALPN_NAME]);
                tasks.spawn(acme::run(state, cancelled));
                watch::channel(config).1
            }
        }
    }
}

/// HTTP/2 and HTTP/1.1, and whatever else is to be spoken.
fn config_with(resolver: Arc<dyn ResolvesServerCert>, also: &[&[u8]]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
    let protocols = [b"h2".as_slice(), b"http/1.1"].into_iter().chain(also.iter().copied());
    config.alpn_protocols = protocols.map(<[u8]>::to_vec).collect();
    Arc::new(config)
}
