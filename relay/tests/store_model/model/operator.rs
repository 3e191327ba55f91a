//! What an operator asks.

use postern_relay::store::StoreError;
use postern_shared::MessageId;
use postern_shared::operator::DeadLetter;

use super::{Fate, Model, Open};

impl Model {
    /// It goes before the later messages of its session, but for one that is leased.
    pub(crate) fn requeue(&mut self, id: MessageId) -> Result<(), StoreError> {
        let session = self.drop_dead_letter(id)?;
        self.said(id).fate = Fate::Open(Open { visible_at: 0, ..Open::default() });
        let turn = self.sessions[session].turn;
        if turn.is_none_or(|turn| id < turn && self.lease_of(turn).is_none()) {
            self.next_turn(session, 0);
        }
        Ok(())
    }

    pub(crate) fn drop_dead_letter(&mut self, id: MessageId) -> Result<usize, StoreError> {
        self.dead_letter(id)?;
        self.said(id).fate = Fate::Done;
        Ok(self.said(id).session)
    }

    pub(crate) fn dead_letter(&self, id: MessageId) -> Result<DeadLetter, StoreError> {
        let mut all = self.dead_letters().into_iter();
        all.find(|one| one.message_id == id).ok_or(StoreError::UnknownDeadLetter)
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        let given_up = |said: &super::Said| match &said.fate {
            Fate::DeadLetter(letter) => Some(letter.clone()),
            _ => None,
        };
        self.said.iter().filter_map(given_up).collect()
    }
}
