//! A certificate in files of the operator's, which are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs, io, mem};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, ServerConfig};
use tokio::sync::watch;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::config_with;

/// A certificate and its key, and the files they were read from.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    cert: PathBuf,
    key: PathBuf,
    look_every: Duration,
    seen: Pem,
    config: Arc<ServerConfig>,
}

/// What the two files held.
#[derive(Clone, Default, PartialEq, Eq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// Why a certificate cannot be used; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not there, or not for us to read.
    #[error("{setting} names {path}, which cannot be read: {cause}")]
    Unreadable {
        /// The flag.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// No certificate in it, or one that is broken.
    #[error(
        "--tls-cert names {0}, which holds no certificate in PEM: it begins with -----BEGIN CERTIFICATE-----"
    )]
    NoCertificate(PathBuf),
    /// No key in it, or one that is broken, encrypted or of an unknown kind.
    #[error(
        "--tls-key names {0}, which holds no key in PEM that can be used: take an ECDSA, Ed25519 or RSA key without a passphrase"
    )]
    NoKey(PathBuf),
    /// Each is good, and they are not a pair.
    #[error(
        "the key in {key} is not that of the first certificate in {cert}: the relay's own certificate comes first, those of its CA after it"
    )]
    NotAPair {
        /// The certificates' file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

impl CertificateFiles {
    /// Reads both.
    pub(super) fn open(
        cert: &Path,
        key: &Path,
        look_every: Duration,
    ) -> Result<Self, CertificateError> {
        let seen = Pem::read(cert, key)?;
        let config = seen.config(cert, key)?;
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), look_every, seen, config })
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Looks at the files again and again, and takes new connections with what they hold; while that
    /// is not a pair, with the last that was.
    pub(super) async fn follow(
        mut self,
        config: watch::Sender<Arc<ServerConfig>>,
        cancelled: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = cancelled.cancelled() => return,
                () = time::sleep(self.look_every) => {}
            }
            match self.look() {
                Ok(None) => {}
                Ok(Some(fresh)) => {
                    config.send_replace(fresh);
                    info!("the certificate was read again");
                }
                Err(problem) => warn!("the former certificate stays in use: {problem}"),
            }
        }
    }

    /// What new connections are to be taken with, when the files have changed.
    fn look(&mut self) -> Result<Option<Arc<ServerConfig>>, CertificateError> {
        let found = Pem::read(&self.cert, &self.key);
        // What cannot be read counts as empty, so that it is told of once.
        let now = found.as_ref().cloned().unwrap_or_default();
        if mem::replace(&mut self.seen, now.clone()) == now {
            return Ok(None);
        }
        found?.config(&self.cert, &self.key).map(Some)
    }
}

impl Pem {
    fn read(cert: &Path, key: &Path) -> Result<Self, CertificateError> {
        Ok(Self { cert: read("--tls-cert", cert)?, key: read("--tls-key", key)? })
    }

    fn config(&self, cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
        let no_certificate = |_| CertificateError::NoCertificate(cert.to_owned());
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .map_err(no_certificate)?;
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| CertificateError::NoKey(key.to_owned()))?;
        let pair = CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider());
        let pair = pair.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                CertificateError::NotAPair { cert: cert.to_owned(), key: key.to_owned() }
            }
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) => {
                CertificateError::NoCertificate(cert.to_owned())
            }
            _ => CertificateError::NoKey(key.to_owned()),
        })?;
        Ok(config_with(Arc::new(SingleCertAndKey::from(pair)), &[]))
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem")
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |cause| CertificateError::Unreadable { setting, path: path.to_owned(), cause };
    fs::read(path).map_err(unreadable)
}
