//! Verified visitors: who a site's own server says that a visitor is, by a signed token (JWT,
//! RFC 7519; HS256 of RFC 7518, or EdDSA of RFC 8037).

use std::path::Path;
use std::{fmt, fs};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use postern_shared::SiteId;
use serde::Deserialize;

use crate::config::FileError;

/// The shortest secret for HS256, in bytes: as long as its hash (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// The longest claim that is kept, in characters.
const MAX_CLAIM_CHARS: usize = 255;

/// Who a visitor is, by the word of the site's server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VerifiedVisitor {
    /// The site's own name for the visitor, the same on every device.
    pub sub: String,
    /// What to call the visitor.
    #[serde(default)]
    pub name: Option<String>,
    /// Where to write to.
    #[serde(default)]
    pub email: Option<String>,
}

/// What a token has to say to be read at all.
#[derive(Deserialize)]
struct Claims {
    #[serde(flatten)]
    visitor: VerifiedVisitor,
    /// Whether it names the site is seen to by `jsonwebtoken`, for which one of another shape is as good as none.
    #[serde(default, rename = "aud")]
    _aud: Option<Audience>,
}

/// One or several (RFC 7519 §4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "that it can be read is all that counts")]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Why a token does not say who a visitor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The site verifies nobody.
    #[error("this site has no key to verify it with")]
    NoKeys,
    /// It was good once.
    #[error("it has expired: get a new one from the site")]
    Expired,
    /// Signed by nobody known here, for another site, or no token at all.
    #[error("it is not signed for this site")]
    NotOurs,
    /// A claim is missing, too long, or of another type.
    #[error(
        "sub must have 1 to 255 characters, name and email at most 255, exp must be there, \
         and aud be a text or a list of texts"
    )]
    BadClaims,
}

/// The keys that a site's server signs with; several while one replaces another.
#[derive(Clone, Default)]
pub struct IdentityKeys(Vec<VerifyingKey>);

/// A key and the one algorithm it is for, so that no token can choose another.
#[derive(Clone)]
struct VerifyingKey {
    key: DecodingKey,
    algorithm: Algorithm,
}

impl fmt::Debug for IdentityKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKeys({})", self.0.len())
    }
}

impl IdentityKeys {
    /// Adds a key of a file: an Ed25519 public key in PEM, or a secret of at least 32 bytes.
    ///
    /// # Errors
    /// A [`FileError`] that names the file.
    pub(crate) fn add_file(&mut self, path: &Path) -> Result<String, FileError> {
        let unreadable = |cause| FileError::Unreadable { path: path.to_owned(), cause };
        let text = fs::read_to_string(path).map_err(unreadable)?.trim().to_owned();
        let key = if text.starts_with("-----BEGIN") {
            let key = DecodingKey::from_ed_pem(text.as_bytes()).ok();
            key.map(|key| VerifyingKey { key, algorithm: Algorithm::EdDSA })
        } else {
            let secret = Some(text.as_bytes()).filter(|secret| secret.len() >= MIN_SECRET_BYTES);
            secret
                .map(DecodingKey::from_secret)
                .map(|key| VerifyingKey { key, algorithm: Algorithm::HS256 })
        };
        self.0.push(key.ok_or_else(|| FileError::NoIdentityKey { path: path.to_owned() })?);
        Ok(text)
    }

    /// Who a token says that a visitor of this site is.
    ///
    /// # Errors
    /// An [`IdentityError`] for the visitor's page.
    pub(crate) fn verify(
        &self,
        token: &str,
        site: &SiteId,
    ) -> Result<VerifiedVisitor, IdentityError> {
        // An unsigned one, or one of an algorithm that is unknown, ends here.
        jsonwebtoken::decode_header(token).map_err(|_| IdentityError::NotOurs)?;
        let mut reason =
            if self.0.is_empty() { IdentityError::NoKeys } else { IdentityError::NotOurs };
        for key in &self.0 {
            match jsonwebtoken::decode::<Claims>(token, &key.key, &key.validation(site)) {
                Ok(token) => return check(token.claims.visitor),
                Err(error) => reason = meaning(error.kind()).unwrap_or(reason),
            }
        }
        Err(reason)
    }
}

impl VerifyingKey {
    /// `exp` must be there; `aud` need not, and when it is, it must name the site.
    fn validation(&self, site: &SiteId) -> Validation {
        let mut validation = Validation::new(self.algorithm);
        validation.validate_nbf = true;
        validation.set_audience(&[site.as_str()]);
        validation
    }
}

/// What is worth telling of a failure under one key; the others may still do.
fn meaning(kind: &ErrorKind) -> Option<IdentityError> {
    match kind {
        ErrorKind::ExpiredSignature => Some(IdentityError::Expired),
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::Json(_) => Some(IdentityError::BadClaims),
        _ => None,
    }
}

fn check(visitor: VerifiedVisitor) -> Result<VerifiedVisitor, IdentityError> {
    let is_short = |claim: &str| claim.chars().count() <= MAX_CLAIM_CHARS;
    let VerifiedVisitor { sub, name, email } = &visitor;
    let all = [Some(sub), name.as_ref(), email.as_ref()];
    if sub.is_empty() || !all.into_iter().flatten().all(|claim| is_short(claim)) {
        return Err(IdentityError::BadClaims);
    }
    Ok(visitor)
}
