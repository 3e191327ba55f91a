//! A certificate by ACME, from Pebble: the small CA that Let's Encrypt tests clients with.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use postern_tests::{Answer, Process, eventually};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{ANY_PORT, Authority, client, connect};

/// The address of Pebble's own, which its certificate names.
const PEBBLE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// A CA that sees whether `localhost` leads to a port of this host.
struct Pebble {
    directory: SocketAddr,
    management: SocketAddr,
    authority: Authority,
    process: Option<Child>,
    folder: TempDir,
}

impl Pebble {
    fn new() -> Self {
        let [directory, management] = free_addresses();
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.issue().write(folder.path());
        std::fs::write(folder.path().join("root.pem"), authority.pem()).unwrap();
        Self { directory, management, authority, process: None, folder }
    }

    fn directory(&self) -> String {
        format!("https://{}/dir", self.directory)
    }

    /// The certificate that its directory is trusted by.
    fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Starts it; it will look for challenges at this port.
    async fn start(&mut self, port: u16) {
        let path = |name: &str| self.folder.path().join(name);
        let config = json!({ "pebble": {
            "listenAddress": self.directory.to_string(),
            "managementListenAddress": self.management.to_string(),
            "certificate": path("cert.pem"),
            "privateKey": path("key.pem"),
            "httpPort": port,
            "tlsPort": port,
        }});
        std::fs::write(path("pebble.json"), config.to_string()).unwrap();
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(path("pebble.json")).env("PEBBLE_VA_NOSLEEP", "1");
        // Else it refuses one nonce in twenty, to see that a client asks again.
        pebble.env("PEBBLE_WFE_NONCEREJECT", "0");
        pebble.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        self.process = Some(pebble.spawn().expect("pebble, of the Debian package of that name"));
        let listens =
            async || client(&self.authority.pem()).get(self.directory()).send().await.is_ok();
        eventually("pebble's directory", listens).await;
    }

    /// The certificate that it issues under; new at each start.
    async fn issuer(&self) -> String {
        let url = format!("https://{}/roots/0", self.management);
        let answer = Answer::to(client(&self.authority.pem()).get(url)).await;
        String::from_utf8(answer.body).unwrap()
    }

    async fn stop(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }
}

/// Pebble takes no port 0. These are free, and nothing else takes a port of this address.
fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((PEBBLE, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

async fn relay(folder: &Path, pebble: &Pebble) -> (Process, SocketAddr) {
    let (directory, root) = (pebble.directory(), pebble.root());
    let flags = [
        "--acme-domain",
        "localhost",
        "--acme-email",
        "operator@relay.example",
        "--acme-directory",
        &directory,
        "--acme-roots",
        root.to_str().unwrap(),
    ];
    Process::relay_with(&folder.join("relay.db"), ANY_PORT, &flags).await
}

#[tokio::test]
async fn a_certificate_comes_by_acme_and_is_kept_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut pebble = Pebble::new();
    let (mut process, address) = relay(folder.path(), &pebble).await;
    process.line_with("no certificate came of asking").await;
    pebble.start(address.port()).await;
    process.line_with("the CA gave a certificate").await;
    let issuer = pebble.issuer().await;
    let url = |address: SocketAddr| format!("https://localhost:{}/health", address.port());
    let answer = Answer::to(client(&issuer).get(url(address))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["strict-transport-security"], "max-age=31536000");
    let stream = connect(address, &issuer, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    drop((process, stream));

    pebble.stop().await;
    let cache = folder.path().join("relay.db.acme");
    assert_eq!(cache.metadata().unwrap().permissions().mode() & 0o077, 0, "it holds keys");
    let (_process, address) = relay(folder.path(), &pebble).await;
    let is_served = async || client(&issuer).get(url(address)).send().await.is_ok();
    eventually("the certificate of the first start", is_served).await;
}
