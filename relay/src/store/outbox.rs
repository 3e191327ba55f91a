//! The outbox: replies on their way to visitors.

use postern_shared::visitor::Role;
use postern_shared::{FileId, LeaseId, MessageId, SessionId, Timestamp};
use rusqlite::{Connection, named_params};

use super::entries::Latest;
use super::statements::Statements;
use super::writer::Txn;
use super::{
    Entry, IdempotencyKey, Now, SiteKey, Step, Store, StoreError, inbox, rows, timestamp, uploads,
};

/// A reply on its way in.
#[derive(Debug, Clone)]
pub struct NewReply {
    /// The site of whoever sends it.
    pub site: SiteKey,
    /// The session it goes to, one of that site.
    pub session: SessionId,
    /// The text as it was sent.
    pub text: String,
    /// The message it answers, and so acks.
    pub answers: Option<MessageId>,
    /// The lease it was written under.
    pub lease: Option<LeaseId>,
    /// When the agent says it was written.
    pub sent_at: Option<Timestamp>,
    /// Whether the visitor stopped it.
    pub stopped: bool,
    /// What the visitor may answer by a click.
    pub quick_replies: Vec<String>,
    /// The files that go with it.
    pub files: Vec<FileId>,
    /// The idempotency key.
    pub idempotency: Option<IdempotencyKey>,
}

impl Store {
    /// Stores a reply and, in the same transaction, acks the message it answers. A repeat with the
    /// same idempotency key and body answers as the first did.
    ///
    /// # Errors
    /// [`StoreError::UnknownSession`], [`StoreError::ForeignMessage`],
    /// [`StoreError::IdempotencyMismatch`], or as [`Store::extend`]; then nothing is stored.
    pub fn post_reply(
        &self,
        reply: NewReply,
        now: Now,
    ) -> impl Future<Output = Result<MessageId, StoreError>> + Send + use<> {
        self.writer.run_checked(move |txn: &mut Txn<'_>| {
            // Files are looked for last.
            let checks_first = reply.files.is_empty();
            let work = |txn: &mut Txn<'_>| post(txn, &reply, now);
            if checks_first { work(txn) } else { txn.undoing(work) }
        })
    }
}

fn post(txn: &mut Txn<'_>, reply: &NewReply, now: Now) -> Result<MessageId, StoreError> {
    let latest = Latest::of_named(&mut txn.statements, reply.site, &reply.session)?;
    let session = latest.session();
    if let Some(earlier) = find_repeat(txn.conn, &latest, reply)? {
        return Ok(earlier);
    }
    let mut answers_all = false;
    if let Some(message) = reply.answers {
        let open = inbox::find_open(txn, message, reply.lease.as_ref(), now)?;
        if open.session != session {
            return Err(StoreError::ForeignMessage);
        }
        answers_all = !inbox::dequeue(txn, (open.site, session, message), now)?;
    }
    let id = insert(txn, latest, reply, now)?;
    let is_known = answers_all && reply.files.is_empty();
    txn.changes.stepped(session, is_known.then(|| last_answer(reply, id, now)));
    Ok(id)
}

/// The step by which a conversation gets the reply after which none of its messages waits.
fn last_answer(reply: &NewReply, id: MessageId, now: Now) -> Step {
    let said = Entry {
        message_id: reply.answers,
        stopped: reply.stopped,
        quick_replies: reply.quick_replies.clone(),
        ..Entry::new(id, Role::Agent, reply.text.clone(), timestamp(now.wall_ms))
    };
    Step { from: reply.answers, said: Some(said), waiting: None }
}

fn find_repeat(
    conn: &Connection,
    latest: &Latest,
    reply: &NewReply,
) -> Result<Option<MessageId>, StoreError> {
    latest.find_same(conn, reply.idempotency, &reply.files, |earlier| {
        let sql = "SELECT text = :text AND answers IS :answers AND stopped = :stopped
                       AND quick_replies IS :quick_replies
                   FROM message WHERE id = :id";
        let body = named_params! {
            ":id": earlier.0,
            ":text": reply.text,
            ":answers": reply.answers.map(|id| id.0),
            ":stopped": reply.stopped,
            ":quick_replies": quick_replies_text(reply),
        };
        conn.prepare_cached(sql)?.query_row(body, |row| row.get(0))
    })
}

/// Stores a reply and counts it.
pub(super) fn insert(
    txn: &mut Txn<'_>,
    latest: Latest,
    reply: &NewReply,
    now: Now,
) -> Result<MessageId, StoreError> {
    let session = latest.session();
    let sql =
        "INSERT INTO message (session, role, text, answers, at, sent_at, idempotency, stopped,
                              quick_replies)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let id = MessageId(txn.statements.get(sql)?.insert((
        session,
        rows::role_number(Role::Agent),
        &reply.text,
        reply.answers.map(|id| id.0),
        now.wall_ms,
        reply.sent_at.map(Timestamp::as_millisecond),
        reply.idempotency,
        reply.stopped,
        quick_replies_text(reply),
    ))?);
    uploads::attach(txn.conn, session, id, Role::Agent, &reply.files)?;
    let latest = latest.with(txn.conn, reply.idempotency, id)?;
    count_reply(&mut txn.statements, &latest, now)?;
    Ok(id)
}

/// Serialised the same way each time, so that equal ones are equal text.
fn quick_replies_text(reply: &NewReply) -> Option<String> {
    let offered = Some(&reply.quick_replies).filter(|offered| !offered.is_empty())?;
    serde_json::to_string(offered).ok()
}

/// Counts a reply that was stored in a session, of which this is known from now on.
pub(super) fn count_reply(
    statements: &mut Statements<'_>,
    latest: &Latest,
    now: Now,
) -> Result<(), StoreError> {
    let sql = "UPDATE session SET response_count = response_count + 1, last_active = ?2,
                   entries = ?3, keys = ?4, chapters = ?5
               WHERE id = ?1";
    let (entries, keys, chapters) = latest.columns();
    let row = (latest.session(), now.wall_ms, entries, keys, chapters);
    statements.get(sql)?.execute(row)?;
    Ok(())
}
