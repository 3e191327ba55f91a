//! A session's event stream (Server-Sent Events, WHATWG HTML §9.2).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use postern_shared::Cursor;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::App;
use super::error::ApiError;
use super::extract::{Query, SessionPath, VisitorToken, cursor};
use crate::metrics::Held;
use crate::store::{Entry, SessionKey, Store, Subscription};

/// Silence after which a comment shows proxies and the page that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How many entries are read at once for a stream that has fallen behind.
const CATCH_UP: u32 = 100;

/// The query of [`stream_events`]; `Last-Event-ID` goes before it.
#[derive(Deserialize)]
pub(super) struct EventsQuery {
    after: Option<String>,
}

/// `GET /sessions/{session_id}/events`
pub(super) async fn stream_events(
    State(app): State<App>,
    SessionPath(session): SessionPath,
    token: VisitorToken,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let last = headers.get("last-event-id").filter(|last| !last.is_empty());
    let after = match last {
        Some(last) => cursor("Last-Event-ID", Some(last.to_str().unwrap_or("?")))?,
        None => cursor("after", query.after.as_deref())?,
    };
    let after = after.unwrap_or_default();
    let session = app.store.authorise(session, token.required()?).await?;
    let changes = app.store.subscribe(session);
    // Read once before the head is sent, so that an unknown cursor is an error and not a silence.
    let waiting = app.store.entries_after(session, after, false, CATCH_UP).await?;
    let open = OpenStream::new(app, session, after, waiting, changes);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    let mut response = Sse::new(events(open)).keep_alive(keep_alive).into_response();
    forbid_buffering(response.headers_mut());
    Ok(response)
}

/// What keeps proxies from holding events back: nginx by its own header, the rest by `no-transform`.
fn forbid_buffering(headers: &mut HeaderMap) {
    let accel = HeaderName::from_static("x-accel-buffering");
    headers.insert(accel, HeaderValue::from_static("no"));
    let cache = HeaderValue::from_static("no-cache, no-transform");
    headers.insert(header::CACHE_CONTROL, cache);
}

/// One open stream.
struct OpenStream {
    store: Store,
    session: SessionKey,
    cursor: Cursor,
    greeted: bool,
    /// Whether the latest read saw the conversation's end.
    caught_up: bool,
    waiting: VecDeque<Entry>,
    changes: Subscription,
    cancelled: CancellationToken,
    _counted: Held,
}

impl OpenStream {
    fn new(
        app: App,
        session: SessionKey,
        cursor: Cursor,
        waiting: Vec<Entry>,
        changes: Subscription,
    ) -> Self {
        Self {
            store: app.store,
            session,
            cursor,
            greeted: false,
            caught_up: waiting.len() < CATCH_UP as usize,
            waiting: waiting.into(),
            changes,
            cancelled: app.cancelled,
            _counted: Held::count(&app.metrics.event_streams),
        }
    }

    /// The next event; `None` ends the stream, and the visitor's page comes back with its cursor.
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            return Some(Event::default().comment("connected"));
        }
        while self.waiting.is_empty() {
            if self.caught_up {
                tokio::select! {
                    () = self.cancelled.cancelled() => return None,
                    () = self.changes.changed() => {}
                }
            }
            match self.store.entries_after(self.session, self.cursor, false, CATCH_UP).await {
                Ok(entries) => {
                    self.caught_up = entries.len() < CATCH_UP as usize;
                    self.waiting.extend(entries);
                }
                Err(cause) => {
                    warn!(error = %cause, "an event stream ends: its session could not be read");
                    return None;
                }
            }
        }
        self.waiting.pop_front().and_then(|entry| self.message(&entry))
    }

    fn message(&mut self, entry: &Entry) -> Option<Event> {
        self.cursor = Cursor::after(entry.id);
        let event = Event::default().event("message").id(self.cursor.to_string());
        event.json_data(entry).ok()
    }
}

fn events(open: OpenStream) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(open, async |mut open| {
        let event = open.next().await?;
        Some((Ok(event), open))
    })
}
