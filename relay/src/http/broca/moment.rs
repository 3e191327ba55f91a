//! Moments as this contract writes them, and as its programs do.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use postern_shared::MessageId;
use serde::{Serialize, Serializer};

use crate::store::told_at;

/// As `datetime.fromisoformat` of every Python reads it: with six digits of the second, and without a Z.
const FORM: &str = "%Y-%m-%dT%H:%M:%S%.6f+00:00";

/// A moment that is told to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) Timestamp);

impl Moment {
    /// Of an entry of a conversation.
    pub(super) fn of(id: MessageId, at: Timestamp) -> Self {
        Self(told_at(id, at))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.strftime(FORM))
    }
}

/// Reads a moment in any form of ISO 8601; one without a zone is UTC. The plus of an offset that was
/// not encoded has arrived as a blank.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let text = match text.rsplit_once(' ') {
        Some((before, offset)) if before.contains(['T', 't', ' ', ':']) => {
            format!("{before}+{offset}")
        }
        _ => text.to_owned(),
    };
    let without_zone =
        || Some(text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    text.parse().ok().or_else(without_zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_of_one_moment() {
        let moment: Timestamp = "2026-11-21T09:30:00.125Z".parse().unwrap();
        for text in [
            "2026-11-21T09:30:00.125Z",
            "2026-11-21T09:30:00.125000+00:00",
            "2026-11-21T09:30:00.125000 00:00",
            "2026-11-21T10:30:00.125+01:00",
            "2026-11-21T10:30:00.125 01:00",
            "2026-11-21 10:30:00.125 01:00",
            "2026-11-21T10:30:00.125+0100",
            "2026-11-21T10:30:00.125 01",
            "2026-11-21T04:30:00.125-05:00",
            "2026-11-21T09:30:00.125",
            "2026-11-21 09:30:00.125",
            "2026-11-21T09:30:00,125Z",
            "20261121T093000.125Z",
            " 2026-11-21T09:30:00.125Z ",
        ] {
            assert_eq!(read(text), Some(moment), "{text}");
        }
        assert_eq!(read("2026-11-21"), "2026-11-21T00:00:00Z".parse().ok());
        assert_eq!(read("2026-11-21T09:30"), "2026-11-21T09:30:00Z".parse().ok());
        for text in ["", "yesterday", "2026-13-01", "12:00"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn tells_a_moment_with_six_digits() {
        let moment = Moment::of(MessageId(7_042), "2026-11-21T09:30:00.12Z".parse().unwrap());
        let told = serde_json::to_string(&moment).unwrap();
        assert_eq!(told, "\"2026-11-21T09:30:00.120042+00:00\"");
    }
}
