//! The echo agent: shows that the bridge works before there is anyone behind it.

use super::Question;

/// Replies with the message itself.
#[derive(Debug)]
pub struct Echo;

impl Echo {
    pub(super) fn answer(&self, question: &Question) -> String {
        question.message.clone()
    }
}
