//! Files: taken from visitors and from the agent, and given back to whoever may read the session.

use std::io;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use postern_host::fault;
use postern_shared::files::{File, FileStored};
use postern_shared::visitor::Role;
use postern_shared::{FileId, SessionId};
use serde::Deserialize;
use tokio_util::io::ReaderStream;
use tracing::{error, warn};

use super::App;
use super::error::ApiError;
use super::extract::{
    Bearer, FilePath, IdempotencyKeyHeader, OTHER_KEY, Query, SessionPath, refuse_encoded,
};
use super::reply::ok;
use crate::call;
use crate::files::{self, Incoming, ReceiveError};
use crate::secret;
use crate::store::{IdempotencyKey, NewFile, SessionKey, StoreError};

/// The longest name of a file, in characters.
const MAX_NAME_CHARS: usize = 255;

/// What keeps a browser from running a file that it was tricked into showing.
const SANDBOX: &str = "sandbox; default-src 'none'";

/// The query of [`upload_file`].
#[derive(Deserialize)]
pub(super) struct UploadQuery {
    name: String,
}

/// `POST /sessions/{session_id}/files`
pub(super) async fn upload_file(
    State(app): State<App>,
    SessionPath(session): SessionPath,
    bearer: Bearer,
    Query(query): Query<UploadQuery>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let upload = Upload { session, bearer, name: query.name, key };
    let outcome = upload.take(&app, &head.headers, &mut body).await;
    if outcome.is_err() {
        files::read_off(&mut body).await;
    }
    outcome
}

/// A file on its way in, before its bytes.
struct Upload {
    session: SessionId,
    bearer: Bearer,
    name: String,
    key: Option<String>,
}

impl Upload {
    async fn take(
        self,
        app: &App,
        headers: &HeaderMap,
        body: &mut BodyDataStream,
    ) -> Result<Response, ApiError> {
        check_name(&self.name)?;
        let media_type = media_type(headers, app)?;
        refuse_encoded(headers)?;
        let (session, by) = sender(app, self.session, self.bearer).await?;
        let id = fresh_id()?;
        let mut incoming = receive(app, &id, body).await?;
        check_content(&incoming, &media_type)?;
        fault::point("relay: file written, not named");
        app.files.finish(&mut incoming).await.map_err(disk)?;
        fault::point("relay: file named, not stored");
        let file = File { id, name: self.name, media_type, size_bytes: incoming.size_bytes };
        let new = NewFile {
            file: file.clone(),
            session,
            by,
            digest: incoming.digest(),
            idempotency: self.key.as_deref().map(|key| idempotency(by, key)),
            max_waiting: 2 * app.limits.max_files_per_message,
        };
        let file_id = store(app, new, incoming).await?;
        fault::point("relay: file stored, answer not sent");
        let File { name, media_type, size_bytes, .. } = file;
        Ok(ok("File stored", FileStored { file_id, name, media_type, size_bytes }))
    }
}

/// In a task of its own: a sender that hangs up now must not take the bytes of a stored file with it.
async fn store(app: &App, new: NewFile, incoming: Incoming) -> Result<FileId, ApiError> {
    let (store, now) = (app.store.clone(), app.clock.now());
    let stored = tokio::spawn(async move {
        let own_id = new.file.id.clone();
        let file_id = store.add_file(new, now).await?;
        if file_id == own_id {
            incoming.keep();
        }
        Ok(file_id)
    });
    stored.await.map_err(|_| ApiError::Panicked)?.map_err(ApiError::Store)
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let is_bad = |c: char| c.is_control() || matches!(c, '/' | '\\');
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(is_bad) {
        let problem = "must have 1 to 255 characters, with no slash and no control character";
        return Err(ApiError::field("name", problem));
    }
    Ok(())
}

/// The declared type without its parameters, when it is one that is taken.
fn media_type(headers: &HeaderMap, app: &App) -> Result<String, ApiError> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = declared.unwrap_or_default().split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    if app.file_types.contains(&essence) {
        return Ok(essence);
    }
    let taken = app.file_types.join(", ");
    Err(ApiError::field("Content-Type", format_args!("must be a type that is taken: {taken}")))
}

/// Whose file it is, by who shows the right to send it.
async fn sender(
    app: &App,
    session: SessionId,
    bearer: Bearer,
) -> Result<(SessionKey, Role), ApiError> {
    match bearer {
        Bearer::Visitor(token) => Ok((app.store.authorise(session, token).await?, Role::Visitor)),
        Bearer::Poller(site) => {
            Ok((app.store.session_key(Some(site.key), session).await?, Role::Agent))
        }
        Bearer::Operator => Err(OTHER_KEY),
    }
}

async fn receive(app: &App, id: &FileId, body: &mut BodyDataStream) -> Result<Incoming, ApiError> {
    let limit = app.limits.max_file_bytes;
    app.files.receive(id, body, limit).await.map_err(|error| match error {
        ReceiveError::TooLarge => {
            ApiError::TooLarge { limit_bytes: usize::try_from(limit).unwrap_or(usize::MAX) }
        }
        ReceiveError::TooSlow => ApiError::RequestTimeout,
        ReceiveError::Broken => ApiError::Invalid("the body did not arrive whole".into()),
        ReceiveError::Disk(cause) => disk(cause),
    })
}

/// A picture or a PDF must be one: those are what a browser may be asked to show.
fn check_content(incoming: &Incoming, declared: &str) -> Result<(), ApiError> {
    if incoming.size_bytes == 0 {
        return Err(ApiError::field("the body", "must not be empty"));
    }
    let is_known_by_its_bytes = declared.starts_with("image/") || declared == "application/pdf";
    let found = infer::get(&incoming.head).map(|found| found.mime_type());
    if is_known_by_its_bytes && found != Some(declared) {
        let problem = format_args!("says {declared}, and the body is something else");
        return Err(ApiError::field("Content-Type", problem));
    }
    Ok(())
}

fn fresh_id() -> Result<FileId, ApiError> {
    let hex: String = secret::random_bytes::<16>().iter().map(|b| format!("{b:02x}")).collect();
    FileId::try_from(hex).map_err(|_| ApiError::Panicked)
}

fn idempotency(by: Role, key: &str) -> IdempotencyKey {
    match by {
        Role::Visitor => IdempotencyKey::of_visitor(key),
        _ => IdempotencyKey::of_poller(key),
    }
}

fn disk(cause: io::Error) -> ApiError {
    warn!(request.id = call::id(), error = %cause, "a file could not be written; its sender is told to come back");
    ApiError::Store(StoreError::Unavailable(cause.to_string()))
}

/// `GET /sessions/{session_id}/files/{file_id}`
pub(super) async fn download_file(
    State(app): State<App>,
    FilePath(session, id): FilePath,
    bearer: Bearer,
) -> Result<Response, ApiError> {
    let session = match bearer {
        Bearer::Visitor(token) => app.store.authorise(session, token).await?,
        Bearer::Poller(site) => app.store.session_key(Some(site.key), session).await?,
        Bearer::Operator => app.store.session_key(None, session).await?,
    };
    let file = app.store.file(session, id).await?;
    let bytes = app.files.read(&file.id).await.map_err(|cause| {
        error!(request.id = call::id(), error = %cause, file.id = %file.id, "a file is not where it was put");
        ApiError::NotFound("the file is not there any more")
    })?;
    let mut response = Body::from_stream(ReaderStream::new(bytes)).into_response();
    describe(&file, &app, response.headers_mut());
    Ok(response)
}

/// To be saved and not shown, and never to be run.
fn describe(file: &File, app: &App, headers: &mut HeaderMap) {
    // A type that was on the list once may have been taken off since.
    let is_taken = app.file_types.contains(&file.media_type);
    let shown = if is_taken { &file.media_type } else { "application/octet-stream" };
    let values = [
        (header::CONTENT_TYPE, shown),
        (header::CONTENT_DISPOSITION, &disposition(&file.name)),
        (header::CONTENT_SECURITY_POLICY, SANDBOX),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "private"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers.insert(header::CONTENT_LENGTH, file.size_bytes.into());
}

/// RFC 6266, with the name in the characters of RFC 8187.
fn disposition(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("attachment; filename*=UTF-8''{encoded}")
}
