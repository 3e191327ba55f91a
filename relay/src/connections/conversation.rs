//! One connection, from its first request to its last answer.

use std::convert::Infallible;
use std::future::{self, Future};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{self, HeaderValue, Method, header};
use axum::response::Response;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::answer::Holding;
use super::answer::{Requests, UnderWay, until_sent};
use super::handover::{Handover, Outgoing, Telling, send_on};
use super::{
    HTTP1_BUFFER, HTTP2_HEAD, HTTP2_RESETS, HTTP2_SEND_BUFFER, HTTP2_STREAMS, HTTP2_WINDOW,
};

/// What HTTP/2 begins with (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whoever knows the answers.
pub(crate) trait Answer: Clone + Send + Sync + Unpin + 'static {
    /// The answer to a request from this other end.
    fn answer(
        &self,
        peer: SocketAddr,
        request: Request,
    ) -> impl Future<Output = Response> + Send + use<Self>;
}

/// Marks an answer whose body goes on for as long as somebody listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endless;

/// Who speaks on a connection, and who answers.
#[derive(Clone)]
pub(super) struct Conversation<A> {
    pub(super) answer: A,
    pub(super) peer: SocketAddr,
    pub(super) requests: Requests,
    /// The relay's end.
    pub(super) cancelled: CancellationToken,
}

/// How HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

impl Version {
    /// By the first bytes of a connection without TLS.
    pub(super) fn of(beginning: [u8; HTTP2_PREFACE.len()]) -> Self {
        if beginning == HTTP2_PREFACE { Self::Http2 } else { Self::Http1 }
    }

    /// As it was agreed on in the handshake (ALPN, RFC 7301).
    pub(super) fn agreed(protocol: Option<&[u8]>) -> Self {
        if protocol == Some(b"h2") { Self::Http2 } else { Self::Http1 }
    }
}

/// Both versions, and what they bound.
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    pub(super) fn new() -> Self {
        let mut http1 = http1::Builder::new();
        http1.max_buf_size(HTTP1_BUFFER).max_header_size(HTTP1_BUFFER);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(HTTP2_HEAD)
            .initial_stream_window_size(HTTP2_WINDOW)
            .initial_connection_window_size(HTTP2_WINDOW)
            .max_send_buf_size(HTTP2_SEND_BUFFER)
            .max_pending_accept_reset_streams(HTTP2_RESETS);
        Self { http1, http2 }
    }
}

impl<A: Answer> Conversation<A> {
    /// Answers until one of the two has had enough, or the relay ends.
    pub(super) async fn hold<T>(
        self,
        stream: T,
        version: Version,
        protocols: &Protocols,
    ) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match version {
            // Boxed, so that what hyper needs is gone when hyper is.
            Version::Http1 => match Box::pin(self.speak_http1(stream, &protocols.http1)).await? {
                Some((mut stream, body)) => send_on(&mut stream, body).await,
                None => Ok(()),
            },
            Version::Http2 => Box::pin(self.speak_http2(stream, &protocols.http2)).await,
        }
    }

    /// Ends with the connection, or with an answer of which the head has been sent and the rest is
    /// without end.
    async fn speak_http1<T>(
        self,
        stream: T,
        protocol: &http1::Builder,
    ) -> io::Result<Option<(T, Holding<UnderWay>)>>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handover = Handover::default();
        let cancelled = self.cancelled.clone();
        let service = {
            let handover = handover.clone();
            service_fn(move |request: http::Request<Incoming>| {
                let handover = may_be_endless(&request).then(|| handover.clone());
                self.reply(request, handover).boxed()
            })
        };
        let stream = TokioIo::new(Telling::new(stream, handover.clone()));
        let mut connection = protocol.serve_connection(stream, service);
        let mut cancelled = pin!(cancelled.cancelled().fuse());
        let taken = future::poll_fn(|cx| {
            if cancelled.as_mut().poll(cx).is_ready() {
                Pin::new(&mut connection).graceful_shutdown();
            }
            let ended = connection.poll_without_shutdown(cx).map_ok(|()| None);
            match handover.take() {
                Some(body) if ended.is_pending() => Poll::Ready(Ok(Some(body))),
                _ => ended,
            }
        });
        let taken = taken.await.map_err(io::Error::other)?;
        let mut stream = connection.into_parts().io.into_inner().into_inner();
        match taken {
            Some(body) => Ok(Some((stream, body))),
            None => stream.shutdown().await.map(|()| None),
        }
    }

    async fn speak_http2<T>(
        self,
        stream: T,
        protocol: &http2::Builder<TokioExecutor>,
    ) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let cancelled = self.cancelled.clone();
        let service = service_fn(move |request| self.reply(request, None).boxed());
        let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            biased;
            () = cancelled.cancelled() => connection.as_mut().graceful_shutdown(),
            ended = connection.as_mut() => return ended.map_err(io::Error::other),
        }
        connection.await.map_err(io::Error::other)
    }

    /// Counts a request as under way until its answer has been sent.
    fn reply(
        &self,
        request: http::Request<Incoming>,
        handover: Option<Handover>,
    ) -> impl Future<Output = Result<http::Response<Outgoing>, Infallible>> + Send + use<A> {
        let under_way = self.requests.begin();
        self.answer.answer(self.peer, request.map(Body::new)).map(move |answer| {
            let mut answer = until_sent(answer, under_way);
            let is_endless = answer.extensions().get::<Endless>().is_some();
            let Some(handover) = handover.filter(|_| is_endless) else {
                return Ok(answer.map(Outgoing::Whole));
            };
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            Ok(answer.map(|body| handover.offer(body)))
        })
    }
}

/// Whether an answer may come in chunks, and nothing after it.
fn may_be_endless(request: &http::Request<Incoming>) -> bool {
    request.version() == http::Version::HTTP_11 && request.method() == Method::GET
}
