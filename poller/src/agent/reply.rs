//! A reply that grows piece by piece and never beyond its limit.

use super::{AgentError, AgentLimits};

/// What an agent has said so far.
pub(super) struct Reply {
    bytes: Vec<u8>,
    limit_bytes: usize,
}

impl Reply {
    pub(super) fn new(limits: AgentLimits) -> Self {
        Self { bytes: Vec::new(), limit_bytes: limits.max_reply_bytes.get() }
    }

    /// Takes the next piece, which may end within a character.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), AgentError> {
        if piece.len() > self.limit_bytes - self.bytes.len() {
            return Err(self.too_long());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// The whole reply without the line ends after it; what is not UTF-8 is replaced.
    pub(super) fn finish(self) -> Result<String, AgentError> {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = text.trim_end_matches(['\r', '\n']);
        if text.trim().is_empty() {
            return Err(AgentError::Blank);
        }
        if text.len() > self.limit_bytes {
            return Err(self.too_long());
        }
        Ok(text.to_owned())
    }

    fn too_long(&self) -> AgentError {
        AgentError::TooLong { limit_bytes: self.limit_bytes }
    }
}
