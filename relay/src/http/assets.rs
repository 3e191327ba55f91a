//! What a page loads: the widget, as a script and as a module, and its words in other languages.

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::App;
use super::error::ApiError;
use crate::widget::{MODULE, SCRIPT, TEXTS, WidgetFile};

/// For an address that names a version: what is behind it never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// For one that does not: a page gets a newer widget within minutes.
const FOR_MINUTES: &str = "public, max-age=300";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/widget.js", get(async |asked, headers| send(&SCRIPT, &asked, &headers)))
        .route("/widget.mjs", get(async |asked, headers| send(&MODULE, &asked, &headers)))
        .route("/widget/texts/{file}", get(show_texts))
}

async fn show_texts(
    Path(file): Path<String>,
    asked: Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let none = ApiError::NotFound("there are no texts in this language");
    let file = TEXTS.get(file.as_str()).ok_or(none)?;
    Ok(send(file, &asked, &headers))
}

#[derive(Deserialize)]
struct Asked {
    v: Option<String>,
}

fn send(file: &WidgetFile, Query(asked): &Query<Asked>, headers: &HeaderMap) -> Response {
    // A browser asks again with what it has, and is answered 304 until the file changes.
    let etag = format!("W/\"{}\"", file.version);
    let is_pinned = asked.v.as_ref() == Some(&file.version);
    let fixed = [
        (header::CONTENT_TYPE, file.media_type),
        (header::CACHE_CONTROL, if is_pinned { FOR_EVER } else { FOR_MINUTES }),
        (header::ETAG, &etag),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
        // A page of another origin may load neither a module, nor what it has a hash of, nor texts
        // without it.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    let seen = headers.get(header::IF_NONE_MATCH).map(HeaderValue::as_bytes);
    if seen == Some(etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    let vary = (header::VARY, "accept-encoding");
    if takes_gzip(headers) {
        let encoding = (header::CONTENT_ENCODING, "gzip");
        return (fixed, [vary, encoding], file.gzipped).into_response();
    }
    (fixed, [vary], file.body).into_response()
}

/// RFC 9110 §12.5.3, as far as browsers and caches make use of it.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    accepted.flat_map(|codings| codings.split(',')).any(|coding| {
        let mut words = coding.split(';').map(str::trim);
        let is_gzip = words.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        is_gzip && words.all(|weight| !matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}
