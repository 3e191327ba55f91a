//! A poller before a relay whose certificate is not the relay's.

use std::io;
use std::sync::Arc;

use postern_tests::faults::poller_args;
use postern_tests::{API_KEY, Process, soon};
use rcgen::date_time_ymd;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::{ANY_PORT, Authority, Pair};

/// A poller that trusts one CA, and the place where it looks for its relay.
struct Scene {
    listener: TcpListener,
    poller: Process,
    authority: Authority,
    _folder: TempDir,
}

impl Scene {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let root = folder.path().join("root.pem");
        std::fs::write(&root, authority.pem()).unwrap();
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let args = poller_args(&url, &folder.path().join("poller.db"), &["--agent", "echo"]);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let environment = [("POSTERN_API_KEY", API_KEY), ("SSL_CERT_FILE", root.to_str().unwrap())];
        let poller = Process::start_with("postern-poller", &args, &environment);
        Self { listener, poller, authority, _folder: folder }
    }

    /// Shows a certificate to the poller when it comes next; an error when it goes away for it, having
    /// said nothing.
    async fn show(&self, pair: &Pair) -> io::Result<TlsStream<TcpStream>> {
        let (stream, _) = soon("a poller that tries", self.listener.accept()).await?;
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![pair.der()], key).unwrap();
        soon("a handshake", TlsAcceptor::from(Arc::new(config)).accept(stream)).await
    }

    /// The key goes to nobody who shows this certificate, and to the relay once that is there.
    async fn refuses(&mut self, bad: &Pair, advice: &str) {
        assert!(self.show(bad).await.is_err(), "{advice}");
        let line = self.poller.line_with("certificate is refused").await;
        assert!(line.contains(advice), "{line}");
        assert!(self.show(bad).await.is_err(), "{advice}");
        let good = self.authority.issue();
        let mut relay = self.show(&good).await.unwrap();
        let mut call = vec![0; 4096];
        let length = soon("a call", relay.read(&mut call)).await.unwrap();
        assert!(String::from_utf8_lossy(&call[..length]).contains(API_KEY));
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_trusted_signed_gets_no_key() {
    let stranger = Authority::new();
    for bad in [stranger.issue(), stranger.own()] {
        let mut scene = Scene::set().await;
        scene.refuses(&bad, "name the file of your own CA in SSL_CERT_FILE").await;
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_gets_no_key() {
    let mut scene = Scene::set().await;
    let bad = scene.authority.issue_with(&["relay.example"], |_| {});
    scene.refuses(&bad, "--relay must name the relay as its certificate does").await;
}

#[tokio::test]
async fn a_certificate_that_has_expired_gets_no_key() {
    let mut scene = Scene::set().await;
    let bad = scene.authority.issue_with(&["localhost"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
    });
    scene.refuses(&bad, "renew it at the relay").await;
}
