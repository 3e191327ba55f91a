//! A service written by hand, so that each byte and each cut of what it sends is the test's.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::soon;

/// A request as it arrived.
pub(crate) struct Request {
    /// The request line and the headers, as they were sent.
    pub(crate) head: String,
    /// The JSON body.
    pub(crate) body: Value,
}

impl Request {
    /// A header's value; `None` when it was not sent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What the service does once its answer is sent.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    Close,
    WaitForTheCallerToLeave,
}

/// A service that gives its answers in turn, the last one again and again.
pub(crate) struct Server {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Request>,
    departures: mpsc::UnboundedReceiver<()>,
}

impl Server {
    pub(crate) async fn start(answer: Vec<u8>) -> Self {
        Self::start_and(vec![answer], Then::Close).await
    }

    pub(crate) async fn start_and(answers: Vec<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (arrived, requests) = mpsc::unbounded_channel();
        let (left, departures) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            let mut answer = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                answer = answers.next().unwrap_or(answer);
                tokio::spawn(serve(stream, answer.clone(), then, arrived.clone(), left.clone()));
            }
        });
        Self { address, requests, departures }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request; waits for it.
    pub(crate) async fn request(&mut self) -> Request {
        soon(self.requests.recv()).await.expect("the service runs")
    }

    /// Whether no request is there that was not taken.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }

    /// Waits until a caller has closed its connection.
    pub(crate) async fn departure(&mut self) {
        soon(self.departures.recv()).await.expect("the service runs");
    }
}

async fn serve(
    stream: TcpStream,
    answer: Vec<u8>,
    then: Then,
    arrived: mpsc::UnboundedSender<Request>,
    left: mpsc::UnboundedSender<()>,
) {
    let mut stream = BufReader::new(stream);
    let Some(request) = read_request(&mut stream).await else { return };
    let _ = arrived.send(request);
    // A caller may leave when it has heard enough.
    let _ = stream.write_all(&answer).await;
    if then == Then::WaitForTheCallerToLeave {
        let _ = stream.read_to_end(&mut Vec::new()).await;
        let _ = left.send(());
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let mut request = Request { head: String::from_utf8(head).ok()?, body: Value::Null };
    let mut body = vec![0; request.header("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    request.body = serde_json::from_slice(&body).ok()?;
    Some(request)
}

/// An answer whose length is told.
pub(crate) fn answer(status: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = format!("content-length: {}", body.len());
    let mut answer = head(status, headers.iter().copied().chain([length.as_str()]));
    answer.extend_from_slice(body);
    answer
}

/// A streamed answer, each of its pieces in a chunk of its own, without its end.
pub(crate) fn chunks<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let headers = ["content-type: text/event-stream; charset=utf-8", "transfer-encoding: chunked"];
    let mut answer = head("200 OK", headers.into_iter());
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        answer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        answer.extend_from_slice(piece);
        answer.extend_from_slice(b"\r\n");
    }
    answer
}

/// A streamed answer with its end.
pub(crate) fn stream<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut answer = chunks(pieces);
    answer.extend_from_slice(b"0\r\n\r\n");
    answer
}

fn head<'a>(status: &str, headers: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}
