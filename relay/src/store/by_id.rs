//! Sessions that their id alone opens, for visitors who have nothing else: the id stands for the
//! token. One that was opened with a token has another, so its id opens nothing.

use postern_shared::SessionId;
use rusqlite::Connection;

use super::writer::Txn;
use super::{Accepted, FreshSession, NewMessage, Now, SessionKey, Store, StoreError};
use super::{quota, rows, sessions};
use crate::secret::SecretHash;

impl Store {
    /// Stores a message in the session of this id, which the hash of the fresh token stands for;
    /// opens it when nobody has it.
    ///
    /// # Errors
    /// [`StoreError::TokenMissing`] when it wants a token; otherwise as [`Store::accept_message`].
    pub async fn accept_by_id(
        &self,
        message: NewMessage,
        fresh: FreshSession,
        now: Now,
    ) -> Result<Accepted, StoreError> {
        self.writer.run(move |txn| accept(txn, &message, fresh, now)).await
    }

    /// The session of this id, when what stands for it opens it; `None` when nobody has it.
    ///
    /// # Errors
    /// [`StoreError::TokenMissing`] when it wants a token.
    pub async fn find_by_id(
        &self,
        session: SessionId,
        own: SecretHash,
    ) -> Result<Option<SessionKey>, StoreError> {
        self.readers
            .run(move |conn| match rows::token_holder(conn, &own) {
                Ok(holder) => Ok(Some(holder.key)),
                Err(StoreError::UnknownToken) => refuse_taken(conn, Some(&session)).map(|()| None),
                Err(failed) => Err(failed),
            })
            .await
    }
}

fn accept(
    txn: &mut Txn<'_>,
    message: &NewMessage,
    fresh: FreshSession,
    now: Now,
) -> Result<Accepted, StoreError> {
    match quota::holder(txn, &fresh.token, &message.allowance) {
        Ok(holder) => sessions::accept_in(txn, message, holder, || fresh.uid, now),
        Err(StoreError::UnknownToken) => {
            refuse_taken(txn.conn, message.session.as_ref())?;
            sessions::open_session(txn, message, None, fresh, now)
        }
        Err(failed) => Err(failed),
    }
}

fn refuse_taken(conn: &Connection, session: Option<&SessionId>) -> Result<(), StoreError> {
    match session {
        Some(session) if sessions::is_taken(conn, session)? => Err(StoreError::TokenMissing),
        _ => Ok(()),
    }
}
