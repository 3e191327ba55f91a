//! Each call, made of the store and of its model.

use std::collections::HashSet;
use std::time::Duration;

use postern_relay::secret::SecretHash;
use postern_relay::store::{
    Feedback, FreshSession, IdempotencyKey, Kept, LeaseTerms, Nack, NewChunk, NewFile, NewMessage,
    NewReply,
};
use postern_shared::files::File;
use postern_shared::visitor::Role;
use postern_shared::{LeaseId, MessageId, Uid};
use proptest::prelude::*;

use super::choice::{pick, session_id};
use super::watcher::Watcher;
use super::{Call, Checked, Run, same};
use crate::model::{MAX_ATTEMPTS, MAX_WAITING};
use crate::op::{But, KEYS, Rate, TEXTS, Token, Upload};

impl Run {
    pub(super) async fn accept(&mut self, new: NewMessage) -> Checked {
        self.calls.push(Call::Accept(new.clone()));
        self.offered += 1;
        let (id, token) = (format!("fresh-{}", self.offered), format!("token {}", self.offered));
        let token = SecretHash::of(&token);
        let uid = Uid::try_from(format!("{:016x}", self.offered))?;
        let fresh = FreshSession { id: session_id(&id), uid, token };
        let expected = self.model.accept(&new, fresh.clone());
        same(self.store.accept_message(new, move || fresh, self.model.now).await, expected)?;
        if let Some(opened) = self.model.sessions.get(self.keys.len()) {
            self.settle().await;
            let key = self.store.authorise(opened.id.clone(), token).await?;
            self.keys.push(key);
            self.watchers.push(Watcher::new(&self.store, key));
        }
        Ok(())
    }

    pub(super) async fn cancel(&mut self, id: MessageId, token: Token) -> Checked {
        let session = self.model.find(id).map(|said| said.session);
        let session = session.map(|session| self.model.sessions[session].id.clone());
        let Some(token) = self.token(token, session.as_ref()) else { return Ok(()) };
        let expected = self.model.cancel(id, token);
        same(self.store.cancel(id, token, self.model.now).await, expected)
    }

    pub(super) async fn rate(&mut self, Rate { reply, token, rating, comments }: Rate) -> Checked {
        let id = self.replied(reply);
        let session = self.model.find(id).map(|said| said.session);
        let session = session.map(|session| self.model.sessions[session].id.clone());
        let Some(token) = self.token(token, session.as_ref()) else { return Ok(()) };
        let comment = comments.then(|| TEXTS[1].to_owned());
        let feedback = rating.map(|rating| Feedback { rating, comment });
        let expected = self.model.rate(id, token, feedback.clone());
        same(self.store.rate(id, token, feedback, self.model.now).await, expected)
    }

    pub(super) async fn upload(&mut self, upload: Upload) -> Checked {
        let Upload { session, by_agent, key, content } = upload;
        let Some(session) = usize::from(session).checked_rem(self.keys.len()) else {
            return Ok(());
        };
        self.offered += 1;
        let key = key.map(|key| KEYS[usize::from(key)]);
        let (by, of_key): (_, fn(&str) -> _) = match by_agent {
            true => (Role::Agent, IdempotencyKey::of_poller),
            false => (Role::Visitor, IdempotencyKey::of_visitor),
        };
        let file = File {
            id: format!("file-{}", self.offered).try_into()?,
            name: "\"a\".txt".into(),
            media_type: "text/plain".into(),
            size_bytes: content.into(),
        };
        let (digest, idempotency) = ([content; 32], key.map(of_key));
        let new = NewFile {
            file,
            session: self.keys[session],
            by,
            digest,
            idempotency,
            max_waiting: MAX_WAITING,
        };
        let expected = self.model.add_file(session, &new);
        same(self.store.add_file(new, self.model.now).await, expected)
    }

    pub(super) async fn sweep_files(&mut self, older_than_ms: i64) -> Checked {
        let before_ms = self.model.now.steady_ms - older_than_ms;
        let expected = self.model.sweep_files(before_ms);
        let swept: HashSet<_> = self.store.sweep_files(before_ms).await?.into_iter().collect();
        prop_assert_eq!(swept, expected.into_iter().collect());
        Ok(())
    }

    pub(super) async fn reply(&mut self, new: NewReply) -> Checked {
        self.calls.push(Call::Reply(new.clone()));
        let expected = self.model.post_reply(&new);
        same(self.store.post_reply(new, self.model.now).await, expected)
    }

    /// Makes an earlier call again.
    pub(super) async fn repeat(&mut self, call: u8, but: But) -> Checked {
        let more = if matches!(but, But::InText) { "!" } else { "" };
        match pick(&self.calls, call) {
            None => Ok(()),
            Some(Call::Accept(mut new)) => {
                new.text += more;
                self.accept(new).await
            }
            Some(Call::Reply(mut new)) => {
                new.text += more;
                new.stopped ^= matches!(but, But::Stopped);
                new.quick_replies.extend(matches!(but, But::InOffers).then(|| "more".into()));
                self.reply(new).await
            }
        }
    }

    pub(super) async fn lease(&mut self, limit: u32, lasts_ms: i64) -> Checked {
        let now = self.model.now;
        let lasts = span(lasts_ms);
        let terms = LeaseTerms { limit, lasts, max_attempts: MAX_ATTEMPTS };
        let leased = self.store.lease(self.site, terms, now).await?;
        let messages: Vec<_> = leased.iter().map(|leased| leased.message.clone()).collect();
        prop_assert_eq!(messages, self.model.lease(limit, lasts_ms));
        for leased in leased {
            prop_assert!(!self.leases.contains(&leased.lease), "a lease id came twice");
            self.leases.push(leased.lease.clone());
            self.model.open(leased.message.id).expect("it is leased").lease = Some(leased.lease);
        }
        Ok(())
    }

    pub(super) async fn extend(&mut self, id: MessageId, lease: LeaseId, lasts_ms: i64) -> Checked {
        let now = self.model.now;
        let cancelled = self.model.is_cancelled(id, &lease);
        same(self.store.is_cancelled(id, lease.clone(), now).await, cancelled)?;
        let expected = self.model.extend(id, &lease, lasts_ms);
        let expected =
            expected.map(|(session, cancelled)| Kept { session: self.keys[session], cancelled });
        same(self.store.extend(id, lease, span(lasts_ms), now).await, expected)
    }

    pub(super) async fn nack(
        &mut self,
        id: MessageId,
        lease: LeaseId,
        retry_ms: i64,
        dead_letter: bool,
    ) -> Checked {
        let now = self.model.now;
        let error = format!("broke at {}", now.steady_ms);
        let nack = Nack { error, retry_after: span(retry_ms), dead_letter };
        let expected = self.model.nack(id, &lease, nack.clone());
        same(self.store.nack(id, lease, nack, MAX_ATTEMPTS, now).await, expected)
    }

    pub(super) async fn chunk(&mut self, id: MessageId, chunk: NewChunk) -> Checked {
        let expected = self.model.take_chunk(id, &chunk);
        same(self.store.take_chunk(id, chunk, self.model.now).await, expected)
    }

    pub(super) async fn requeue(&mut self, id: MessageId) -> Checked {
        same(self.store.requeue(id).await, self.model.requeue(id))
    }

    pub(super) async fn drop_dead_letter(&mut self, id: MessageId) -> Checked {
        let expected = self.model.drop_dead_letter(id).map(drop);
        self.dropped += usize::from(expected.is_ok());
        same(self.store.drop_dead_letter(id).await, expected)
    }

    pub(super) async fn sweep(&mut self) -> Checked {
        let (since_ms, now) = (self.model.swept_at, self.model.now);
        let swept = self.store.expire_leases(MAX_ATTEMPTS, since_ms, now).await;
        same(swept, Ok(self.model.sweep()))
    }

    /// Ends this run of the relay and begins another, which sweeps first.
    pub(super) async fn reopen(&mut self) -> Checked {
        self.store.close().await;
        self.model.reopen();
        self.store = super::open(&self.folder, self.model.now)?;
        self.sweep().await?;
        self.settle().await;
        self.watchers = self.keys.iter().map(|key| Watcher::new(&self.store, *key)).collect();
        self.check_drafts()?;
        self.check_deadline(true)
    }
}

fn span(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}
