//! Event streams that share connections: as many as a proxy that speaks HTTP/2 has to a relay.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use axum::http::{Request, header};
use h2::RecvStream;
use h2::client::{self, SendRequest};
use postern_shared::Cursor;
use tokio::net::TcpStream;

use crate::http::{Event, take_event};
use crate::stored::{session_id, session_token};

/// Room for what is told to streams that are not read yet, in bytes.
const WINDOW: u32 = 1 << 20;

/// A connection, which lives as long as one of its streams.
pub(crate) struct Connection {
    relay: SocketAddr,
    requests: SendRequest<Bytes>,
}

/// An event stream.
pub(crate) struct Events {
    body: RecvStream,
    buffer: Vec<u8>,
    /// Keeps the connection.
    _requests: SendRequest<Bytes>,
}

impl Connection {
    pub(crate) async fn open(relay: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(relay).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) =
            client::Builder::new().initial_connection_window_size(WINDOW).handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { relay, requests })
    }

    /// An event stream from the beginning of a conversation, once its head is there.
    pub(crate) async fn listen(&mut self, session: u32) -> Result<Events> {
        let (relay, id, after) = (self.relay, session_id(session), Cursor::default());
        let request =
            Request::get(format!("http://{relay}/api/v1/sessions/{id}/events?after={after}"))
                .header(header::AUTHORIZATION, format!("Bearer {}", session_token(session)))
                .body(())?;
        let mut requests = self.requests.clone().ready().await?;
        let (answer, _) = requests.send_request(request, true)?;
        let answer = answer.await?;
        ensure!(answer.status() == 200, "a stream was answered {}", answer.status());
        Ok(Events { body: answer.into_body(), buffer: Vec::new(), _requests: requests })
    }
}

impl Events {
    /// The next event.
    pub(crate) async fn event(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = take_event(&mut self.buffer) {
                return Ok(event);
            }
            let data = self.body.data().await.context("the stream has ended")??;
            self.body.flow_control().release_capacity(data.len())?;
            self.buffer.extend_from_slice(&data);
        }
    }
}
