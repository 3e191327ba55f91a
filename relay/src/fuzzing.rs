//! Doors for the fuzz targets to what is the relay's own affair; there for cargo-fuzz only.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use axum::Router;
use axum::http::HeaderMap;
use postern_shared::SiteId;

use crate::Server;
use crate::client_address::TrustedProxies;
use crate::config::FileError;
use crate::connections::Answer;
use crate::identity::{IdentityError, IdentityKeys, VerifiedVisitor};

/// The whole HTTP side of a relay, without its connections.
pub fn router(server: &Server) -> Router {
    let calls = server.calls.clone();
    let nobody = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    Router::new().fallback(async move |request| calls.answer(nobody, request).await)
}

/// Who calls, as limits and the operator are told.
pub fn client(proxies: &TrustedProxies, peer: IpAddr, headers: &HeaderMap) -> String {
    proxies.client(peer, headers).ip().to_string()
}

/// Keys of files that a site's server signs with.
///
/// # Errors
/// A [`FileError`] that names the file.
pub fn identity_keys(paths: &[&Path]) -> Result<IdentityKeys, FileError> {
    let mut keys = IdentityKeys::default();
    paths.iter().try_for_each(|path| keys.add_file(path).map(drop))?;
    Ok(keys)
}

/// Who a token says that a visitor of a site is.
///
/// # Errors
/// An [`IdentityError`].
pub fn verify(
    keys: &IdentityKeys,
    token: &str,
    site: &SiteId,
) -> Result<VerifiedVisitor, IdentityError> {
    keys.verify(token, site)
}
