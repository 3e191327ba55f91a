//! One `[[site]]` of the configuration file.

use std::fs;
use std::path::PathBuf;

use postern_shared::SiteId;
use serde::{Deserialize, Serialize};

use super::{ConfigError, ConfiguredKeys, FileError};
use crate::compat::{CompatArgs, Contract};
use crate::identity::IdentityKeys;
use crate::limits::SiteLimits;
use crate::origins::Origins;
use crate::sites::{Site, Texts};

/// What is particular to a site.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteSettings {
    /// Its id, for the embed line.
    pub id: SiteId,
    /// The origins of its pages; any, when none is listed.
    #[serde(default)]
    pub origins: Origins,
    /// A file with its poller's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// Files with the keys that its server signs identities with: an Ed25519 public key in PEM, or a
    /// secret of at least 32 bytes for HS256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identity_key_files: Vec<PathBuf>,
    /// Whether it takes only visitors that its server vouches for.
    #[serde(default)]
    pub verified_only: bool,
    /// What its visitors are told, where it differs from the default.
    #[serde(default)]
    pub texts: Texts,
    /// The other relay's contract that it serves, too; as `--compat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat: Option<Contract>,
    /// Whether a session's id alone lets its visitor in; as `--compat-visitors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat_visitors: Option<bool>,
    /// What its visitors may ask for, where it differs: by the names of the flags.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub limits: toml::Table,
}

impl SiteSettings {
    /// Reads its key, and what it sets on top of what holds for all sites.
    pub(super) fn into_site(
        self,
        keys: &mut ConfiguredKeys,
        limits: &SiteLimits,
        compat: &CompatArgs,
    ) -> Result<Site, ConfigError> {
        let name = format!("api_key_file of site {}", self.id);
        let api_key = match &self.api_key_file {
            None => None,
            Some(path) => {
                let key = fs::read_to_string(path)
                    .map_err(|cause| FileError::Unreadable { path: path.clone(), cause })?;
                Some(keys.take(&name, key.trim())?)
            }
        };
        let mut identity_keys = IdentityKeys::default();
        for path in &self.identity_key_files {
            let key = identity_keys.add_file(path)?;
            // One that two sites share would take a visitor of the one for a visitor of the other.
            keys.take(&format!("identity_key_files of site {}", self.id), &key)?;
        }
        if self.verified_only && self.identity_key_files.is_empty() {
            return Err(ConfigError::NobodyVerified(self.id));
        }
        let limits = limits.with(&self.limits).map_err(|cause| ConfigError::SiteLimits {
            site: self.id.clone(),
            cause: Box::new(cause),
        })?;
        Ok(Site {
            id: self.id,
            origins: self.origins,
            api_key,
            identity_keys,
            verified_only: self.verified_only,
            texts: self.texts,
            limits,
            compat: compat.of_site(self.compat, self.compat_visitors),
        })
    }
}
