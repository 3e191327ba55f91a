//! What `postern-relay serve` can be told, and what it refuses to start with.

mod file;
mod site;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use postern_host::key::{self, KeyError};
use postern_host::seconds;
use postern_shared::SiteId;

use crate::compat::CompatArgs;
use crate::connections::ConnectionLimits;
use crate::limits::{AddressLimits, RateLimits, SiteLimits, Switch};
use crate::secret::SecretHash;
use crate::sites::Site;
use crate::tls::{Tls, TlsArgs, TlsError};

pub use file::{File, FileError};
pub use site::SiteSettings;

/// The shortest key the relay starts with, in characters.
pub const MIN_KEY_CHARS: usize = 16;

/// Pictures and documents; nothing that a browser would run.
const FILE_TYPES: &str = "image/png,image/jpeg,image/gif,image/webp,application/pdf,text/plain,\
text/csv,application/vnd.openxmlformats-officedocument.wordprocessingml.document,\
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet,\
application/vnd.openxmlformats-officedocument.presentationml.presentation,\
application/vnd.oasis.opendocument.text,application/vnd.oasis.opendocument.spreadsheet";

/// The flags of `postern-relay serve`: flags over environment over default.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, env = "POSTERN_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// The database file; made when it does not exist
    #[arg(long, env = "POSTERN_DB", default_value = "relay.db")]
    pub db: PathBuf,

    /// The folder of visitors' and agents' files; beside the database, with .files, when not given
    #[arg(long, env = "POSTERN_FILES", value_name = "DIR")]
    pub files: Option<PathBuf>,

    /// The media types of files that are taken, with commas between them
    #[arg(long, env = "POSTERN_FILE_TYPES", value_name = "TYPES", value_delimiter = ',',
          default_value = FILE_TYPES)]
    pub file_types: Vec<String>,

    /// A file with the poller's key; POSTERN_API_KEY holds the key itself
    #[arg(long, env = "POSTERN_API_KEY_FILE", value_name = "PATH")]
    pub api_key_file: Option<PathBuf>,

    /// A file with the operator's key; POSTERN_ADMIN_KEY holds the key itself
    #[arg(long, env = "POSTERN_ADMIN_KEY_FILE", value_name = "PATH")]
    pub admin_key_file: Option<PathBuf>,

    /// Seconds without a call of the poller after which visitors are told that the agent is away
    #[arg(long, env = "POSTERN_AWAY_AFTER", value_name = "SECONDS", default_value = "10",
          value_parser = seconds::parse)]
    pub away_after: Duration,

    /// What a visitor may send and how often the relay tries
    #[command(flatten)]
    pub limits: Limits,

    /// How much visitors may ask for
    #[command(flatten)]
    pub rates: RateLimits,

    /// Who may connect, and how slow a client may be
    #[command(flatten)]
    pub connections: ConnectionLimits,

    /// How the relay comes to a certificate
    #[command(flatten)]
    pub tls: TlsArgs,

    /// Which other relay's contract it serves
    #[command(flatten)]
    pub compat: CompatArgs,
}

/// Bounds on what the relay takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Limits {
    /// The longest message of a visitor, in characters
    #[arg(long, env = "POSTERN_MAX_MESSAGE_CHARS", default_value_t = 10_000, value_name = "N")]
    pub max_message_chars: usize,

    /// The largest body of a visitor's request, in bytes
    #[arg(long, env = "POSTERN_MAX_BODY_BYTES", default_value_t = 64 * 1024, value_name = "N")]
    pub max_body_bytes: usize,

    /// The longest reply of an agent, in bytes
    #[arg(long, env = "POSTERN_MAX_REPLY_BYTES", default_value_t = 256 * 1024, value_name = "N")]
    pub max_reply_bytes: usize,

    /// How many files may go with a message or a reply
    #[arg(long, env = "POSTERN_MAX_FILES_PER_MESSAGE", default_value_t = 5, value_name = "N")]
    pub max_files_per_message: usize,

    /// The largest file, in bytes
    #[arg(long, env = "POSTERN_MAX_FILE_BYTES", default_value_t = 10 * 1024 * 1024,
          value_name = "N")]
    pub max_file_bytes: u64,

    /// How long a file is kept that goes with no message
    #[arg(long, env = "POSTERN_FILES_WAIT", value_name = "SECONDS", default_value = "3600",
          value_parser = seconds::parse)]
    pub files_wait: Duration,

    /// How often a message is handed out before it becomes a dead letter
    #[arg(long, env = "POSTERN_MAX_ATTEMPTS", default_value_t = 5, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_chars: 10_000,
            max_body_bytes: 64 * 1024,
            max_reply_bytes: 256 * 1024,
            max_files_per_message: 5,
            max_file_bytes: 10 * 1024 * 1024,
            files_wait: Duration::from_secs(3_600),
            max_attempts: 5,
        }
    }
}

/// Everything a relay needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The database file.
    pub db: PathBuf,
    /// The folder of files.
    pub files: PathBuf,
    /// The media types of files that are taken.
    pub file_types: Vec<String>,
    /// The operator's key, when the configuration has it; `postern-relay keys` makes others.
    pub admin_key: Option<SecretHash>,
    /// The sites to serve, at least one.
    pub sites: Vec<Site>,
    /// How long no poller calls before the agent's host counts as away.
    pub away_after: Duration,
    /// Bounds on what the relay takes.
    pub limits: Limits,
    /// What one address may ask for; what one site may is in its own settings.
    pub address_limits: AddressLimits,
    /// Who may connect, and how slow a client may be.
    pub connections: ConnectionLimits,
    /// TLS; plain HTTP without.
    pub tls: Option<Tls>,
}

/// Why the relay does not start; each names the setting.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is one that cannot be used.
    #[error("{0}; `postern-relay keygen` prints a good one")]
    Key(#[from] KeyError),
    /// Shorter than [`MIN_KEY_CHARS`].
    #[error(
        "{name} is shorter than {MIN_KEY_CHARS} characters: take one that `postern-relay keygen` prints"
    )]
    ShortKey {
        /// The setting.
        name: String,
    },
    /// One key would open two things.
    #[error(
        "{one} and {other} are equal: the poller's key must not open the operator's calls, nor one site's key another's; give each its own"
    )]
    EqualKeys {
        /// A setting.
        one: String,
        /// Another.
        other: String,
    },
    /// The variable has a key, and there are several sites, none of which is `default`.
    #[error(
        "POSTERN_API_KEY is set, and no site is named \"default\": give the site that it is for an api_key_file"
    )]
    NobodysKey,
    /// A site that nobody can be a visitor of.
    #[error("site {0} has verified_only, and no identity_key_files to verify a visitor with")]
    NobodyVerified(SiteId),
    /// A site's own limits.
    #[error("limits of site {site}: {cause}")]
    SiteLimits {
        /// The site.
        site: SiteId,
        /// What is wrong with them.
        cause: Box<toml::de::Error>,
    },
    /// The configuration file.
    #[error(transparent)]
    File(#[from] FileError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl ServeArgs {
    /// Reads the keys and checks everything. `sites` are those of the configuration file; without
    /// any there is one, `default`, for pages of any origin.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the setting.
    pub fn into_config(self, sites: Vec<SiteSettings>) -> Result<Config, ConfigError> {
        let mut keys = ConfiguredKeys::default();
        let api_key = keys.read("POSTERN_API_KEY", self.api_key_file.as_deref())?;
        let admin_key = keys.read("POSTERN_ADMIN_KEY", self.admin_key_file.as_deref())?;
        let mut sites = sites
            .into_iter()
            .map(|settings| settings.into_site(&mut keys, &self.rates.site, &self.compat))
            .collect::<Result<Vec<_>, _>>()?;
        if sites.is_empty() {
            let compat = self.compat.of_site(None, None);
            sites.push(Site { limits: self.rates.site, compat, ..Site::only(None) });
        }
        if self.rates.rate_limit == Switch::Off {
            sites.iter_mut().for_each(|site| site.limits = SiteLimits::OFF);
        }
        if api_key.is_some() {
            let site = default_among(&mut sites).ok_or(ConfigError::NobodysKey)?;
            site.api_key = api_key;
        }
        if !self.db.exists() {
            // No key can be stored yet, and a relay that does not start should leave nothing behind.
            let has_key = sites.iter().any(|site| site.api_key.is_some());
            require("POSTERN_API_KEY", has_key)?;
            require("POSTERN_ADMIN_KEY", admin_key.is_some())?;
        }
        Ok(Config {
            listen: self.listen,
            files: self.files.unwrap_or_else(|| files_beside(&self.db)),
            file_types: self.file_types.iter().map(|name| file_type(name)).collect(),
            tls: self.tls.open(&self.db)?,
            db: self.db,
            admin_key,
            sites,
            away_after: self.away_after,
            limits: self.limits,
            address_limits: match self.rates.rate_limit {
                Switch::On => self.rates.address,
                Switch::Off => AddressLimits::OFF,
            },
            connections: self.connections,
        })
    }
}

fn require(name: &'static str, is_there: bool) -> Result<(), KeyError> {
    if is_there { Ok(()) } else { Err(KeyError::Missing { name }) }
}

/// The site that a key without a site is for.
fn default_among(sites: &mut [Site]) -> Option<&mut Site> {
    match sites {
        [only] => Some(only),
        several => several.iter_mut().find(|site| site.id == SiteId::default()),
    }
}

/// The keys read so far, to see that no two are equal.
#[derive(Debug, Default)]
pub(super) struct ConfiguredKeys(Vec<(String, SecretHash)>);

impl ConfiguredKeys {
    fn read(
        &mut self,
        name: &'static str,
        file: Option<&Path>,
    ) -> Result<Option<SecretHash>, ConfigError> {
        match key::read(name, file) {
            Ok(key) => self.take(name, &key).map(Some),
            Err(KeyError::Missing { .. }) => Ok(None),
            Err(unusable) => Err(unusable.into()),
        }
    }

    /// Takes a key of at least [`MIN_KEY_CHARS`] characters that differs from those before.
    pub(super) fn take(&mut self, name: &str, key: &str) -> Result<SecretHash, ConfigError> {
        if key.chars().count() < MIN_KEY_CHARS {
            return Err(ConfigError::ShortKey { name: name.to_owned() });
        }
        let hash = SecretHash::of(key);
        if let Some((other, _)) = self.0.iter().find(|(_, taken)| *taken == hash) {
            return Err(ConfigError::EqualKeys { one: other.clone(), other: name.to_owned() });
        }
        self.0.push((name.to_owned(), hash));
        Ok(hash)
    }
}

/// Where files lie when no other folder is named.
pub fn files_beside(db: &Path) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(".files");
    name.into()
}

/// The types that are taken when no others are named.
pub fn default_file_types() -> Vec<String> {
    FILE_TYPES.split(',').map(file_type).collect()
}

fn file_type(name: &str) -> String {
    name.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_short_and_equal_keys_by_name() {
        let long = "a-key-of-many-characters";
        let mut keys = ConfiguredKeys::default();
        keys.take("POSTERN_ADMIN_KEY", long).unwrap();
        let mut sentence = |key: &str| keys.take("POSTERN_API_KEY", key).unwrap_err().to_string();
        assert!(sentence("fifteen-chars-x").starts_with("POSTERN_API_KEY is shorter"));
        assert!(sentence(long).starts_with("POSTERN_ADMIN_KEY and POSTERN_API_KEY are equal"));
        assert!(keys.take("POSTERN_API_KEY", "sixteen-chars-xx").is_ok());
    }
}
