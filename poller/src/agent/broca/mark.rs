//! The marks in a visitor's profile: which message of the relay lies where in Broca's tables.
//!
//! A mark is written with the rows or not at all, so that nothing is queued twice, whenever the
//! poller dies.

use postern_shared::{MessageId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entry::Entry;
use crate::agent::Question;

/// Where a profile's metadata keeps its marks.
const KEY: &str = "postern";

/// How many marks a profile keeps. A message that comes back after so many later ones of its
/// visitor is queued again.
const MAX_MARKS: usize = 32;

/// Numbers count from 1 on every relay, so a number alone may be another message's.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    session_id: SessionId,
    message_id: MessageId,
    timestamp: Timestamp,
    #[serde(flatten)]
    entry: Entry,
}

/// Where a message lies; `None` when it was never queued.
pub(super) fn find(metadata: &Map<String, Value>, question: &Question) -> Option<Entry> {
    let mut marks = marks(metadata);
    marks.find(|mark| mark.is_of(question)).map(|mark| mark.entry)
}

/// Notes where a message lies.
pub(super) fn set(
    metadata: &mut Map<String, Value>,
    question: &Question,
    entry: Entry,
) -> serde_json::Result<()> {
    let mut kept: Vec<Mark> = marks(metadata).filter(|mark| !mark.is_of(question)).collect();
    kept.push(Mark {
        session_id: question.session_id.clone(),
        message_id: question.message_id,
        timestamp: question.timestamp,
        entry,
    });
    let newest = kept.len().saturating_sub(MAX_MARKS);
    metadata.insert(KEY.to_owned(), serde_json::to_value(&kept[newest..])?);
    Ok(())
}

impl Mark {
    fn is_of(&self, question: &Question) -> bool {
        self.session_id == question.session_id
            && self.message_id == question.message_id
            && self.timestamp == question.timestamp
    }
}

/// Oldest first; what is no mark is passed over.
fn marks(metadata: &Map<String, Value>) -> impl Iterator<Item = Mark> {
    let marks = metadata.get(KEY).and_then(Value::as_array);
    marks.into_iter().flatten().filter_map(|mark| Mark::deserialize(mark).ok())
}
