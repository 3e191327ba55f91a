//! The visitor's calls.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use postern_host::fault;
use postern_shared::files::{OpenSession, SessionOpened};
use postern_shared::visitor::{
    Cancelled, FeedbackTaken, GiveFeedback, MessageAccepted, PostMessage, Responses,
    SessionRevoked, Transcript,
};
use postern_shared::{Cursor, FileId, SessionId, SiteId, Timestamp, Uid};
use serde::Deserialize;
use tokio::time::{self, Instant};

use super::App;
use super::entries::fitting;
use super::error::ApiError;
use super::extract::{
    Bearer, IdempotencyKeyHeader, JsonBody, MessagePath, OTHER_KEY, Query, SessionPath,
    VisitorCaller, cursor,
};
use super::limits::{allowance, needs_proof, open_stream, refusal};
use super::reply::ok;
use crate::client_address::ClientAddress;
use crate::config::Limits;
use crate::secret::{self, SecretHash};
use crate::store::{
    Accepted, Entry, Feedback, FreshSession, IdempotencyKey, NewMessage, NewSession, SessionKey,
    StoreError,
};

/// The longest a call is held when there is nothing to say, in seconds.
pub(super) const MAX_WAIT_SECONDS: u32 = 30;

/// The longest comment on a reply, in characters.
const MAX_COMMENT_CHARS: usize = 1_000;

/// How many replies one call answers with.
pub(super) const RESPONSES_LIMIT: u32 = 100;

/// `POST /messages`
pub(super) async fn post_message(
    State(app): State<App>,
    client: ClientAddress,
    caller: VisitorCaller,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body: PostMessage = body.read(app.limits.max_body_bytes).await?;
    check_message(&body.message, !body.files.is_empty(), app.limits.max_message_chars)?;
    check_files(&body.files, &app.limits)?;
    let identity = caller.site.site.identify(body.identity.as_deref())?;
    let needs_proof = needs_proof(&caller.site, &identity, body.proof.as_ref(), key.as_deref());
    let message = NewMessage {
        site: caller.site.key,
        session: body.session_id,
        token: caller.token,
        identity,
        text: body.message,
        files: body.files,
        metadata: body.metadata,
        sent_at: body.timestamp,
        idempotency: key.as_deref().map(IdempotencyKey::of_visitor),
        ip_address: Some(client.ip()),
        allowance: allowance(&app, &caller.site, client, needs_proof),
    };
    let (site, token) = (Arc::clone(&caller.site), secret::random_bytes());
    let fresh = move || fresh_session(&site.site.id, &secret::text(token));
    let now = app.clock.now();
    let accepted = app.store.accept_message(message, fresh, now);
    app.store.serve_held_call(caller.site.key, now);
    let refusal = |error| refusal(&app, &caller.site, error, key.as_deref(), now);
    let accepted = accepted.await.map_err(refusal)?;
    if accepted.opened {
        caller.site.proofs.note_opening();
    }
    fault::point("relay: message stored, answer not sent");
    app.metrics.messages.inc();
    Ok(ok("Message accepted", message_accepted(accepted, token)))
}

fn message_accepted(accepted: Accepted, token: [u8; 32]) -> MessageAccepted {
    MessageAccepted {
        message_id: accepted.message,
        session_id: accepted.session,
        session_token: accepted.opened.then(|| secret::text(token)),
        uid: accepted.uid,
        is_new_user: accepted.new_visitor,
    }
}

/// Checks the text of a message.
pub(super) fn check_message(text: &str, has_files: bool, max_chars: usize) -> Result<(), ApiError> {
    if text.trim().is_empty() && !has_files {
        return Err(ApiError::field("message", "must not be blank"));
    }
    if text.chars().count() > max_chars {
        return Err(ApiError::field(
            "message",
            format_args!("is longer than {max_chars} characters"),
        ));
    }
    Ok(())
}

/// Checks the files that are to go with a message or a reply.
pub(super) fn check_files(files: &[FileId], limits: &Limits) -> Result<(), ApiError> {
    let max = limits.max_files_per_message;
    if files.len() > max {
        return Err(ApiError::TooManyFiles { max });
    }
    Ok(())
}

/// `POST /sessions`
pub(super) async fn open_session(
    State(app): State<App>,
    client: ClientAddress,
    caller: VisitorCaller,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body: OpenSession = body.read(app.limits.max_body_bytes).await?;
    let identity = caller.site.site.identify(body.identity.as_deref())?;
    let needs_proof = needs_proof(&caller.site, &identity, body.proof.as_ref(), key.as_deref());
    let new = NewSession {
        site: caller.site.key,
        token: caller.token,
        identity,
        metadata: body.metadata,
        idempotency: key.as_deref().map(IdempotencyKey::of_opening),
        ip_address: Some(client.ip()),
        allowance: allowance(&app, &caller.site, client, needs_proof),
    };
    let session_token = secret::generate();
    let fresh = fresh_session(&caller.site.site.id, &session_token);
    let now = app.clock.now();
    let refusal = |error| refusal(&app, &caller.site, error, key.as_deref(), now);
    let opened = app.store.open_session(new, fresh, now).await.map_err(refusal)?;
    caller.site.proofs.note_opening();
    let opened = SessionOpened {
        session_id: opened.session,
        session_token,
        uid: opened.uid,
        is_new_user: opened.new_visitor,
    };
    Ok(ok("Session opened", opened))
}

/// `POST /sessions/{session_id}/revoke`
pub(super) async fn revoke_session(
    State(app): State<App>,
    SessionPath(session_id): SessionPath,
    bearer: Bearer,
) -> Result<Response, ApiError> {
    let session = match bearer {
        Bearer::Visitor(token) => app.store.authorise(session_id.clone(), token).await?,
        Bearer::Operator => app.store.session_key(None, session_id.clone()).await?,
        Bearer::Poller(_) => return Err(OTHER_KEY),
    };
    app.store.revoke_tokens(session).await?;
    Ok(ok("Session's tokens revoked", SessionRevoked { session_id }))
}

/// What the session gets, should this message open one.
pub(super) fn fresh_session(site: &SiteId, token: &str) -> FreshSession {
    let id = SessionId::of_bits(u128::from_be_bytes(secret::random_bytes()));
    let uid = Uid::of_bits(u64::from_be_bytes(secret::random_bytes()));
    FreshSession { id, uid, token: SecretHash::of_token(site, token) }
}

/// `POST /messages/{message_id}/cancel`
pub(super) async fn cancel_message(
    State(app): State<App>,
    MessagePath(message): MessagePath,
    caller: VisitorCaller,
) -> Result<Response, ApiError> {
    app.store.cancel(message, caller.required_token()?, app.clock.now()).await?;
    fault::point("relay: cancellation stored, answer not sent");
    Ok(ok("Message cancelled", Cancelled { cancelled: true }))
}

/// `POST /messages/{message_id}/feedback`
pub(super) async fn give_feedback(
    State(app): State<App>,
    MessagePath(reply): MessagePath,
    caller: VisitorCaller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let token = caller.required_token()?;
    let body: GiveFeedback = body.read(app.limits.max_body_bytes).await?;
    let rating = body.rating;
    let feedback = feedback(body)?;
    app.store.rate(reply, token, feedback, app.clock.now()).await?;
    if let Some(rating) = rating {
        app.metrics.feedback.get_or_create(&rating.into()).inc();
    }
    Ok(ok("Feedback taken", FeedbackTaken { rating }))
}

fn feedback(body: GiveFeedback) -> Result<Option<Feedback>, ApiError> {
    if body.comment.as_ref().is_some_and(|words| words.chars().count() > MAX_COMMENT_CHARS) {
        let problem = format_args!("is longer than {MAX_COMMENT_CHARS} characters");
        return Err(ApiError::field("comment", problem));
    }
    match (body.rating, body.comment) {
        (Some(rating), comment) => Ok(Some(Feedback { rating, comment })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ApiError::field("comment", "needs a rating")),
    }
}

/// The query of [`list_responses`].
#[derive(Deserialize)]
pub(super) struct ResponsesQuery {
    after: Option<String>,
    since: Option<Timestamp>,
    #[serde(default)]
    wait: u32,
}

/// `GET /responses/{session_id}`
pub(super) async fn list_responses(
    State(app): State<App>,
    SessionPath(session): SessionPath,
    client: ClientAddress,
    caller: VisitorCaller,
    Query(query): Query<ResponsesQuery>,
) -> Result<Response, ApiError> {
    let token = caller.required_token()?;
    if query.wait > MAX_WAIT_SECONDS {
        return Err(ApiError::field("wait", "must be 0 to 30 seconds"));
    }
    let after = cursor("after", query.after.as_deref())?;
    let session = app.store.authorise(session, token).await?;
    let after = match (after, query.since) {
        (Some(after), _) => after,
        (None, Some(since)) => app.store.cursor_at(session, since).await?,
        (None, None) => Cursor::default(),
    };
    let is_held = query.wait > 0;
    let _held = is_held.then(|| open_stream(&app, &caller.site, session, client)).transpose()?;
    let wait = Duration::from_secs(query.wait.into());
    let mut responses = wait_for_responses(&app, session, after, wait).await?;
    responses.truncate(fitting(responses.iter()));
    let cursor = responses.last().map_or(after, |last| Cursor::after(last.id));
    Ok(ok("Responses", Responses { responses, cursor }))
}

/// Registers, then looks, then waits; empty when the wait ran out or the relay shuts down.
async fn wait_for_responses(
    app: &App,
    session: SessionKey,
    after: Cursor,
    wait: Duration,
) -> Result<Vec<Entry>, StoreError> {
    let until = Instant::now() + wait;
    let mut changes = app.store.subscribe(session);
    loop {
        let found = app.store.entries_after(session, after, true, RESPONSES_LIMIT).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        tokio::select! {
            () = changes.stored() => {}
            () = time::sleep_until(until) => return Ok(found),
            () = app.cancelled.cancelled() => return Ok(found),
        }
    }
}

/// The query of [`show_transcript`].
#[derive(Deserialize)]
pub(super) struct TranscriptQuery {
    before: Option<String>,
    limit: Option<u32>,
}

/// `GET /sessions/{session_id}/messages`
pub(super) async fn show_transcript(
    State(app): State<App>,
    SessionPath(session): SessionPath,
    caller: VisitorCaller,
    Query(query): Query<TranscriptQuery>,
) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(50);
    if !(1..=100).contains(&limit) {
        return Err(ApiError::field("limit", "must be 1 to 100"));
    }
    let before = cursor("before", query.before.as_deref())?;
    let session = app.store.authorise(session, caller.required_token()?).await?;
    let mut page = app.store.transcript(session, before, limit).await?;
    // The newest are what was asked for.
    let cut = page.entries.len().saturating_sub(fitting(page.entries.iter().rev()));
    let messages = page.entries.split_off(cut);
    let transcript = Transcript { messages, cursor: page.end, has_more: page.has_more || cut > 0 };
    Ok(ok("Transcript", transcript))
}
