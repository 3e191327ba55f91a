//! A relay in a process of its own, and connections that are written by hand.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use postern_shared::visitor::MessageAccepted;
use postern_tests::{ADMIN_KEY, Caller, Process, soon};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A relay that is reached from this host as it is from the internet: no proxy is trusted.
pub(crate) struct Target {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

impl Target {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::trusting("", flags).await
    }

    pub(crate) async fn trusting(proxies: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("relay.db");
        let flags = [&["--trusted-proxies", proxies], flags].concat();
        let (process, address) =
            Process::relay_with(&db, (Ipv4Addr::LOCALHOST, 0).into(), &flags).await;
        Self { process, address, _folder: folder }
    }

    pub(crate) fn visitor(&self) -> Caller {
        Caller::new(self.address)
    }

    pub(crate) fn operator(&self) -> Caller {
        Caller::new(self.address).with_secret(ADMIN_KEY)
    }

    /// A session, and its token.
    pub(crate) async fn session(&self) -> (String, String) {
        let opened: MessageAccepted =
            self.visitor().post("/messages", &json!({ "message": "hi" })).await.data();
        (opened.session_id.to_string(), opened.session_token.unwrap())
    }

    /// What the relay counts under a name.
    pub(crate) async fn count(&self, name: &str) -> u64 {
        let answer = self.operator().get("//metrics").await;
        let text = String::from_utf8(answer.body).unwrap();
        let line =
            text.lines().find_map(|line| line.strip_prefix(&format!("postern_relay_{name} ")));
        line.expect("a count").parse().unwrap()
    }

    /// Connects from an address of this host.
    pub(crate) async fn connect_from(&self, last: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        self.connect_from(1).await
    }

    /// Writes some bytes and reads until the relay closes.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        rest(stream).await
    }
}

/// Everything that comes until the other side closes.
pub(crate) async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = soon("the connection's end", stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks whether the relay is well, on a connection that stays open, and whether it answers.
pub(crate) async fn is_served(stream: &mut TcpStream) -> bool {
    let request = b"HEAD /health HTTP/1.1\r\nHost: relay\r\n\r\n";
    if stream.write_all(request).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        match soon("an answer or the end", stream.read_u8()).await {
            Ok(byte) => answer.push(byte),
            Err(_) => return false,
        }
    }
    answer.starts_with(b"HTTP/1.1 200 OK")
}

/// A client that calls from an address of this host.
pub(crate) fn client_from(last: u8) -> reqwest::Client {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    reqwest::Client::builder().no_proxy().local_address(address).build().unwrap()
}
