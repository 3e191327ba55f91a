//! CORS (WHATWG Fetch §3.2): which pages may read what a visitor's calls answer. What they may do
//! hangs on a token, not on a cookie; but a page of another origin must not speak for a site.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::App;
use super::error::{ApiError, RATE_LIMIT, RATE_LIMIT_POLICY};
use super::extract::visited_site;
use crate::sites::Sites;

/// How long a browser may remember what a preflight allowed.
const PREFLIGHT_AGE: Duration = Duration::from_secs(7_200);

/// Names the caller's origin where its site allows it, and none otherwise.
pub(super) fn layer(sites: &Sites) -> CorsLayer {
    let sites = sites.clone();
    let allow = AllowOrigin::predicate(move |origin: &HeaderValue, parts: &_| {
        let parts: &axum::http::request::Parts = parts;
        let site = visited_site(&sites, &parts.uri);
        // A site that is not known is an error that its page should be able to read.
        site.is_none_or(|site| is_allowed(&site.site.origins, origin))
    });
    CorsLayer::new()
        .allow_origin(allow)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static(postern_shared::IDEMPOTENCY_KEY),
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([
            header::RETRY_AFTER,
            RATE_LIMIT,
            RATE_LIMIT_POLICY,
            header::CONTENT_DISPOSITION,
            HeaderName::from_static("x-request-id"),
        ])
        .max_age(PREFLIGHT_AGE)
}

/// Refuses what a page of a foreign origin asks for. A caller that is no page has no origin.
pub(super) fn check_origin(app: &App, request: &Request) -> Result<(), ApiError> {
    if let Some(origin) = request.headers().get(header::ORIGIN)
        && let Some(site) = visited_site(&app.sites, request.uri())
        && !is_allowed(&site.site.origins, origin)
    {
        return Err(ApiError::ForeignOrigin);
    }
    Ok(())
}

fn is_allowed(origins: &crate::origins::Origins, origin: &HeaderValue) -> bool {
    origin.to_str().is_ok_and(|origin| origins.allow(origin)) || origins.allow_all()
}
