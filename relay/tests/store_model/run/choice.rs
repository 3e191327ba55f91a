//! What an operation's numbers pick.

use postern_relay::limits::{Allowance, SiteLimits};
use postern_relay::secret::SecretHash;
use postern_relay::store::{IdempotencyKey, Identity, NewChunk, NewMessage, NewReply};
use postern_shared::visitor::Role;
use postern_shared::{LeaseId, MessageId, SessionId};

use super::Run;
use crate::model::IP_ADDRESS;
use crate::op::{Answer, Begin, KEYS, PIECES, Piece, Replied, Say, Shown, TEXTS, To, Token, Which};

impl Run {
    pub(super) fn new_message(
        &self,
        Say { to, token, key, text, metadata, files }: Say,
    ) -> NewMessage {
        let session = self.session(to);
        let token = self.token(token, session.as_ref());
        let page = || (String::from("page"), "/".into());
        let files = self.model.waiting_files(session.as_ref(), Role::Visitor, files);
        NewMessage {
            site: self.site,
            identity: Identity::default(),
            session,
            token,
            text: TEXTS[text].into(),
            files,
            metadata: (metadata > 0).then(|| (1..metadata).map(|_| page()).collect()),
            sent_at: None,
            idempotency: key.map(|key| IdempotencyKey::of_visitor(KEYS[usize::from(key)])),
            ip_address: IP_ADDRESS.parse().ok(),
            allowance: Allowance::of_site(SiteLimits::OFF),
        }
    }

    pub(super) fn new_reply(&self, answer: Answer) -> NewReply {
        let Answer { to, astray, lease, key, text, stopped, offers, files } = answer;
        let answers = to.map(|which| self.message(which));
        let its_own = answers.and_then(|id| self.model.find(id)).map_or(0, |said| said.session);
        let its_own = self.model.sessions.get(its_own).map(|session| session.id.clone());
        let session = astray.map_or(its_own, |to| self.session(to));
        let files = self.model.waiting_files(session.as_ref(), Role::Agent, files);
        NewReply {
            site: self.site,
            session: session.unwrap_or_else(|| session_id("nobody")),
            text: TEXTS[text].into(),
            answers,
            lease: answers.and_then(|id| self.shown(id, lease)),
            sent_at: None,
            stopped,
            files,
            quick_replies: (0..offers).map(|n| format!("answer \"{n}\"")).collect(),
            idempotency: key.map(|key| IdempotencyKey::of_poller(KEYS[usize::from(key)])),
        }
    }

    pub(super) fn new_chunk(&self, message: MessageId, lease: LeaseId, piece: Piece) -> NewChunk {
        let known = self.model.draft(message).map_or("", |draft| &draft.text);
        let offset = match piece.begin {
            Begin::AtEnd => known.len(),
            Begin::Within(n) => usize::from(n) % (known.len() + 1),
            Begin::Beyond(n) => known.len() + usize::from(n),
        };
        let repeated = known.get(offset..).filter(|_| piece.repeats).unwrap_or_default();
        let text = format!("{repeated}{}", PIECES[piece.text]);
        let progress = piece.progress.map(|n| format!("step {n}"));
        NewChunk { lease, offset, text, progress }
    }

    /// A message, and the lease under which it is asked about.
    pub(super) fn message_under(&self, which: Which, lease: Shown) -> (MessageId, LeaseId) {
        let id = self.message(which);
        (id, self.shown(id, lease).unwrap_or_else(made_up))
    }

    pub(super) fn message(&self, which: Which) -> MessageId {
        let leased = || self.model.in_turn(|open| open.lease.is_some());
        let open = || self.model.open_messages().into_iter().map(|open| open.id);
        let letters = || self.model.dead_letters().into_iter().map(|letter| letter.message_id);
        let found = match which {
            Which::Leased(n) => pick(&leased(), n),
            Which::Open(n) => pick(&open().collect::<Vec<_>>(), n),
            Which::DeadLetter(n) => pick(&letters().collect::<Vec<_>>(), n),
            Which::Any(n) => Some(MessageId(i64::from(n) % (self.model.said.len() as i64 + 2))),
        };
        found.unwrap_or(MessageId(0))
    }

    pub(super) fn replied(&self, replied: Replied) -> MessageId {
        let replies = self.model.said.iter().filter(|said| said.entry.role == Role::Agent);
        match replied {
            Replied::Reply(n) => {
                let ids: Vec<_> = replies.map(|said| said.entry.id).collect();
                pick(&ids, n).unwrap_or(MessageId(0))
            }
            Replied::Any(n) => self.message(Which::Any(n)),
        }
    }

    pub(super) fn token(&self, token: Token, session: Option<&SessionId>) -> Option<SecretHash> {
        let all = self.model.sessions.iter();
        let own = all.clone().filter(|one| Some(&one.id) == session);
        match token {
            Token::None => None,
            Token::Own(n) => pick(&own.flat_map(|one| one.tokens.clone()).collect::<Vec<_>>(), n),
            Token::Any(n) => pick(&all.flat_map(|one| one.tokens.clone()).collect::<Vec<_>>(), n),
            Token::MadeUp => Some(SecretHash::of("made up")),
        }
    }

    fn session(&self, to: To) -> Option<SessionId> {
        match to {
            To::Fresh => None,
            To::Named(n) => Some(session_id(&format!("named-{n}"))),
            To::Known(n) => {
                let index = usize::from(n).checked_rem(self.model.sessions.len())?;
                Some(self.model.sessions[index].id.clone())
            }
        }
    }

    fn shown(&self, message: MessageId, shown: Shown) -> Option<LeaseId> {
        match shown {
            Shown::Held => self.model.lease_of(message).or_else(|| Some(made_up())),
            Shown::Earlier(n) => pick(&self.leases, n),
            Shown::MadeUp => Some(made_up()),
            Shown::None => None,
        }
    }
}

pub(super) fn pick<T: Clone>(all: &[T], n: u8) -> Option<T> {
    all.get(usize::from(n).checked_rem(all.len())?).cloned()
}

pub(super) fn session_id(text: &str) -> SessionId {
    text.parse().expect("a session id")
}

fn made_up() -> LeaseId {
    "made-up".parse().expect("a lease id")
}
