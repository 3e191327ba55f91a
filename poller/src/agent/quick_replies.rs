//! What an agent offers the visitor to answer by a click, within what the relay takes.

use postern_shared::poller::{MAX_QUICK_REPLIES, MAX_QUICK_REPLY_CHARS};

/// The quick replies of one reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuickReplies {
    /// In the order they were offered.
    pub texts: Vec<String>,
    /// Whether one was shortened or left out: it was too long, one too many, or no text.
    pub cut: bool,
}

impl QuickReplies {
    pub(super) fn push(&mut self, text: &str) {
        let text = text.trim();
        let end = text.char_indices().nth(MAX_QUICK_REPLY_CHARS).map_or(text.len(), |(at, _)| at);
        let has_room = !text.is_empty() && self.texts.len() < MAX_QUICK_REPLIES;
        self.cut |= !has_room || end < text.len();
        self.texts.extend(has_room.then(|| text[..end].to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offering<'a>(texts: impl IntoIterator<Item = &'a str>) -> QuickReplies {
        let mut offered = QuickReplies::default();
        texts.into_iter().for_each(|text| offered.push(text));
        offered
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let longest = "ü".repeat(MAX_QUICK_REPLY_CHARS);
        let offered = offering([" Yes ", "No", &longest]);
        assert_eq!(offered.texts, ["Yes", "No", &longest]);
        assert!(!offered.cut);
    }

    #[test]
    fn what_is_too_long_too_many_or_blank_is_cut() {
        let offered = offering([" ", "No", &"ü".repeat(MAX_QUICK_REPLY_CHARS + 1)]);
        assert_eq!(offered.texts, ["No", &"ü".repeat(MAX_QUICK_REPLY_CHARS)]);
        assert!(offered.cut);
        let offered = offering(std::iter::repeat_n("Yes", MAX_QUICK_REPLIES + 1));
        assert_eq!(offered.texts.len(), MAX_QUICK_REPLIES);
        assert!(offered.cut);
    }
}
