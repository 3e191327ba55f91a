//! The routes; the handlers sit one file per caller.

mod admission;
mod assets;
mod broca;
mod calls;
mod cors;
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
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower::layer::layer_fn;

use crate::client_address::TrustedProxies;
use crate::clock::Clock;
use crate::config::Limits;
use crate::connections::Crowd;
use crate::files::Files;
use crate::health::HealthCheck;
use crate::keyring::Keyring;
use crate::limits::{AddressLimits, Addresses, Streams};
use crate::metrics::Metrics;
use crate::sites::Sites;
use crate::store::Store;
use admission::AdmitVisitor;
pub(crate) use broca::Given;
pub(crate) use calls::Calls;
use error::ApiError;

const NOTHING_HERE: ApiError = ApiError::NotFound("there is nothing at this path");

/// What every handler may use; each call takes some clones, so one is one count.
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

/// Everything that can be asked for.
fn routes(app: &App) -> Router {
    let pages = || {
        let cors = cors::layer(&app.sites);
        let app = app.clone();
        let admit = layer_fn(move |inner| AdmitVisitor { app: app.clone(), inner });
        ServiceBuilder::new().layer(cors).layer(admit)
    };
    let for_pages =
        |calls: Router<App>| calls.method_not_allowed_fallback(refuse_method).layer(pages());
    let by_key = || middleware::from_fn_with_state(app.clone(), admission::admit_key);
    let actions = for_pages(broca::visitor_actions())
        .merge(broca::private_actions().route_layer(by_key()))
        .method_not_allowed_fallback(refuse_method)
        .fallback(broca::refuse_action)
        .with_state(app.clone());
    let unmatched = async move |State(app): State<App>, request: Request| match app.sites.compat() {
        true => broca::call(actions, &app.sites, request).await,
        false => NOTHING_HERE.into_response(),
    };
    let clients = middleware::from_fn_with_state(app.clone(), admission::admit_client);
    for_pages(visitor_calls())
        .merge(private_calls().route_layer(by_key()))
        .merge(assets::routes().layer(clients))
        .route("/health", get(operator::show_health).layer(middleware::from_fn(admission::admit)))
        .method_not_allowed_fallback(refuse_method)
        .fallback(unmatched)
        .with_state(app.clone())
}

/// The visitor's calls, made by pages of the sites' origins. The unversioned paths are those that older
/// programs know.
fn visitor_calls() -> Router<App> {
    Router::new()
        .route("/api/messages", post(visitor::post_message))
        .route("/api/responses/{session_id}", get(visitor::list_responses))
        .route("/api/v1/messages", post(visitor::post_message))
        .route("/api/v1/messages/{message_id}/cancel", post(visitor::cancel_message))
        .route("/api/v1/messages/{message_id}/feedback", post(visitor::give_feedback))
        .route("/api/v1/responses/{session_id}", get(visitor::list_responses))
        .route("/api/v1/sessions", post(visitor::open_session))
        .route("/api/v1/sessions/{session_id}/revoke", post(visitor::revoke_session))
        .route("/api/v1/sessions/{session_id}/files", post(files::upload_file))
        .route("/api/v1/sessions/{session_id}/files/{file_id}", get(files::download_file))
        .route("/api/v1/sessions/{session_id}/events", get(events::stream_events))
        .route("/api/v1/sessions/{session_id}/messages", get(visitor::show_transcript))
}

/// The calls for which a key is shown.
fn private_calls() -> Router<App> {
    Router::new()
        .route("/api/inbox", get(poller::list_inbox))
        .route("/api/outbox", post(poller::post_reply))
        .route("/api/sessions", get(operator::list_sessions))
        .route("/api/v1/inbox", get(poller::list_inbox))
        .route("/api/v1/inbox/lease", post(poller::lease_messages))
        .route("/api/v1/inbox/{message_id}/extend", post(poller::extend_lease))
        .route("/api/v1/inbox/{message_id}/chunks", post(poller::post_chunk))
        .route("/api/v1/inbox/{message_id}/nack", post(poller::nack_message))
        .route("/api/v1/outbox", post(poller::post_reply))
        .route("/api/v1/sessions", get(operator::list_sessions))
        .route("/api/v1/sessions/{session_id}", get(operator::show_session))
        .route("/api/v1/deadletters", get(operator::list_dead_letters))
        .route(
            "/api/v1/deadletters/{message_id}",
            get(operator::show_dead_letter).delete(operator::drop_dead_letter),
        )
        .route("/api/v1/deadletters/{message_id}/requeue", post(operator::requeue_dead_letter))
        .route("/metrics", get(operator::show_metrics))
}

/// Set within the visitor's calls too: a preflight is a method that no route takes.
async fn refuse_method() -> ApiError {
    ApiError::MethodNotAllowed
}
