//! The cheapest client that still reads its answers: HTTP/1.1 on one connection, one call at a time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const MAX_HEADERS: usize = 32;

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer's status, and its body.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// Where the parts of an answer lie in the buffer.
struct Head {
    status: u16,
    body_at: usize,
    body_len: usize,
}

impl Connection {
    /// Connects from this host's own address.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_from(Ipv4Addr::LOCALHOST, address).await
    }

    /// Connects from another address of loopback, each of which has ports of its own.
    pub(crate) async fn open_from(from: Ipv4Addr, address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a whole request and reads its whole answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = read_head(&self.buffer)? {
                break head;
            }
            self.read_more().await?;
        };
        let end = head.body_at + head.body_len;
        while self.buffer.len() < end {
            self.read_more().await?;
        }
        Ok(Answer { status: head.status, body: &self.buffer[head.body_at..end] })
    }

    /// Sends a request whose answer does not end.
    pub(crate) async fn sends(&mut self, request: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        self.stream.write_all(request).await
    }

    /// Reads on until both texts have come, and forgets everything up to there.
    pub(crate) async fn reads(&mut self, one: &str, other: &str) -> io::Result<()> {
        loop {
            let text = String::from_utf8_lossy(&self.buffer);
            if text.contains(one) && text.contains(other) {
                self.buffer.clear();
                return Ok(());
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

fn read_head(buffer: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(buffer).map_err(io::Error::other)?;
    let httparse::Status::Complete(body_at) = parsed else { return Ok(None) };
    let length = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| str::from_utf8(header.value).ok()?.parse().ok());
    let body_len = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
    Ok(Some(Head { status: response.code.unwrap_or_default(), body_at, body_len }))
}
