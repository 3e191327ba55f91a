//! What can be read from the store, compared with what the model holds.

use std::collections::HashSet;

use postern_relay::store::{Inbox, StoreError, TranscriptPage};
use postern_shared::visitor::Role;
use postern_shared::{Cursor, MessageId};
use proptest::prelude::*;

use super::{ALL, Checked, Run, paged, same};
use crate::op::{Look, Token, Which};

impl Run {
    pub(super) async fn read(&mut self, look: Look) -> Checked {
        let Some(session) = usize::from(look.session).checked_rem(self.keys.len()) else {
            return Ok(());
        };
        self.read_session(session, look).await?;
        self.read_lists(session, look).await
    }

    pub(super) async fn check_inbox(&self) -> Checked {
        let open = self.model.open_messages();
        let figures = Inbox { open: open.len() as u64, oldest: open.first().map(|open| open.at) };
        prop_assert_eq!(self.store.inbox().await?, figures);
        same(self.store.open_messages(self.site, None, ALL).await, Ok(paged(open, ALL)))
    }

    /// Compares all that is stored, and counts: what was accepted waits, has its one answer, or is
    /// a dead letter that the visitor was told of.
    pub(super) async fn check_everything(&self) -> Checked {
        self.check_inbox().await?;
        let rows = paged(self.model.rows(&self.keys), ALL);
        same(self.store.sessions(None, ALL).await, Ok(rows))?;
        let letters = self.model.dead_letters();
        same(self.store.dead_letters(ALL).await, Ok(paged(letters, ALL)))?;
        let (mut accepted, mut answered) = (0, HashSet::new());
        for (session, key) in self.keys.iter().enumerate() {
            let all = self.store.entries_after(*key, Cursor::default(), false, ALL.limit).await?;
            prop_assert!(all.is_sorted_by(|one, next| one.id < next.id), "ids rise");
            for entry in &all {
                accepted += u64::from(entry.role == Role::Visitor);
                let answers = entry.message_id.filter(|_| entry.role == Role::Agent);
                prop_assert!(answers.is_none_or(|id| answered.insert(id)), "answered twice");
            }
            prop_assert_eq!(all, self.model.told(session));
        }
        let waiting = self.store.inbox().await?.open;
        let given_up = self.store.dead_letters(ALL).await?.total + self.dropped as u64;
        prop_assert_eq!(accepted, waiting + answered.len() as u64 + given_up);
        Ok(())
    }

    /// Reads a session in all the ways there are.
    async fn read_session(&self, session: usize, look: Look) -> Checked {
        let Look { position, page, replies_only, .. } = look;
        let (key, all, now) = (self.keys[session], self.model.entries(session), self.model.now);
        let end = all.last().map_or(0, |last| last.id.0);
        let at = i64::from(position) % (self.model.said.len() as i64 + 2);
        let (cursor, limit) = (Cursor::after(MessageId(at)), page.limit as usize);

        let news = self.model.news(session, cursor, page.limit);
        same(self.store.news(key, cursor, page.limit, now).await, news)?;
        let later = self.model.entries_after(session, cursor, replies_only, page.limit);
        same(self.store.entries_after(key, cursor, replies_only, page.limit).await, later)?;

        let before: Vec<_> = all.iter().filter(|entry| entry.id.0 < at).cloned().collect();
        let (older, entries) = before.split_at(before.len().saturating_sub(limit));
        let end = Cursor::after(MessageId(end));
        let has_more = !older.is_empty();
        let expected = TranscriptPage { entries: entries.to_vec(), end, has_more };
        same(self.store.transcript(key, Some(cursor), page.limit).await, Ok(expected))?;

        let since = all[usize::from(position) % all.len()].timestamp;
        let first = all.iter().find(|entry| entry.timestamp >= since).expect("it is there");
        let before_it = Cursor::after(MessageId(first.id.0 - 1));
        same(self.store.cursor_at(key, since).await, Ok(before_it))?;

        let id = self.model.sessions[session].id.clone();
        let expected = (self.model.row(session, key), paged(all, page));
        same(self.store.session_detail(id.clone(), page).await, Ok(expected))?;
        let token = self.token(Token::Any(position), None).expect("there is one");
        let owns = self.model.holder(token) == Some(session);
        let expected = if owns { Ok(key) } else { Err(StoreError::ForeignToken) };
        same(self.store.authorise(id, token).await, expected)
    }

    /// Reads the lists, since a moment at which something was said.
    async fn read_lists(&self, session: usize, Look { position, page, .. }: Look) -> Checked {
        let all = self.model.entries(session);
        let since = all[usize::from(position) % all.len()].timestamp;
        let mut active = self.model.rows(&self.keys);
        active.retain(|row| row.last_active >= since);
        same(self.store.sessions(Some(since), page).await, Ok(paged(active, page)))?;
        let mut open = self.model.open_messages();
        open.retain(|open| open.at >= since);
        same(self.store.open_messages(self.site, Some(since), page).await, Ok(paged(open, page)))?;
        let letters = paged(self.model.dead_letters(), page);
        same(self.store.dead_letters(page).await, Ok(letters))?;
        let id = self.message(Which::DeadLetter(position));
        let found = self.store.dead_letter(id).await.map(|found| found.dead_letter);
        same(found, self.model.dead_letter(id))
    }
}
