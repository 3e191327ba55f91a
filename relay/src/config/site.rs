//! One `[[site]]` of the configuration file.

use std::fs;
use std::path::PathBuf;

use postern_shared::SiteId;
use serde::{Deserialize, Serialize};

use super::{ConfigError, ConfiguredKeys, FileError};
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
    /// What its visitors are told, where it differs from the default.
    #[serde(default)]
    pub texts: Texts,
}

impl SiteSettings {
    /// Reads its key.
    pub(super) fn into_site(self, keys: &mut ConfiguredKeys) -> Result<Site, ConfigError> {
        let name = format!("api_key_file of site {}", self.id);
        let api_key = match &self.api_key_file {
            None => None,
            Some(path) => {
                let key = fs::read_to_string(path)
                    .map_err(|cause| FileError::Unreadable { path: path.clone(), cause })?;
                Some(keys.take(&name, key.trim())?)
            }
        };
        Ok(Site { id: self.id, origins: self.origins, api_key, texts: self.texts })
    }
}
