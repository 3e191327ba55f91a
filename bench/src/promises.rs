//! What a conversation looks like when nothing promised was broken.

use postern_shared::MessageId;
use postern_shared::visitor::{Entry, Role};

/// Looks for each message and its echo, once and in order, and for nothing else.
pub(crate) fn check(said: &[(MessageId, String)], entries: &[Entry]) -> Result<(), &'static str> {
    let said_in_order = said.iter().map(|(id, text)| (Some(*id), text.as_str()));
    let own = by(Role::Visitor, entries).map(|entry| (Some(entry.id), entry.text.as_str()));
    let replies = by(Role::Agent, entries).map(|entry| (entry.message_id, entry.text.as_str()));
    if !own.eq(said_in_order.clone()) {
        return Err("not each message once and in order");
    }
    if !replies.eq(said_in_order) {
        return Err("not each reply once and in order");
    }
    if entries.len() != 2 * said.len() {
        return Err("entries that nobody wrote");
    }
    Ok(())
}

fn by(role: Role, entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    entries.iter().filter(move |entry| entry.role == role)
}

#[cfg(test)]
mod tests {
    use postern_shared::Timestamp;

    use super::*;

    fn entry(id: i64, role: Role, text: &str, message: Option<i64>) -> Entry {
        let at = Timestamp::UNIX_EPOCH;
        let message_id = message.map(MessageId);
        Entry { message_id, ..Entry::new(MessageId(id), role, text.into(), at) }
    }

    #[test]
    fn each_broken_promise_is_seen() {
        let said = [(MessageId(1), "one".to_owned()), (MessageId(2), "two".to_owned())];
        let own = [entry(1, Role::Visitor, "one", None), entry(2, Role::Visitor, "two", None)];
        let echo = [entry(3, Role::Agent, "one", Some(1)), entry(4, Role::Agent, "two", Some(2))];
        let told =
            |places: &[&Entry]| check(&said, &places.iter().copied().cloned().collect::<Vec<_>>());
        let ([a, b], [x, y]) = (&own, &echo);
        assert_eq!(told(&[a, b, x, y]), Ok(()));
        assert_eq!(told(&[a, x, b, y]), Ok(()));
        assert!(told(&[a, b, x]).is_err(), "a reply is missing");
        assert!(told(&[a, b, x, y, y]).is_err(), "a reply came twice");
        assert!(told(&[a, b, y, x]).is_err(), "replies are out of order");
        assert!(told(&[b, a, x, y]).is_err(), "messages are out of order");
        assert!(told(&[a, x, y]).is_err(), "a message is missing");
        let system = entry(5, Role::System, "It was given up.", Some(2));
        assert!(told(&[a, b, x, y, &system]).is_err(), "a message was given up");
    }
}
