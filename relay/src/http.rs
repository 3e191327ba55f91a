//! The router and its layers; the handlers sit one file per caller.

mod admission;
mod assets;
mod broca;
mod cors;
mod crowd;
mod entries;
mod error;
mod events;
mod extract;
mod files;
mod guard;
mod limits;
mod operator;
mod poller;
mod reply;
mod visitor;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{
    MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};
use tracing::{Instrument, info_span};

use crate::client_address::TrustedProxies;
use crate::clock::Clock;
use crate::config::Limits;
use crate::connections::Crowd;
use crate::files::Files;
use crate::health::HealthCheck;
use crate::keyring::Keyring;
use crate::limits::{AddressLimits, Addresses, Limit, Streams};
use crate::metrics::{Metrics, RequestLabels};
use crate::sites::Sites;
use crate::store::Store;
pub(crate) use broca::Given;
use error::ApiError;
pub(crate) use guard::{guard, insist_on_tls};

const NOTHING_HERE: ApiError = ApiError::NotFound("there is nothing at this path");

/// What every handler may use. Each layer of each call takes a clone, so one is one count.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Shared>);

/// The parts of an [`App`].
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) sites: Sites,
    pub(crate) keyring: Keyring,
    pub(crate) limits: Limits,
    /// What each address has used of its limits.
    pub(crate) addresses: Arc<Addresses>,
    /// What one address may ask for.
    pub(crate) address_limits: AddressLimits,
    pub(crate) streams: Streams,
    pub(crate) files: Files,
    /// The media types of files that are taken, in lower case.
    pub(crate) file_types: Arc<[String]>,
    pub(crate) metrics: Metrics,
    pub(crate) health: HealthCheck,
    /// How far visitors of another contract were given their replies.
    pub(crate) given: Arc<Given>,
    pub(crate) proxies: TrustedProxies,
    /// The calls of visitors under way.
    pub(crate) calls: Crowd,
    /// Ends long polls and event streams.
    pub(crate) cancelled: CancellationToken,
}

impl App {
    pub(crate) fn new(parts: Shared) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The whole HTTP side.
pub(crate) fn router(app: App) -> Router {
    let no_crowds = || middleware::from_fn_with_state(app.clone(), crowd::refuse_crowds);
    let for_pages = |calls: Router<App>| {
        calls
            .method_not_allowed_fallback(refuse_method)
            .layer(middleware::from_fn_with_state(app.clone(), admission::admit))
            .layer(cors::layer(&app.sites))
    };
    let by_key = || middleware::from_fn_with_state(app.clone(), extract::hold_to_key);
    let by_failure = || middleware::from_fn_with_state(app.clone(), limits::limit_failures);
    let private = |calls: Router<App>| calls.route_layer(by_key()).route_layer(by_failure());
    let versioned = for_pages(visitor_calls()).merge(private(private_calls()));
    let aliases = for_pages(visitor_aliases()).merge(private(private_aliases()));
    let actions = for_pages(broca::visitor_actions()).merge(private(broca::private_actions()));
    let actions = actions.method_not_allowed_fallback(refuse_method);
    let actions = actions.fallback(broca::refuse_action).with_state(app.clone());
    let unmatched = async move |State(app): State<App>, request: Request| match app.sites.compat() {
        true => broca::call(actions, &app.sites, request).await,
        false => NOTHING_HERE.into_response(),
    };
    let routes = Router::new()
        .nest("/api/v1", versioned)
        .nest("/api", aliases)
        .route("/health", get(operator::show_health))
        .route(
            "/metrics",
            get(operator::show_metrics).route_layer(by_key()).route_layer(by_failure()),
        )
        .merge(assets::routes().layer(no_crowds()))
        .method_not_allowed_fallback(refuse_method)
        .fallback(unmatched)
        .layer(CatchPanicLayer::custom(|_| ApiError::Panicked.into_response()))
        .layer(middleware::from_fn_with_state(app.clone(), observe_request))
        .with_state(app);
    // Around the routes and not on each of them: then a call clones the router, which is one count.
    let named = ServiceBuilder::new()
        .layer(middleware::from_fn(drop_odd_request_id))
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .service(routes);
    Router::new().fallback_service(named)
}

/// The visitor's calls, made by pages of the sites' origins.
fn visitor_calls() -> Router<App> {
    Router::new()
        .route("/messages", post(visitor::post_message))
        .route("/messages/{message_id}/cancel", post(visitor::cancel_message))
        .route("/messages/{message_id}/feedback", post(visitor::give_feedback))
        .route("/responses/{session_id}", get(visitor::list_responses))
        .route("/sessions", post(visitor::open_session))
        .route("/sessions/{session_id}/revoke", post(visitor::revoke_session))
        .route("/sessions/{session_id}/files", post(files::upload_file))
        .route("/sessions/{session_id}/files/{file_id}", get(files::download_file))
        .route("/sessions/{session_id}/events", get(events::stream_events))
        .route("/sessions/{session_id}/messages", get(visitor::show_transcript))
}

fn private_calls() -> Router<App> {
    Router::new()
        .route("/inbox", get(poller::list_inbox))
        .route("/inbox/lease", post(poller::lease_messages))
        .route("/inbox/{message_id}/extend", post(poller::extend_lease))
        .route("/inbox/{message_id}/chunks", post(poller::post_chunk))
        .route("/inbox/{message_id}/nack", post(poller::nack_message))
        .route("/outbox", post(poller::post_reply))
        .route("/sessions", get(operator::list_sessions))
        .route("/sessions/{session_id}", get(operator::show_session))
        .route("/deadletters", get(operator::list_dead_letters))
        .route(
            "/deadletters/{message_id}",
            get(operator::show_dead_letter).delete(operator::drop_dead_letter),
        )
        .route("/deadletters/{message_id}/requeue", post(operator::requeue_dead_letter))
}

/// The unversioned paths that older programs know.
fn visitor_aliases() -> Router<App> {
    Router::new()
        .route("/messages", post(visitor::post_message))
        .route("/responses/{session_id}", get(visitor::list_responses))
}

fn private_aliases() -> Router<App> {
    Router::new()
        .route("/inbox", get(poller::list_inbox))
        .route("/outbox", post(poller::post_reply))
        .route("/sessions", get(operator::list_sessions))
}

/// Set within the visitor's calls too: a preflight is a method that no route takes.
async fn refuse_method() -> ApiError {
    ApiError::MethodNotAllowed
}

/// A caller may name its request, in characters that are safe in a log line.
async fn drop_odd_request_id(mut request: Request, next: Next) -> Response {
    const NAME: HeaderName = HeaderName::from_static("x-request-id");
    let odd = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        bytes.is_empty()
            || bytes.len() > 64
            || !bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if request.headers().get(&NAME).is_some_and(odd) {
        request.headers_mut().remove(&NAME);
    }
    next.run(request).await
}

/// Counts a request, and puts its id beside whatever is logged on the way.
async fn observe_request(
    State(app): State<App>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    let span = info_span!("request", id);
    // Any word can be sent as a method; a stranger must not be able to make new series.
    let method = known_method(request.method());
    let response = next.run(request).instrument(span).await;
    let labels = RequestLabels {
        method: method.into(),
        route: route.map_or_else(|| "unmatched".into(), |route| route.as_str().into()),
        status: response.status().as_u16(),
    };
    app.metrics.requests.get_or_create(&labels).inc();
    if let Some(limit) = response.extensions().get::<Limit>() {
        app.metrics.limits_reached.get_or_create(&(*limit).into()).inc();
    }
    response
}

fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
