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
use postern_shared::visitor::{Host, MessageState, Role, Status};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::App;
use super::entries::fitting;
use super::error::ApiError;
use super::extract::{Query, SessionPath, VisitorCaller, cursor};
use super::limits::open_stream;
use crate::client_address::ClientAddress;
use crate::clock::Clock;
use crate::connections::Endless;
use crate::limits::CountedStream;
use crate::metrics::Held;
use crate::sites::ServedSite;
use crate::store::{
    Change, Entry, Place, SessionKey, Step, Store, StoreError, Subscription, Waiting,
};

/// Silence after which a comment shows proxies and the page that the stream lives: less than the 30 s
/// after which the least patient proxies end a silent answer, and the 40 s after which the widget does.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// How many entries are read at once for a stream that has fallen behind.
const CATCH_UP: u32 = 32;

/// The query of [`stream_events`]; `Last-Event-ID` goes before it.
#[derive(Deserialize)]
pub(super) struct EventsQuery {
    after: Option<String>,
}

/// `GET /sessions/{session_id}/events`
pub(super) async fn stream_events(
    State(app): State<App>,
    SessionPath(session): SessionPath,
    client: ClientAddress,
    caller: VisitorCaller,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let last = headers.get("last-event-id").filter(|last| !last.is_empty());
    let after = match last {
        Some(last) => cursor("Last-Event-ID", Some(last.to_str().unwrap_or("?")))?,
        None => cursor("after", query.after.as_deref())?,
    };
    let after = after.unwrap_or_default();
    let session = app.store.authorise(session, caller.required_token()?).await?;
    let counted = open_stream(&app, &caller.site, session, client)?;
    let mut open = OpenStream::new(app, &caller.site, session, after, counted);
    // Read once before the head is sent, so that an unknown cursor is an error and not a silence.
    open.catch_up().await?;
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    let mut response = Sse::new(events(open)).keep_alive(keep_alive).into_response();
    forbid_buffering(response.headers_mut());
    response.extensions_mut().insert(Endless);
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
    clock: Clock,
    session: SessionKey,
    cursor: Cursor,
    /// What is to be sent next.
    outgoing: VecDeque<Event>,
    changes: Subscription,
    host: watch::Receiver<Host>,
    /// Whether the latest read saw the conversation's end.
    caught_up: bool,
    /// The message whose turn it is, or that was just given up.
    waiting: Option<Waiting>,
    /// How far its reply has been sent.
    place: Place,
    /// The status that was sent last.
    told: Option<Status>,
    cancelled: CancellationToken,
    _counted: (Held, CountedStream),
}

impl OpenStream {
    fn new(
        app: App,
        site: &ServedSite,
        session: SessionKey,
        cursor: Cursor,
        counted: CountedStream,
    ) -> Self {
        Self {
            changes: app.store.subscribe(session),
            host: site.presence.watch(),
            store: app.store.clone(),
            clock: app.clock,
            session,
            cursor,
            outgoing: VecDeque::from([Event::default().comment("connected")]),
            caught_up: false,
            waiting: None,
            place: Place::default(),
            told: None,
            cancelled: app.cancelled.clone(),
            _counted: (Held::count(&app.metrics.event_streams), counted),
        }
    }

    /// The next event; `None` ends the stream, and the visitor's page comes back with its cursor.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.outgoing.pop_front() {
                return Some(event);
            }
            let change = if self.caught_up { self.wait().await? } else { Change::Stored };
            let is_told = match change {
                Change::Stored => false,
                Change::Steps(steps) => steps.iter().all(|step| self.take(step)),
                Change::Written => true,
            };
            if is_told {
                self.tell_state();
            } else {
                self.catch_up().await.inspect_err(warn_of_end).ok()?;
            }
        }
    }

    /// Waits for news of any kind; `None` when the relay ends.
    async fn wait(&mut self) -> Option<Change> {
        tokio::select! {
            () = self.cancelled.cancelled() => None,
            change = self.changes.changed() => Some(change),
            // Nothing was stored either.
            changed = self.host.changed() => changed.ok().map(|()| Change::Written),
        }
    }

    /// Goes on by a step, without a look at what was stored; false when it does not lead on.
    fn take(&mut self, step: &Step) -> bool {
        let leads_on = step.leads_on_from(self.cursor, self.waiting);
        if leads_on {
            step.said.iter().for_each(|entry| self.tell_entry(entry));
            self.waiting = step.waiting;
        }
        leads_on
    }

    /// Reads what was stored; once all of it is told, so is what is not stored.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let (store, now) = (&self.store, self.clock.now());
        let news = if self.caught_up {
            store.latest_news(self.session, self.cursor, CATCH_UP, now).await?
        } else {
            store.news(self.session, self.cursor, CATCH_UP, now).await?
        };
        let fits = fitting(news.entries.iter());
        self.caught_up = news.entries.len() < CATCH_UP as usize && news.entries.len() <= fits;
        for entry in news.entries.iter().take(fits) {
            self.tell_entry(entry);
        }
        // One that was given up is told of until the next takes its place.
        let is_over = |waiting: &Waiting| waiting.state == MessageState::Failed;
        self.waiting = news.waiting.or(self.waiting.filter(is_over));
        if self.caught_up {
            self.tell_state();
        }
        Ok(())
    }

    fn tell_state(&mut self) {
        self.tell_draft();
        self.tell_status();
    }

    fn tell_entry(&mut self, entry: &Entry) {
        self.cursor = Cursor::after(entry.id);
        let event = Event::default().event("message").id(self.cursor.to_string());
        self.tell(event, entry);
        if let Some(waiting) = &mut self.waiting
            && entry.role == Role::System
            && entry.message_id == Some(waiting.message)
        {
            waiting.state = MessageState::Failed;
        }
    }

    /// Tells what was written since the last time.
    fn tell_draft(&mut self) {
        let Some(waiting) = self.waiting else { return };
        if let Some(chunk) = self.store.draft_since(waiting.message, &mut self.place) {
            self.tell(Event::default().event("chunk"), &chunk);
        }
    }

    /// Tells how things stand, unless they stand as they were told to.
    fn tell_status(&mut self) {
        let waiting = self.waiting;
        let status = Status {
            host: *self.host.borrow_and_update(),
            message_id: waiting.map(|waiting| waiting.message),
            state: waiting.map(|waiting| waiting.state),
            progress: waiting.and_then(|waiting| self.store.progress(waiting.message)),
        };
        if self.told.as_ref() != Some(&status) {
            self.tell(Event::default().event("status"), &status);
            self.told = Some(status);
        }
    }

    fn tell(&mut self, event: Event, data: &impl Serialize) {
        // Ids, texts and moments always make JSON.
        self.outgoing.extend(event.json_data(data));
    }
}

fn warn_of_end(cause: &StoreError) {
    warn!(error = %cause, "an event stream ends: its session could not be read");
}

fn events(open: OpenStream) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(open, async |mut open| {
        let event = open.next().await?;
        Some((Ok(event), open))
    })
}
