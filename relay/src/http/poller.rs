//! The poller's calls.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use postern_host::fault;
use postern_shared::poller::{
    ChunkTaken, ExtendRequest, Extended, Inbox, LeaseRequest, Leased, LeasedMessage,
    MAX_QUICK_REPLIES, MAX_QUICK_REPLY_CHARS, NackRequest, Nacked, OpenMessage, Pagination,
    PostChunk, PostReply, ReplyStored,
};
use postern_shared::{LeaseId, MessageId, Timestamp};
use serde::Deserialize;
use tokio::time::{self, Instant};

use super::App;
use super::error::ApiError;
use super::extract::{
    IdempotencyKeyHeader, JsonBody, MessagePath, PollerAtWork, PollerCaller, Query,
};
use super::reply::ok;
use super::visitor::{MAX_WAIT_SECONDS, check_files};
use crate::metrics::Held;
use crate::store::{
    self, IdempotencyKey, LeaseTerms, Nack, NewChunk, NewReply, Page, Paged, SessionKey, SiteKey,
    StoreError,
};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;
const DEFAULT_LEASE_SECONDS: u32 = 60;
const MAX_LEASE_SECONDS: u32 = 3_600;
const MAX_PROGRESS_CHARS: usize = 200;

/// `POST /inbox/lease`
pub(super) async fn lease_messages(
    State(app): State<App>,
    caller: PollerAtWork,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body: LeaseRequest = body.read(app.limits.max_body_bytes).await?;
    let limit = in_range("limit", body.limit.unwrap_or(DEFAULT_LIMIT), 1, MAX_LIMIT)?;
    let wait = in_range("wait_seconds", body.wait_seconds.unwrap_or(0), 0, MAX_WAIT_SECONDS)?;
    let lasts = lease_duration(body.lease_seconds.unwrap_or(DEFAULT_LEASE_SECONDS))?;
    app.metrics.last_poll.set(app.clock.now().wall_ms / 1_000);
    let terms = LeaseTerms { limit, lasts, max_attempts: app.limits.max_attempts };
    let wait = Duration::from_secs(wait.into());
    let leased = wait_for_lease(&app, caller.site.key, terms, wait).await?;
    let messages = leased.into_iter().map(leased_message).collect();
    Ok(ok("Leased", Leased { messages }))
}

/// Registers, then leases, then waits; empty when the wait ran out or the relay shuts down.
async fn wait_for_lease(
    app: &App,
    site: SiteKey,
    terms: LeaseTerms,
    wait: Duration,
) -> Result<Vec<store::Leased>, StoreError> {
    let until = Instant::now() + wait;
    let _held = Held::count(&app.metrics.lease_calls_held);
    let mut is_over = false;
    loop {
        let changed = app.store.inbox_changed(site);
        let mut leased = app.store.lease(site, terms, app.clock.now()).await?;
        if leased.is_empty() {
            let mut call = app.store.hold_call(site, terms);
            tokio::select! {
                () = call.served() => {}
                () = changed => {}
                () = time::sleep_until(until) => is_over = true,
                () = app.cancelled.cancelled() => is_over = true,
            }
            leased = call.leased().await?;
        }
        if !leased.is_empty() {
            fault::point("relay: lease stored, answer not sent");
        }
        if is_over || !leased.is_empty() {
            return Ok(leased);
        }
    }
}

fn leased_message(leased: store::Leased) -> LeasedMessage {
    let message = leased.message;
    LeasedMessage {
        id: message.id,
        session_id: message.session,
        uid: message.uid,
        visitor: message.visitor,
        message: message.text,
        timestamp: message.at,
        metadata: message.metadata,
        files: message.files,
        lease_id: leased.lease,
        attempts: message.attempts,
    }
}

/// `POST /inbox/{message_id}/extend`
pub(super) async fn extend_lease(
    State(app): State<App>,
    _at_work: PollerAtWork,
    MessagePath(message): MessagePath,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body: ExtendRequest = body.read(app.limits.max_body_bytes).await?;
    let lease = lease_duration(body.lease_seconds)?;
    let wait = in_range("wait_seconds", body.wait_seconds.unwrap_or(0), 0, MAX_WAIT_SECONDS)?;
    let now = app.clock.now();
    let kept = app.store.extend(message, body.lease_id.clone(), lease, now).await?;
    fault::point("relay: extension stored, answer not sent");
    let cancelled = match wait {
        0 => kept.cancelled,
        wait => {
            let wait = Duration::from_secs(wait.into());
            wait_for_cancel(&app, kept.session, message, &body.lease_id, wait).await?
        }
    };
    Ok(ok("Lease extended", Extended { cancelled }))
}

/// Registers, then looks, then waits; false when the wait ran out or the relay shuts down.
async fn wait_for_cancel(
    app: &App,
    session: SessionKey,
    message: MessageId,
    lease: &LeaseId,
    wait: Duration,
) -> Result<bool, StoreError> {
    let until = Instant::now() + wait;
    let mut changes = app.store.subscribe(session);
    while !app.store.is_cancelled(message, lease.clone(), app.clock.now()).await? {
        tokio::select! {
            () = changes.stored() => {}
            () = time::sleep_until(until) => return Ok(false),
            () = app.cancelled.cancelled() => return Ok(false),
        }
    }
    Ok(true)
}

/// `POST /inbox/{message_id}/chunks`
pub(super) async fn post_chunk(
    State(app): State<App>,
    _at_work: PollerAtWork,
    MessagePath(message): MessagePath,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let limit_bytes = app.limits.max_reply_bytes;
    let body: PostChunk = body.read(reply_body_limit(limit_bytes)).await?;
    if body.progress.as_ref().is_some_and(|words| words.chars().count() > MAX_PROGRESS_CHARS) {
        let problem = format_args!("is longer than {MAX_PROGRESS_CHARS} characters");
        return Err(ApiError::field("progress", problem));
    }
    let offset = usize::try_from(body.offset).unwrap_or(usize::MAX);
    if offset.saturating_add(body.text.len()) > limit_bytes {
        return Err(ApiError::ReplyTooLong { limit_bytes });
    }
    let chunk = NewChunk { lease: body.lease_id, offset, text: body.text, progress: body.progress };
    let taken = app.store.take_chunk(message, chunk, app.clock.now()).await?;
    fault::point("relay: chunk taken, answer not sent");
    app.metrics.chunks.inc();
    let (received, cancelled) = (taken.received as u64, taken.cancelled);
    Ok(ok("Chunk taken", ChunkTaken { received, cancelled }))
}

/// `POST /inbox/{message_id}/nack`
pub(super) async fn nack_message(
    State(app): State<App>,
    _at_work: PollerAtWork,
    MessagePath(message): MessagePath,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body: NackRequest = body.read(app.limits.max_body_bytes).await?;
    let seconds = body.retry_after_seconds.unwrap_or(0);
    let seconds = in_range("retry_after_seconds", seconds, 0, MAX_LEASE_SECONDS)?;
    let nack = Nack {
        error: body.error,
        retry_after: Duration::from_secs(seconds.into()),
        dead_letter: body.dead_letter.unwrap_or(false),
    };
    let (attempts, now) = (app.limits.max_attempts, app.clock.now());
    let dead_letter = app.store.nack(message, body.lease_id, nack, attempts, now).await?;
    fault::point("relay: nack stored, answer not sent");
    app.metrics.dead_letters.inc_by(dead_letter.into());
    let told = if dead_letter { "Message given up" } else { "Message given back" };
    Ok(ok(told, Nacked { dead_letter }))
}

/// `POST /outbox`
pub(super) async fn post_reply(
    State(app): State<App>,
    caller: PollerAtWork,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body: PostReply = body.read(reply_body_limit(app.limits.max_reply_bytes)).await?;
    let may_be_blank = body.stopped || !body.files.is_empty();
    check_reply(&body.response, may_be_blank, app.limits.max_reply_bytes)?;
    check_quick_replies(&body.quick_replies)?;
    check_files(&body.files, &app.limits)?;
    let reply = NewReply {
        site: caller.site.key,
        session: body.session_id,
        text: body.response,
        answers: body.message_id,
        lease: body.lease_id,
        sent_at: body.timestamp,
        stopped: body.stopped,
        quick_replies: body.quick_replies,
        files: body.files,
        idempotency: key.as_deref().map(IdempotencyKey::of_poller),
    };
    let response_id = app.store.post_reply(reply, app.clock.now()).await?;
    fault::point("relay: reply stored, answer not sent");
    app.metrics.replies.inc();
    Ok(ok("Reply stored", ReplyStored { response_id }))
}

/// Checks the text of a reply.
pub(super) fn check_reply(
    text: &str,
    may_be_blank: bool,
    max_bytes: usize,
) -> Result<(), ApiError> {
    if text.trim().is_empty() && !may_be_blank {
        return Err(ApiError::field("response", "must not be blank"));
    }
    if text.len() > max_bytes {
        return Err(ApiError::field("response", format_args!("is longer than {max_bytes} bytes")));
    }
    Ok(())
}

fn check_quick_replies(texts: &[String]) -> Result<(), ApiError> {
    if texts.len() > MAX_QUICK_REPLIES {
        let problem = format_args!("must be at most {MAX_QUICK_REPLIES}");
        return Err(ApiError::field("quick_replies", problem));
    }
    let is_bad =
        |text: &String| text.trim().is_empty() || text.chars().count() > MAX_QUICK_REPLY_CHARS;
    match texts.iter().position(is_bad) {
        None => Ok(()),
        Some(index) => {
            let problem =
                format_args!("must have 1 to {MAX_QUICK_REPLY_CHARS} characters, not all blank");
            Err(ApiError::field(&format!("quick_replies[{index}]"), problem))
        }
    }
}

/// The query of [`list_inbox`].
#[derive(Deserialize)]
pub(super) struct InboxQuery {
    limit: Option<u32>,
    #[serde(default)]
    offset: u32,
    since: Option<Timestamp>,
}

/// `GET /inbox`
pub(super) async fn list_inbox(
    State(app): State<App>,
    caller: PollerCaller,
    Query(query): Query<InboxQuery>,
) -> Result<Response, ApiError> {
    let page = page(query.limit, query.offset)?;
    let open = app.store.open_messages(caller.site.key, query.since, page).await?;
    let pagination = pagination(page, &open);
    let messages = open.rows.into_iter().map(open_message).collect();
    Ok(ok("Open messages", Inbox { messages, pagination }))
}

fn open_message(message: store::OpenMessage) -> OpenMessage {
    OpenMessage {
        id: message.id,
        session_id: message.session,
        uid: message.uid,
        visitor: message.visitor,
        message: message.text,
        timestamp: message.at,
        metadata: message.metadata,
        files: message.files,
        attempts: message.attempts,
    }
}

/// Checks a page's query.
pub(super) fn page(limit: Option<u32>, offset: u32) -> Result<Page, ApiError> {
    let limit = in_range("limit", limit.unwrap_or(DEFAULT_LIMIT), 1, MAX_LIMIT)?;
    Ok(Page { limit, offset: offset.into() })
}

/// Tells which part of the list a page is.
pub(super) fn pagination<T>(page: Page, paged: &Paged<T>) -> Pagination {
    let seen = page.offset + paged.rows.len() as u64;
    Pagination {
        total: paged.total,
        limit: page.limit,
        offset: page.offset,
        has_more: seen < paged.total && !paged.rows.is_empty(),
    }
}

/// Room for a reply of the longest kind with every character escaped, and what goes with it.
pub(super) fn reply_body_limit(max_reply_bytes: usize) -> usize {
    max_reply_bytes.saturating_mul(6).saturating_add(12 * 1_024)
}

fn lease_duration(seconds: u32) -> Result<Duration, ApiError> {
    let seconds = in_range("lease_seconds", seconds, 1, MAX_LEASE_SECONDS)?;
    Ok(Duration::from_secs(seconds.into()))
}

fn in_range(name: &str, value: u32, least: u32, most: u32) -> Result<u32, ApiError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(ApiError::field(name, format_args!("must be {least} to {most}")))
}
