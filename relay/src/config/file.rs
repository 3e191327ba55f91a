//! The configuration file: settings under the names of their flags, and `[[site]]`s.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;
use toml::{Table, Value};

use super::SiteSettings;

/// A configuration file as it was read.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// Settings by the names of their flags, with `_` for `-`; as a flag would be given.
    pub settings: BTreeMap<String, String>,
    /// The sites, in their order.
    pub sites: Vec<SiteSettings>,
}

/// Why a file of settings cannot be used; each names it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is not TOML, or a site in it is not well.
    #[error("{}: {cause}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        cause: Box<toml::de::Error>,
    },
    /// There is no such setting.
    #[error("{}: there is no setting {name}; `postern-relay serve --help` lists the flags, and a setting has its flag's name with _ for -", path.display())]
    UnknownSetting {
        /// The file.
        path: PathBuf,
        /// What was found.
        name: String,
    },
    /// A setting has a value that no flag takes.
    #[error("{}: {name} must be a text, a number, true, false, or a list of texts", path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The setting.
        name: String,
    },
    /// A file for `identity_key_files` holds no key.
    #[error("{} holds neither an Ed25519 public key in PEM nor a secret of at least 32 bytes", path.display())]
    NoIdentityKey {
        /// The file.
        path: PathBuf,
    },
    /// Two sites have one id.
    #[error("{}: two sites have the id \"{id}\"", path.display())]
    TwoSites {
        /// The file.
        path: PathBuf,
        /// Their id.
        id: String,
    },
}

/// The whole file: sites apart from everything else.
#[derive(Deserialize)]
struct Contents {
    #[serde(default)]
    site: Vec<SiteSettings>,
    #[serde(flatten)]
    settings: Table,
}

impl File {
    /// Reads it.
    ///
    /// # Errors
    /// A [`FileError`] that names the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let unreadable = |cause| FileError::Unreadable { path: path.to_owned(), cause };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let malformed =
            |cause| FileError::Malformed { path: path.to_owned(), cause: Box::new(cause) };
        let contents: Contents = toml::from_str(&text).map_err(malformed)?;
        check_ids(path, &contents.site)?;
        let settings = contents.settings.into_iter().map(|(name, value)| match as_flag(&value) {
            Some(value) => Ok((name, value)),
            None => Err(FileError::BadValue { path: path.to_owned(), name }),
        });
        Ok(Self { settings: settings.collect::<Result<_, _>>()?, sites: contents.site })
    }
}

fn check_ids(path: &Path, sites: &[SiteSettings]) -> Result<(), FileError> {
    let mut ids: Vec<&str> = sites.iter().map(|site| site.id.as_str()).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(FileError::TwoSites { path: path.to_owned(), id: pair[0].to_owned() }),
    }
}

/// A value as one would write it behind its flag.
fn as_flag(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(is_on) => Some(is_on.to_string()),
        Value::Array(values) => {
            let texts: Option<Vec<_>> = values.iter().map(as_flag).collect();
            texts.map(|texts| texts.join(","))
        }
        Value::Datetime(_) | Value::Table(_) => None,
    }
}
