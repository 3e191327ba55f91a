//! Files that wait for an entry, and those that go with one.

use postern_relay::store::{NewFile, StoreError};
use postern_shared::files::File;
use postern_shared::visitor::Role;
use postern_shared::{FileId, MessageId, SessionId};

use super::{MAX_WAITING, Model};

/// A file that was sent.
pub(crate) struct Sent {
    session: usize,
    new: NewFile,
    uploaded_at: i64,
    message: Option<MessageId>,
}

impl Model {
    pub(crate) fn add_file(&mut self, session: usize, new: &NewFile) -> Result<FileId, StoreError> {
        let of_key =
            |sent: &&Sent| new.idempotency.is_some() && sent.new.idempotency == new.idempotency;
        if let Some(earlier) = self.files.iter().filter(|sent| sent.session == session).find(of_key)
        {
            let is_same = earlier.new.digest == new.digest;
            let id = earlier.new.file.id.clone();
            return if is_same { Ok(id) } else { Err(StoreError::IdempotencyMismatch) };
        }
        if self.waiting_in(session, new.by).count() >= MAX_WAITING {
            return Err(StoreError::TooManyFiles);
        }
        let uploaded_at = self.now.steady_ms;
        self.files.push(Sent { session, new: new.clone(), uploaded_at, message: None });
        Ok(new.file.id.clone())
    }

    /// Forgets what waits and was sent until then.
    pub(crate) fn sweep_files(&mut self, until_ms: i64) -> Vec<FileId> {
        let is_swept = |sent: &mut Sent| sent.message.is_none() && sent.uploaded_at <= until_ms;
        self.files.extract_if(.., is_swept).map(|sent| sent.new.file.id).collect()
    }

    /// Up to so many files that wait in a session, the last sent first.
    pub(crate) fn waiting_files(
        &self,
        session: Option<&SessionId>,
        by: Role,
        limit: usize,
    ) -> Vec<FileId> {
        let Some(session) = session.and_then(|id| self.named(id)) else { return Vec::new() };
        let waiting: Vec<_> = self.waiting_in(session, by).collect();
        waiting.into_iter().rev().take(limit).map(|sent| sent.new.file.id.clone()).collect()
    }

    fn waiting_in(&self, session: usize, by: Role) -> impl Iterator<Item = &Sent> {
        let wait = move |sent: &&Sent| {
            sent.session == session && sent.new.by == by && sent.message.is_none()
        };
        self.files.iter().filter(wait)
    }

    /// Whether all of these wait in a session.
    pub(super) fn check_waiting(
        &self,
        session: usize,
        by: Role,
        ids: &[FileId],
    ) -> Result<(), StoreError> {
        let waits = |id: &FileId| self.waiting_in(session, by).any(|sent| sent.new.file.id == *id);
        if ids.iter().all(waits) { Ok(()) } else { Err(StoreError::NotWaiting) }
    }

    /// Gives files to an entry.
    pub(super) fn attach(&mut self, message: MessageId, ids: &[FileId]) {
        let mut files = Vec::new();
        for id in ids {
            let sent = self.files.iter_mut().find(|sent| sent.new.file.id == *id);
            let sent = sent.expect("a file that waits");
            sent.message = Some(message);
            files.push(sent.new.file.clone());
        }
        self.said(message).entry.files = files;
    }
}

/// Whether an entry came with just these files.
pub(super) fn are(files: &[File], ids: &[FileId]) -> bool {
    files.iter().map(|file| &file.id).eq(ids)
}
