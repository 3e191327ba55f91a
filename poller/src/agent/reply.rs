//! A reply that grows piece by piece and never beyond its limit.

use super::draft::without_line_ends;
use super::{AgentError, AgentLimits, Draft};

/// Turns an agent's bytes into the text of its draft.
pub(super) struct Reply<'a> {
    draft: &'a Draft,
    /// The beginning of a character whose end has not come yet.
    unfinished: Vec<u8>,
    limit_bytes: usize,
}

impl<'a> Reply<'a> {
    pub(super) fn new(draft: &'a Draft, limits: AgentLimits) -> Self {
        Self { draft, unfinished: Vec::new(), limit_bytes: limits.max_reply_bytes.get() }
    }

    /// Takes the next piece, which may end within a character; what is not UTF-8 is replaced.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), AgentError> {
        self.unfinished.extend_from_slice(piece);
        let whole = self.unfinished.len() - unfinished_tail(&self.unfinished);
        self.write(whole)
    }

    /// The whole reply without the line ends after it.
    pub(super) fn finish(mut self) -> Result<String, AgentError> {
        self.write(self.unfinished.len())?;
        let text = self.draft.text();
        let says_nothing = text.trim().is_empty() && self.draft.files().kept.is_empty();
        if says_nothing { Err(AgentError::Blank) } else { Ok(text) }
    }

    fn write(&mut self, length: usize) -> Result<(), AgentError> {
        let text = String::from_utf8_lossy(&self.unfinished[..length]);
        let room = self.limit_bytes - self.draft.len();
        if without_line_ends(&text).len() > room {
            return Err(AgentError::TooLong { limit_bytes: self.limit_bytes });
        }
        self.draft.push(&text[..text.len().min(room)]);
        self.unfinished.drain(..length);
        Ok(())
    }
}

/// How many bytes at the end are the beginning of a character.
fn unfinished_tail(bytes: &[u8]) -> usize {
    let begins_one = |length: &usize| {
        let tail = str::from_utf8(&bytes[bytes.len() - length..]);
        tail.is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (1..=bytes.len().min(3)).find(begins_one).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(bytes: usize) -> AgentLimits {
        let max_reply_bytes = std::num::NonZeroUsize::new(bytes).unwrap();
        AgentLimits { timeout: std::time::Duration::from_secs(1), max_reply_bytes }
    }

    #[test]
    fn a_character_is_written_once_it_is_whole() {
        let text = "aé€😀\u{FFFD}b";
        for at in 0..=text.len() {
            let draft = Draft::default();
            let mut reply = Reply::new(&draft, limits(100));
            reply.push(&text.as_bytes()[..at]).unwrap();
            assert_eq!(draft.text(), &text[..text.floor_char_boundary(at)]);
            reply.push(&text.as_bytes()[at..]).unwrap();
            assert_eq!(reply.finish().unwrap(), text);
        }
    }

    #[test]
    fn what_is_not_utf_8_is_replaced_wherever_it_is_cut() {
        let bytes = b"a\xff\xe2\x82b\xf0\x9f";
        for at in 0..=bytes.len() {
            let draft = Draft::default();
            let mut reply = Reply::new(&draft, limits(100));
            reply.push(&bytes[..at]).unwrap();
            reply.push(&bytes[at..]).unwrap();
            assert_eq!(reply.finish().unwrap(), String::from_utf8_lossy(bytes), "cut at {at}");
        }
    }

    #[test]
    fn nothing_is_written_beyond_the_limit() {
        let draft = Draft::default();
        let mut reply = Reply::new(&draft, limits(5));
        reply.push(b"12345").unwrap();
        reply.push(b"\n\n").unwrap();
        assert!(matches!(reply.push(b"6"), Err(AgentError::TooLong { limit_bytes: 5 })));
        assert_eq!(draft.text(), "12345");
    }

    #[test]
    fn line_ends_beyond_the_limit_cost_no_text() {
        let written = |pieces: &[&str]| {
            let draft = Draft::default();
            let mut reply = Reply::new(&draft, limits(5));
            pieces.iter().try_for_each(|piece| reply.push(piece.as_bytes()))?;
            reply.finish()
        };
        assert_eq!(written(&["1234\n\n\n"]).unwrap(), "1234");
        assert_eq!(written(&["12", "34\r\n\r\n", "\n"]).unwrap(), "1234");
        let too_long = written(&["1234", "\n\n\n", "6"]);
        assert!(matches!(too_long, Err(AgentError::TooLong { limit_bytes: 5 })));
    }
}
