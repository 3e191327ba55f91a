//! A certificate from a CA that is asked by ACME (RFC 8555), which sees that the name leads here by a
//! TLS connection of its own (TLS-ALPN-01, RFC 8737).

use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_acme::acme::LETS_ENCRYPT_PRODUCTION_DIRECTORY;
use rustls_acme::caches::DirCache;
use rustls_acme::{AcmeConfig, AcmeState, EventOk};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{TlsArgs, TlsError};

/// What is asked of which CA, and where its answers are kept.
#[derive(Debug, Clone)]
pub struct Acme {
    domains: Vec<String>,
    email: Option<String>,
    cache: PathBuf,
    directory: String,
    /// Trusted for the directory in place of the web's.
    roots: Option<Arc<RootCertStore>>,
}

impl Acme {
    /// Makes the cache when there is none.
    pub(super) fn open(args: TlsArgs, db: &Path) -> Result<Self, TlsError> {
        let cache = args.acme_cache.unwrap_or_else(|| beside(db));
        private_folder(&cache)
            .map_err(|cause| TlsError::AcmeCache { folder: cache.clone(), cause })?;
        let directory = args.acme_directory;
        Ok(Self {
            domains: args.acme_domains,
            email: args.acme_email,
            cache,
            directory: directory.unwrap_or_else(|| LETS_ENCRYPT_PRODUCTION_DIRECTORY.to_owned()),
            roots: args.acme_roots.as_deref().map(read_roots).transpose()?,
        })
    }

    pub(super) fn state(self) -> AcmeState<io::Error> {
        let contact = self.email.map(|email| format!("mailto:{email}"));
        let mut config = AcmeConfig::new(self.domains).directory(self.directory).contact(contact);
        if let Some(roots) = self.roots {
            let client = ClientConfig::builder().with_root_certificates(roots);
            config = config.client_tls_config(Arc::new(client.with_no_client_auth()));
        }
        config.cache(DirCache::new(self.cache)).state()
    }
}

/// Gets a certificate, and a fresh one when two thirds of its time are over; ends when cancelled.
pub(super) async fn run(mut state: AcmeState<io::Error>, cancelled: CancellationToken) {
    loop {
        let event = tokio::select! {
            () = cancelled.cancelled() => return,
            Some(event) = state.next() => event,
        };
        match event {
            Ok(EventOk::DeployedNewCert) => info!("the CA gave a certificate, and it is in use"),
            Ok(EventOk::DeployedCachedCert) => info!("the certificate of an earlier run is in use"),
            Ok(EventOk::CertCacheStore | EventOk::AccountCacheStore) => {}
            Err(cause) => {
                warn!(error = %cause, "no certificate came of asking; asking again later")
            }
        }
    }
}

fn beside(db: &Path) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(".acme");
    name.into()
}

/// It holds keys.
fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

fn read_roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let bad = |problem: String| TlsError::AcmeRoots { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))? {
        let root = root.map_err(|e| bad(e.to_string()))?;
        roots.add(root).map_err(|e| bad(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it is empty".to_owned()));
    }
    Ok(Arc::new(roots))
}
