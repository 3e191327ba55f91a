//! How far each visitor was given its replies, since it cannot say so itself.
//!
//! In memory only: after a restart a visitor goes by its clock alone until the next reply.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use postern_shared::Cursor;

use crate::store::SessionKey;

/// How many sessions are remembered; beyond them all are forgotten.
const MOST_SESSIONS: usize = 100_000;

/// The place after the latest reply that each session was given.
#[derive(Debug, Default)]
pub(crate) struct Given(Mutex<HashMap<SessionKey, Cursor>>);

impl Given {
    /// Up to where a session was given everything; `None` when it was given nothing.
    pub(super) fn up_to(&self, session: SessionKey) -> Option<Cursor> {
        self.lock().get(&session).copied()
    }

    /// Notes that a session is given everything up to a place.
    pub(super) fn note(&self, session: SessionKey, place: Cursor) {
        let mut places = self.lock();
        if places.len() >= MOST_SESSIONS && !places.contains_key(&session) {
            places.clear();
        }
        let noted = places.entry(session).or_default();
        *noted = place.max(*noted);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Cursor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
