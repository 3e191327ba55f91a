//! Dead letters by the file, for an operator who has a shell on the relay's host.

use std::path::Path;

use postern_shared::MessageId;
use postern_shared::operator::{DeadLetter, DeadLetterDetail};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::store::file::{self, OpenError, Purpose};
use crate::store::{Page, StoreError, dead_letters};

/// How many are requeued in one transaction, so that a serving relay waits for none for long.
const BATCH: u32 = 256;

/// The dead letters of one database.
#[derive(Debug)]
pub struct DeadLetterFile {
    connection: Connection,
}

/// Why dead letters could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is none for this message, and nothing was changed.
    #[error("message {0} is not a dead letter; nothing was changed")]
    Unknown(MessageId),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DeadLetterFile {
    /// Opens a relay's database; a relay may be serving from it.
    ///
    /// # Errors
    /// [`DeadLetterError::Open`] names the file.
    pub fn open(db: &Path) -> Result<Self, DeadLetterError> {
        let connection = file::open_beside(db, Purpose::Write)?.connection;
        Ok(Self { connection })
    }

    /// All of them, the oldest message first.
    ///
    /// # Errors
    /// Only the database's own.
    pub fn list(&self) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let all = Page { limit: u32::MAX, offset: 0 };
        Ok(dead_letters::list(&self.connection, all)?.rows)
    }

    /// One with its text.
    ///
    /// # Errors
    /// [`DeadLetterError::Unknown`].
    pub fn find(&self, message: MessageId) -> Result<DeadLetterDetail, DeadLetterError> {
        dead_letters::find(&self.connection, message).map_err(|error| about(message, error))
    }

    /// Puts these back into the inbox: all of them, or none.
    ///
    /// # Errors
    /// [`DeadLetterError::Unknown`] names the first that is none.
    pub fn requeue(&mut self, messages: &[MessageId]) -> Result<(), DeadLetterError> {
        let transaction = self.begin()?;
        for message in messages {
            dead_letters::requeue(&transaction, *message).map_err(|e| about(*message, e))?;
        }
        Ok(transaction.commit()?)
    }

    /// Puts every dead letter back into the inbox; returns how many there were.
    ///
    /// # Errors
    /// Only the database's own; those requeued until then stay so.
    pub fn requeue_all(&mut self) -> Result<usize, DeadLetterError> {
        let mut requeued = 0;
        let mut passed = MessageId(0);
        loop {
            let transaction = self.begin()?;
            let batch = dead_letters::after(&transaction, passed, BATCH)?;
            for message in &batch {
                dead_letters::requeue(&transaction, *message)?;
            }
            transaction.commit()?;
            requeued += batch.len();
            match batch.last() {
                Some(last) => passed = *last,
                None => return Ok(requeued),
            }
        }
    }

    /// Takes these off the dead letters, all of them or none; what was said stays.
    ///
    /// # Errors
    /// [`DeadLetterError::Unknown`] names the first that is none.
    pub fn drop(&mut self, messages: &[MessageId]) -> Result<(), DeadLetterError> {
        let transaction = self.begin()?;
        for message in messages {
            dead_letters::remove(&transaction, *message).map_err(|e| about(*message, e))?;
        }
        Ok(transaction.commit()?)
    }

    fn begin(&mut self) -> Result<Transaction<'_>, DeadLetterError> {
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

impl From<rusqlite::Error> for DeadLetterError {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Store(cause.into())
    }
}

fn about(message: MessageId, error: StoreError) -> DeadLetterError {
    match error {
        StoreError::UnknownDeadLetter => DeadLetterError::Unknown(message),
        other => DeadLetterError::Store(other),
    }
}
