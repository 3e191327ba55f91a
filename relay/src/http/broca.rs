//! The contract of the Broca web chat bridge: every call is `?action=…` on one path, under any prefix.
//! The handlers sit one file per caller, over the same store as the versioned calls.

mod answer;
mod caller;
mod given;
mod moment;
mod operator;
mod poller;
mod visitor;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use form_urlencoded::Serializer;
use tower::ServiceExt;

use super::App;
use super::error::ApiError;
use crate::sites::Sites;
pub(crate) use given::Given;

/// What a program may do with a site, by the path that its address ends with.
const PATHS: [&str; 3] = ["/api/v1", "/api/v1/", "/api/v1/index.php"];

/// The actions of visitors' pages, as paths.
pub(super) fn visitor_actions() -> Router<App> {
    Router::new()
        .route("/messages", post(visitor::post_message))
        .route("/responses", get(visitor::list_responses))
        .route("/history", get(visitor::show_history))
}

/// The actions for which a key is shown, as paths.
pub(super) fn private_actions() -> Router<App> {
    Router::new()
        .route("/inbox", get(poller::fetch_messages))
        .route("/outbox", post(poller::post_reply))
        .route("/sessions", get(operator::list_sessions))
        .route("/session_messages", get(operator::show_session))
        .route("/cleanup", post(operator::clean_up))
}

/// Hands a call to the router of the actions.
pub(super) async fn call(actions: Router, sites: &Sites, mut request: Request) -> Response {
    match action(sites, request.uri()) {
        Ok(path) => {
            *request.uri_mut() = path.into();
            actions.oneshot(request).await.into_response()
        }
        Err(refused) => refused.into_response(),
    }
}

/// The action of this name is none of ours.
pub(super) async fn refuse_action() -> ApiError {
    ApiError::field("action", "names nothing that this relay does")
}

/// The call's path within the router of the actions. The last part of the prefix names the site, when
/// there is one of that name: such a program adds nothing to its query.
fn action(sites: &Sites, uri: &Uri) -> Result<PathAndQuery, ApiError> {
    let prefix = PATHS.iter().find_map(|path| uri.path().strip_suffix(path));
    let prefix = prefix.ok_or(super::NOTHING_HERE)?;
    let query = uri.query().unwrap_or_default();
    let named = |name: &str| {
        let mut fields = form_urlencoded::parse(query.as_bytes());
        fields.find(|(field, _)| field == name).map(|(_, value)| value)
    };
    let action = named("action").unwrap_or_default();
    let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
    if action.is_empty() || !action.chars().all(is_word) {
        return Err(ApiError::field("action", "must be in the query"));
    }
    let site = prefix.rsplit('/').next().filter(|site| sites.named(Some(site)).is_some());
    let mut target = format!("/{action}?{query}");
    if let (Some(site), None) = (site, named("site")) {
        target = Serializer::new(target + "&").append_pair("site", site).finish();
    }
    target.try_into().map_err(|_| super::NOTHING_HERE)
}
