//! Taking connections, and letting them go when the relay ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Gate;
use super::answer::Requests;
use super::conversation::{Answer, Conversation, Protocols, Version};

/// How long answers under way may take after the end was asked for.
const DRAIN: Duration = Duration::from_secs(3);

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long none is taken after one could not be: most likely there are too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// What every connection is taken with.
pub(crate) struct Entrance<A> {
    pub(crate) gate: Gate,
    /// The certificate of the moment; without one, connections speak plain HTTP.
    pub(crate) tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    pub(crate) answer: A,
    /// The relay's end.
    pub(crate) cancelled: CancellationToken,
}

/// Takes connections until the relay ends, and returns once they have ended too.
pub(crate) async fn serve<A: Answer>(listener: TcpListener, entrance: Entrance<A>) {
    let entrance = Arc::new((entrance, Protocols::new()));
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = entrance.0.cancelled.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener) => accepted,
        };
        let entrance = Arc::clone(&entrance);
        // A connection that fails is its client's affair.
        connections.spawn(async move {
            let _ = entrance.0.take(stream, peer, &entrance.1).await;
        });
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if time::timeout(DRAIN, ended).await.is_err() {
        connections.shutdown().await;
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(_) => time::sleep(PAUSE).await,
        }
    }
}

impl<A: Answer> Entrance<A> {
    /// Lets a connection in and speaks with it until it ends.
    async fn take(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        protocols: &Protocols,
    ) -> io::Result<()> {
        let requests = Requests::default();
        let mut stream = self.gate.let_in(stream, requests.clone())?;
        let answer = self.answer.clone();
        let conversation =
            Conversation { answer, peer, requests, cancelled: self.cancelled.clone() };
        let Some(tls) = &self.tls else {
            let version = Version::of(self.unless_over(stream.beginning()).await?);
            return conversation.hold(stream, version, protocols).await;
        };
        let config = Arc::clone(&tls.borrow());
        // In a box of its own, which is gone with the handshake.
        let handshake = Box::pin(TlsAcceptor::from(config).accept(stream));
        let stream = time::timeout(HANDSHAKE, self.unless_over(handshake)).await??;
        let version = Version::agreed(stream.get_ref().1.alpn_protocol());
        conversation.hold(stream, version, protocols).await
    }

    /// An error once the relay ends: nobody waits for a client that has said nothing yet.
    async fn unless_over<T>(&self, waiting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let waited = self.cancelled.run_until_cancelled(waiting).await;
        waited.unwrap_or_else(|| Err(io::ErrorKind::ConnectionAborted.into()))
    }
}
