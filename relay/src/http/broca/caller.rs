//! Who calls by this contract: extractors that let in only whom the caller's site serves so.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use postern_shared::SessionId;

use crate::compat::Compat;
use crate::http::App;
use crate::http::NOTHING_HERE;
use crate::http::error::ApiError;
use crate::http::extract::{PollerAtWork, VisitorCaller};
use crate::secret::SecretHash;
use crate::sites::ServedSite;

/// The shortest session id that lets a visitor in, in characters.
const MIN_SESSION_ID: usize = 20;

/// A program that fetches and answers a site's messages.
pub(super) struct Poller {
    pub(super) site: Arc<ServedSite>,
    pub(super) compat: Compat,
    _at_work: PollerAtWork,
}

/// A visitor of a site that asks for no token.
pub(super) struct Visitor {
    pub(super) site: Arc<ServedSite>,
}

impl Visitor {
    /// The session that a visitor names, and what stands for its token.
    pub(super) fn session(&self, id: &str) -> Result<(SessionId, SecretHash), ApiError> {
        if id.is_empty() {
            return Err(ApiError::field("session_id", "is missing"));
        }
        let session: SessionId =
            id.parse().map_err(|problem| ApiError::field("session_id", problem))?;
        if id.len() < MIN_SESSION_ID {
            let problem = format_args!("must have at least {MIN_SESSION_ID} characters");
            return Err(ApiError::field("session_id", problem));
        }
        let own = SecretHash::of_session(&self.site.site.id, &session);
        Ok((session, own))
    }
}

impl FromRequestParts<App> for Poller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let at_work = PollerAtWork::from_request_parts(parts, app).await?;
        let site = Arc::clone(&at_work.site);
        let compat = site.site.compat.ok_or(NOTHING_HERE)?;
        Ok(Self { site, compat, _at_work: at_work })
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let VisitorCaller { site, .. } = VisitorCaller::from_request_parts(parts, app).await?;
        match site.site.compat {
            None => Err(NOTHING_HERE),
            Some(Compat { visitors: false, .. }) => Err(ApiError::Forbidden(
                "this site lets visitors in by their session's token only: see --compat-visitors",
            )),
            Some(_) => Ok(Self { site }),
        }
    }
}
