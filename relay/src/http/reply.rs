//! The one body of every success.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use postern_shared::{Success, Timestamp};
use serde::Serialize;

use super::error::ApiError;

/// Room for most answers, and for all headers that are added on the way out: what has to grow is copied.
const USUAL_BYTES: usize = 512;
const HEADERS: usize = 12;

/// Wraps what was asked for; `message` is a few words for a person.
pub(super) fn ok<T: Serialize>(message: &'static str, data: T) -> Response {
    let body =
        Success { success: true, message: message.into(), timestamp: Timestamp::now(), data };
    let mut json = Vec::with_capacity(USUAL_BYTES);
    if serde_json::to_writer(&mut json, &body).is_err() {
        return ApiError::Panicked.into_response();
    }
    let mut response = Response::new(Body::from(json));
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers hold tokens and conversations: no cache may keep them.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
