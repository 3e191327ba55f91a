//! Whoever waits for a session's news: told of all of it, and of nothing else.

use std::sync::Arc;

use futures_util::FutureExt;
use postern_relay::store::{Change, News, Place, SessionKey, Step, Store, Subscription, Waiting};
use postern_shared::visitor::Chunk;
use postern_shared::{Cursor, MessageId};
use proptest::prelude::*;

use super::{ALL, Checked, Run, same};
use crate::model::{Draft, View};

/// Waits for a session's news, and follows what is written in it.
pub(super) struct Watcher {
    subscription: Subscription,
    place: Place,
    /// The version of the draft that was read last, and how much of it.
    read: (u64, usize),
}

impl Watcher {
    pub(super) fn new(store: &Store, session: SessionKey) -> Self {
        let subscription = store.subscribe(session);
        Self { subscription, place: Place::default(), read: (0, 0) }
    }

    /// Reads what was written since the last time: all of it, when that was something else.
    pub(super) fn read(&mut self, store: &Store, message: MessageId, draft: &Draft) -> Checked {
        let (version, bytes) = self.read;
        let offset = if version == draft.version { bytes } else { 0 };
        let text = draft.text[offset..].to_owned();
        let chunk = Chunk { message_id: message, offset: offset as u64, text };
        let expected = Some(chunk).filter(|chunk| !chunk.text.is_empty());
        prop_assert_eq!(store.draft_since(message, &mut self.place), expected);
        self.read = (draft.version, draft.text.len());
        Ok(())
    }
}

impl Run {
    /// Whoever watches a session was told that it changed, if it did, and finds what is new.
    pub(super) async fn check_told(&mut self, session: usize, before: View) -> Checked {
        let change = self.watchers[session].subscription.changed().now_or_never();
        let told = change.as_ref().map(|change| *change != Change::Written);
        let after = self.model.view(session);
        let expected = before.told(&after);
        let may_be = self.model.may_tell.filter(|(of, _)| *of == session).map(|(_, told)| told);
        let as_it_may_be = expected.is_none() && told == may_be;
        prop_assert!(
            told == expected || as_it_may_be,
            "session {session} was told {told:?}, not {expected:?}: {before:?} became {after:?}"
        );
        let (key, now) = (self.keys[session], self.model.now);
        let known = self.model.entries(session)[..before.entries].last().map(|entry| entry.id);
        let cursor = known.map(Cursor::after).unwrap_or_default();
        let news = self.model.news(session, cursor, ALL.limit);
        if let (Some(Change::Steps(steps)), Ok(news)) = (change, &news) {
            check_steps(&steps, cursor, before.waiting[0], news)?;
        }
        same(self.store.news(key, cursor, ALL.limit, now).await, news)
    }

    /// Has the watcher of a message's session read on in its draft, if there is one.
    pub(super) fn read_draft(&mut self, message: MessageId) -> Checked {
        let Some(draft) = self.model.draft(message) else { return Ok(()) };
        let session = self.model.find(message).map_or(0, |said| said.session);
        self.watchers[session].read(&self.store, message, draft)
    }

    /// Reads from its beginning what is being written to each message; to most nothing is.
    pub(super) fn check_drafts(&self) -> Checked {
        for message in self.model.said.iter().map(|said| said.entry.id) {
            let draft = self.model.draft(message);
            let shown = self.store.draft_since(message, &mut Place::default());
            let text = draft.map(|draft| draft.text.clone()).filter(|text| !text.is_empty());
            let expected = text.map(|text| Chunk { message_id: message, offset: 0, text });
            prop_assert_eq!(shown, expected);
            let progress = draft.and_then(|draft| draft.progress.clone());
            prop_assert_eq!(self.store.progress(message), progress);
        }
        Ok(())
    }
}

/// Steps that lead on from what was known before lead to what is read.
fn check_steps(
    steps: &[Arc<Step>],
    mut cursor: Cursor,
    mut waiting: Option<Waiting>,
    news: &News,
) -> Checked {
    let mut entries = Vec::new();
    for step in steps {
        if !step.leads_on_from(cursor, waiting) {
            return Ok(());
        }
        entries.extend(step.said.clone());
        cursor = entries.last().map_or(cursor, |entry| Cursor::after(entry.id));
        waiting = step.waiting;
    }
    prop_assert_eq!(&News { entries, waiting }, news);
    Ok(())
}
