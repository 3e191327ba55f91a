//! The cheapest client that still reads its answers: HTTP/1.1 on one connection, one call at a time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use postern_shared::Success;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const MAX_HEADERS: usize = 32;

/// One connection.
pub(crate) struct Connection {
    from: Ipv4Addr,
    to: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer's status, and its body.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// One server-sent event.
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Where the parts of an answer lie in the buffer; a stream has no length.
struct Head {
    status: u16,
    body_at: usize,
    body_len: Option<usize>,
}

impl Connection {
    /// Connects from this host's own address.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_from(Ipv4Addr::LOCALHOST, address).await
    }

    /// Connects from another address of loopback, each of which has ports of its own.
    pub(crate) async fn open_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { from, to, stream, buffer: Vec::new() })
    }

    /// Sends a whole request and reads its whole answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        let head = self.send(request).await?;
        let length = head.body_len.ok_or_else(|| io::Error::other("an answer without a length"))?;
        let end = head.body_at + length;
        while self.buffer.len() < end {
            self.read_more().await?;
        }
        Ok(Answer { status: head.status, body: &self.buffer[head.body_at..end] })
    }

    /// What a call succeeds with.
    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, request: &[u8]) -> Result<T> {
        let Answer { status, body } = self.call(request).await.context("no answer")?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(body));
        Ok(serde_json::from_slice::<Success<T>>(body)?.data)
    }

    /// Sends a request whose answer is a stream of events.
    pub(crate) async fn listen(&mut self, request: &[u8]) -> Result<()> {
        let head = self.send(request).await?;
        ensure!(head.status == 200, "a stream was answered {}", head.status);
        self.buffer.drain(..head.body_at);
        Ok(())
    }

    /// The next event. Each comes as a chunk of its own; what stands around it is skipped.
    pub(crate) async fn event(&mut self) -> io::Result<Event> {
        loop {
            if let Some(event) = take_event(&mut self.buffer) {
                return Ok(event);
            }
            self.read_more().await?;
        }
    }

    /// Sends a request, and reads the head of its answer; as browsers do, on a new connection when the
    /// server closed this one meanwhile, since nothing was asked on it for so long.
    async fn send(&mut self, request: &[u8]) -> io::Result<Head> {
        match self.send_here(request).await {
            Err(fault) if self.buffer.is_empty() && is_closed(&fault) => {
                *self = Self::open_from(self.from, self.to).await?;
                self.send_here(request).await
            }
            sent => sent,
        }
    }

    async fn send_here(&mut self, request: &[u8]) -> io::Result<Head> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        loop {
            if let Some(head) = read_head(&self.buffer)? {
                return Ok(head);
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn is_closed(fault: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(fault.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn read_head(buffer: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(buffer).map_err(io::Error::other)?;
    let httparse::Status::Complete(body_at) = parsed else { return Ok(None) };
    let length = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let body_len = length.and_then(|header| str::from_utf8(header.value).ok()?.parse().ok());
    Ok(Some(Head { status: response.code.unwrap_or_default(), body_at, body_len }))
}

/// Takes the first event that has come whole, and what stands before it.
pub(crate) fn take_event(buffer: &mut Vec<u8>) -> Option<Event> {
    loop {
        let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
        let event = read_event(&String::from_utf8_lossy(&buffer[..end]));
        buffer.drain(..end + 2);
        if event.is_some() {
            return event;
        }
    }
}

/// `None` for a comment.
fn read_event(text: &str) -> Option<Event> {
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    Some(Event { name: field("event: ")?, data: field("data: ")? })
}
