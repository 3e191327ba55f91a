//! The one body of every success.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use postern_shared::{Success, Timestamp};
use serde::Serialize;

/// Wraps what was asked for; `message` is a few words for a person.
pub(super) fn ok<T: Serialize>(message: &str, data: T) -> Response {
    let body =
        Success { success: true, message: message.to_owned(), timestamp: Timestamp::now(), data };
    let mut response = Json(body).into_response();
    // Answers hold tokens and conversations: no cache may keep them.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
