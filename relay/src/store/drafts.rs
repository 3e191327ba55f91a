//! Drafts: replies while they are being written. In memory only: the poller has the text until the
//! reply is stored, and brings what is missing after a restart.
//!
//! A draft lives as long as the lease under which it is written, and grows to the longest reply at
//! most: all of them together take no more than the live leases times that.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use postern_shared::visitor::Chunk;
use postern_shared::{LeaseId, MessageId};

use super::writer::Txn;
use super::{Now, SessionKey, Store, StoreError, inbox};

/// A piece of a reply on its way in.
#[derive(Debug, Clone)]
pub struct NewChunk {
    /// The lease under which it was written.
    pub lease: LeaseId,
    /// How long the reply was before it, in bytes.
    pub offset: usize,
    /// The piece.
    pub text: String,
    /// What the agent is doing.
    pub progress: Option<String>,
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// How long the reply is now, in bytes.
    pub received: usize,
    /// Whether the visitor wants no reply any more.
    pub cancelled: bool,
}

/// How far a reader has come in a draft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    version: u64,
    bytes: usize,
}

/// All replies that are being written.
#[derive(Debug, Default)]
pub(super) struct Drafts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    drafts: HashMap<MessageId, Draft>,
    /// Counts drafts and their rewrites, so that each has a number of its own.
    versions: u64,
}

#[derive(Debug)]
struct Draft {
    session: SessionKey,
    lease: LeaseId,
    version: u64,
    text: String,
    progress: Option<String>,
    cancelled: bool,
}

impl Store {
    /// Takes a piece of a reply and shows it to whoever watches the session. What is known already
    /// is not taken twice; what differs from it replaces it, as when an agent begins again.
    ///
    /// # Errors
    /// [`StoreError::OffsetMismatch`] when there is a gap before the piece; as [`Store::extend`]
    /// when the lease does not hold.
    pub async fn take_chunk(
        &self,
        message: MessageId,
        chunk: NewChunk,
        now: Now,
    ) -> Result<Taken, StoreError> {
        if !self.drafts.has(message, &chunk.lease) {
            self.open_draft(message, chunk.lease.clone(), now).await?;
        }
        let (session, taken) = self.drafts.append(message, chunk)?;
        self.signals.announce_draft(session);
        Ok(taken)
    }

    /// What was written to a message since a place in its reply, which is moved on; `None` when
    /// nothing was.
    pub fn draft_since(&self, message: MessageId, place: &mut Place) -> Option<Chunk> {
        let state = self.drafts.lock();
        let draft = state.drafts.get(&message)?;
        if place.version != draft.version {
            *place = Place { version: draft.version, bytes: 0 };
        }
        let text = draft.text.get(place.bytes..).filter(|text| !text.is_empty())?;
        let chunk =
            Chunk { message_id: message, offset: place.bytes as u64, text: text.to_owned() };
        place.bytes = draft.text.len();
        Some(chunk)
    }

    /// What the agent says it is doing for a message.
    pub fn progress(&self, message: MessageId) -> Option<String> {
        self.drafts.lock().drafts.get(&message)?.progress.clone()
    }

    /// Opens a draft on the writer thread, after every commit that may have ended the lease and
    /// before every one that will: none is left behind.
    async fn open_draft(
        &self,
        message: MessageId,
        lease: LeaseId,
        now: Now,
    ) -> Result<(), StoreError> {
        let drafts = std::sync::Arc::clone(&self.drafts);
        self.writer.run(move |txn| drafts.open(txn, message, lease, now)).await
    }
}

impl Drafts {
    /// What was written to a message so far.
    pub(super) fn text(&self, message: MessageId) -> String {
        self.lock().drafts.get(&message).map(|draft| draft.text.clone()).unwrap_or_default()
    }

    /// Forgets the drafts whose lease ended.
    pub(super) fn end(&self, messages: &[MessageId]) {
        let mut state = self.lock();
        for message in messages {
            state.drafts.remove(message);
        }
    }

    /// Has the pollers told that no reply is wanted any more.
    pub(super) fn cancel(&self, messages: &[MessageId]) {
        let mut state = self.lock();
        for message in messages {
            if let Some(draft) = state.drafts.get_mut(message) {
                draft.cancelled = true;
            }
        }
    }

    fn has(&self, message: MessageId, lease: &LeaseId) -> bool {
        self.lock().drafts.get(&message).is_some_and(|draft| draft.lease == *lease)
    }

    fn open(
        &self,
        txn: &mut Txn<'_>,
        message: MessageId,
        lease: LeaseId,
        now: Now,
    ) -> Result<(), StoreError> {
        let open = inbox::find_open(txn, message, Some(&lease), now)?;
        if !open.is_leased(now) {
            return Err(StoreError::StaleLease);
        }
        let mut state = self.lock();
        let version = state.next_version();
        let (session, cancelled) = (open.session, open.cancelled);
        let draft =
            Draft { session, lease, version, text: String::new(), progress: None, cancelled };
        state.drafts.insert(message, draft);
        Ok(())
    }

    fn append(
        &self,
        message: MessageId,
        chunk: NewChunk,
    ) -> Result<(SessionKey, Taken), StoreError> {
        let mut state = self.lock();
        let version = state.next_version();
        let draft = state
            .drafts
            .get_mut(&message)
            .filter(|draft| draft.lease == chunk.lease)
            .ok_or(StoreError::StaleLease)?;
        draft.take(chunk.offset, &chunk.text, version)?;
        draft.progress = chunk.progress;
        let taken = Taken { received: draft.text.len(), cancelled: draft.cancelled };
        Ok((draft.session, taken))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }
}

impl Draft {
    /// Takes the part of a piece that is news.
    fn take(&mut self, offset: usize, piece: &str, version: u64) -> Result<(), StoreError> {
        let known = self
            .text
            .get(offset..)
            .ok_or(StoreError::OffsetMismatch { wanted: self.text.len() })?;
        if let Some(news) = piece.strip_prefix(known) {
            self.text.push_str(news);
        } else if !known.starts_with(piece) {
            self.text.truncate(offset);
            self.text.push_str(piece);
            self.version = version;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(text: &str) -> Draft {
        Draft {
            session: SessionKey(1),
            lease: "lease".parse().unwrap(),
            version: 1,
            text: text.into(),
            progress: None,
            cancelled: false,
        }
    }

    #[test]
    fn what_is_known_is_not_taken_twice() {
        let mut draft = draft("Grüße");
        for (offset, piece) in [(0, "Gr"), (0, "Grüße"), (2, "üße"), (7, "")] {
            draft.take(offset, piece, 2).unwrap();
            assert_eq!((draft.text.as_str(), draft.version), ("Grüße", 1), "{offset} {piece}");
        }
        draft.take(2, "üße an alle", 2).unwrap();
        assert_eq!((draft.text.as_str(), draft.version), ("Grüße an alle", 1));
    }

    #[test]
    fn a_gap_and_a_cut_character_are_refused_with_the_offset_that_is_wanted() {
        let mut draft = draft("Grüße");
        for offset in [3, 8, usize::MAX] {
            let refused = draft.take(offset, "x", 2);
            assert!(matches!(refused, Err(StoreError::OffsetMismatch { wanted: 7 })), "{offset}");
        }
        assert_eq!(draft.text, "Grüße");
    }

    #[test]
    fn other_text_than_the_known_begins_a_version_of_its_own() {
        let mut draft = draft("Hello world");
        draft.take(0, "Hello you", 2).unwrap();
        assert_eq!((draft.text.as_str(), draft.version), ("Hello you", 2));
    }
}
