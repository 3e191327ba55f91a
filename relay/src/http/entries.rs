//! How much of a conversation goes into one answer.

use crate::store::Entry;

/// The most text in one answer beyond its first entry, in bytes: a client that asks and does not read
/// makes the relay hold no more than this.
const MOST_TEXT: usize = 128 * 1024;

/// How many of these entries go into one answer, from the first on; there is more for whoever asks
/// again.
pub(super) fn fitting<'a>(entries: impl Iterator<Item = &'a Entry>) -> usize {
    let mut text = 0;
    let fits = |entry: &&Entry| {
        text += entry.text.len();
        text <= MOST_TEXT
    };
    entries.take_while(fits).count().max(1)
}
