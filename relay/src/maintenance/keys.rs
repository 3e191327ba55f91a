//! Keys by the file: made, replaced, ended and listed while a relay serves from it.

use std::path::Path;

use postern_shared::{SiteId, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::secret::{self, SecretHash};
use crate::store::file::{self, OpenError, Purpose};
use crate::store::{KeyRow, StoreError, keys};

/// The keys of one database.
#[derive(Debug)]
pub struct KeyFile {
    connection: Connection,
}

/// Why keys could not be read or changed; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Another key has the name.
    #[error("there is a key named {0:?} already: take another name, or rotate that one")]
    NameTaken(String),
    /// No key has the name.
    #[error("no key is named {0:?}, or it was revoked; `postern-relay keys list` shows them")]
    Unknown(String),
    /// No relay has served the site from this database.
    #[error("no relay has served a site {0} from this database yet: start it once with the site")]
    UnknownSite(SiteId),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl KeyFile {
    /// Opens a relay's database; a relay may be serving from it.
    ///
    /// # Errors
    /// [`KeyFileError::Open`] names the file.
    pub fn open(db: &Path) -> Result<Self, KeyFileError> {
        Ok(Self { connection: file::open_beside(db, Purpose::Write)?.connection })
    }

    /// Every key there ever was, the newest first.
    ///
    /// # Errors
    /// Only the database's own.
    pub fn list(&self) -> Result<Vec<KeyRow>, KeyFileError> {
        Ok(keys::list(&self.connection)?)
    }

    /// Makes a key for a site's poller, or for the operator when there is no site, and returns it:
    /// it is not kept.
    ///
    /// # Errors
    /// [`KeyFileError::NameTaken`] or [`KeyFileError::UnknownSite`].
    pub fn create(
        &mut self,
        name: &str,
        site: Option<&SiteId>,
        now: Timestamp,
    ) -> Result<String, KeyFileError> {
        let transaction = self.begin()?;
        if keys::find(&transaction, name)?.is_some() {
            return Err(KeyFileError::NameTaken(name.to_owned()));
        }
        let site = match site {
            None => None,
            Some(id) => {
                let found = keys::find_site(&transaction, id)?;
                Some(found.ok_or_else(|| KeyFileError::UnknownSite(id.clone()))?)
            }
        };
        let key = secret::generate();
        keys::create(&transaction, name, site, SecretHash::of(&key), now)?;
        transaction.commit()?;
        Ok(key)
    }

    /// Makes a key in place of the one of this name, which opens what it opened until `old_ends`,
    /// and returns it.
    ///
    /// # Errors
    /// [`KeyFileError::Unknown`].
    pub fn rotate(
        &mut self,
        name: &str,
        old_ends: Timestamp,
        now: Timestamp,
    ) -> Result<String, KeyFileError> {
        let transaction = self.begin()?;
        let site = keys::find(&transaction, name)?;
        let site = site.ok_or_else(|| KeyFileError::Unknown(name.to_owned()))?;
        keys::replace(&transaction, name, old_ends)?;
        let key = secret::generate();
        keys::create(&transaction, name, site, SecretHash::of(&key), now)?;
        transaction.commit()?;
        Ok(key)
    }

    /// Ends every key of this name, also one that was replaced and still opens something. A serving
    /// relay knows within a second.
    ///
    /// # Errors
    /// [`KeyFileError::Unknown`].
    pub fn revoke(&mut self, name: &str, now: Timestamp) -> Result<(), KeyFileError> {
        let transaction = self.begin()?;
        if !keys::revoke(&transaction, name, now)? {
            return Err(KeyFileError::Unknown(name.to_owned()));
        }
        Ok(transaction.commit()?)
    }

    fn begin(&mut self) -> Result<Transaction<'_>, KeyFileError> {
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

impl From<rusqlite::Error> for KeyFileError {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Store(cause.into())
    }
}
