//! What a page loads: the widget, as a script and as a module.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use tower_http::compression::CompressionLayer;

use super::App;

static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(include_bytes!("../../../widget/dist/widget.js")));
static MODULE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(include_bytes!("../../../widget/dist/widget.mjs")));

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/widget.js", get(async |headers: HeaderMap| SCRIPT.answer(&headers)))
        .route("/widget.mjs", get(async |headers: HeaderMap| MODULE.answer(&headers)))
        .layer(CompressionLayer::new())
}

struct Asset {
    body: &'static [u8],
    /// Changes with the file, so that a browser asks again and is answered 304 until it does.
    etag: String,
}

impl Asset {
    fn new(body: &'static [u8]) -> Self {
        let digest = Sha256::digest(body);
        let hex: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
        Self { body, etag: format!("W/\"{hex}\"") }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let fixed = [
            (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
            (header::CACHE_CONTROL, "public, max-age=300"),
            (header::ETAG, self.etag.as_str()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // A page of another origin may not even load a module without it.
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        ]
        .map(|(name, value)| (name, value.to_owned()));
        let seen = headers.get(header::IF_NONE_MATCH).map(HeaderValue::as_bytes);
        if seen == Some(self.etag.as_bytes()) {
            return (StatusCode::NOT_MODIFIED, fixed).into_response();
        }
        (fixed, self.body).into_response()
    }
}
