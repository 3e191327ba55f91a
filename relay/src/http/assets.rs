//! What a page loads: the widget.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use tower_http::compression::CompressionLayer;

use super::App;

static WIDGET: &[u8] = include_bytes!("../../../widget/dist/widget.js");

/// Changes with the file, so that a browser asks again and is answered 304 until it does.
static WIDGET_ETAG: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::digest(WIDGET);
    let hex: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("W/\"{hex}\"")
});

pub(super) fn routes() -> Router<App> {
    Router::new().route("/widget.js", get(send_widget)).layer(CompressionLayer::new())
}

/// `GET /widget.js`
async fn send_widget(headers: HeaderMap) -> Response {
    let fixed = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::ETAG, WIDGET_ETAG.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let seen = headers.get(header::IF_NONE_MATCH).map(HeaderValue::as_bytes);
    if seen == Some(WIDGET_ETAG.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    (fixed, WIDGET).into_response()
}
