//! The durable queue between the loops, and the agent's memory; one SQLite file.
//!
//! Each call is one transaction, in the file when it returns, so any loop can die at any line and go on
//! from here. A loss of power may undo the latest, which then happens again: the relay hands a message out
//! once more when its lease has run out, and knows a reply by its idempotency key. An outcome goes to the
//! disk within milliseconds, and takes along what came before it, but nobody waits for that.

mod database;
mod error;
mod job;
mod log;
mod rows;

use std::path::Path;
use std::sync::Arc;

use postern_host::file::FileLock;
use postern_shared::poller::LeasedMessage;
use postern_shared::{LeaseId, MessageId};
use rusqlite::{OptionalExtension, Transaction};

use self::database::Database;
pub use self::error::QueueError;
pub use self::job::{Answer, Job, JobId, Outcome, Outgoing, TakenIn};
use crate::sqlite;

/// A handle on the queue; cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    database: Database,
    /// How many turns of its conversation come with a message.
    history: u32,
}

impl Queue {
    /// Opens the file, making or upgrading it as needed.
    ///
    /// # Errors
    /// [`QueueError`] names the file.
    pub fn open(path: &Path) -> Result<Self, QueueError> {
        Ok(Self { database: Database::open(path)?, history: 0 })
    }

    /// The same with up to so many turns of its conversation before each message. With none, what is said is
    /// not kept once the relay has it.
    #[must_use]
    pub fn with_history(self, turns: u32) -> Self {
        Self { history: turns, ..self }
    }

    /// What keeps other pollers from it.
    pub(crate) fn lock(&self) -> Arc<FileLock> {
        self.database.lock()
    }

    /// Takes in what was leased. A message that is here already gets its new lease and nothing
    /// else: one at work goes on, one with an answer has it posted again, none is asked twice.
    ///
    /// # Errors
    /// Only the database's own; tried once, since a lease does not wait for a disk.
    pub async fn take_in(&self, leased: Vec<LeasedMessage>) -> Result<TakenIn, QueueError> {
        let history = self.history;
        self.database.try_write(move |tx| rows::take_in_all(tx, leased, history)).await
    }

    /// How many messages wait for the agent or are with it.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn count_leased(&self) -> Result<usize, QueueError> {
        self.database.write(rows::count_leased).await
    }

    /// The messages that wait for the agent or are with it, oldest first.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn leased(&self) -> Result<Vec<Job>, QueueError> {
        let history = self.history;
        self.database
            .write(move |tx| {
                let sql = "SELECT * FROM job WHERE state = 'leased' ORDER BY message_id";
                let mut leased = tx.prepare_cached(sql)?;
                let jobs = leased.query_map([], rows::job)?;
                let with_history = |job: rusqlite::Result<Job>| {
                    let job = job?;
                    Ok(Job { history: rows::turns(tx, &job.session_id, &job.uid, history)?, ..job })
                };
                jobs.map(with_history).collect()
            })
            .await
    }

    /// The latest lease of a message; `None` when it is not here, or its lease was lost.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn lease_of(&self, job: &JobId) -> Result<Option<LeaseId>, QueueError> {
        let job = job.clone();
        self.database
            .write(move |tx| {
                let sql = "SELECT lease_id FROM job
                       WHERE message_id = ?1 AND session_id = ?2 AND lease_id IS NOT NULL";
                let key = (job.message.0, job.session.as_str());
                tx.prepare_cached(sql)?.query_row(key, rows::lease_id).optional()
            })
            .await
    }

    /// Journals what became of a message, and with a history what was said in it. From here on the agent is
    /// not asked again, whatever happens to the poller; to its host, once the disk has taken it. Tells what
    /// the relay is to be told; `None` when the lease was lost, or the relay has given the number to another
    /// session since.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn settle(
        &self,
        job: JobId,
        outcome: Outcome,
    ) -> Result<Option<Outgoing>, QueueError> {
        let remembers = self.history > 0;
        let settle = move |tx: &Transaction<'_>| {
            let lease = rows::settle(tx, &job, &outcome, remembers)?;
            Ok(lease.map(|lease_id| Outgoing {
                message_id: job.message,
                session_id: job.session.clone(),
                lease_id,
                outcome: outcome.clone(),
            }))
        };
        let outgoing = self.database.write(settle).await?;
        self.database.sync_soon();
        Ok(outgoing)
    }

    /// The messages whose replies the relay has not confirmed.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn answered(&self) -> Result<Vec<MessageId>, QueueError> {
        self.database
            .write(|tx| {
                let sql = "SELECT message_id FROM job WHERE state = 'answered'";
                tx.prepare_cached(sql)?.query_map([], |row| Ok(MessageId(row.get(0)?)))?.collect()
            })
            .await
    }

    /// What the relay is still to be told, oldest first.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn outgoing(&self) -> Result<Vec<Outgoing>, QueueError> {
        self.database
            .write(|tx| {
                let sql = "SELECT * FROM job WHERE state IN ('answered', 'failed')
                       AND lease_id IS NOT NULL ORDER BY message_id";
                tx.prepare_cached(sql)?.query_map([], rows::outgoing)?.collect()
            })
            .await
    }

    /// The relay has confirmed the outcome, or wants none: the message is done with. Nothing here finds it
    /// any more; its row goes within milliseconds. Until then the next start would tell the relay again.
    pub fn finish(&self, job: JobId) {
        self.database.finish(job);
    }

    /// Removes the rows of the messages that are done with.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn remove_finished(&self) -> Result<(), QueueError> {
        self.database.remove_finished().await
    }

    /// The relay gave the message to someone else since: an answer waits here in case it comes
    /// back, anything else is dropped. Does nothing when a newer lease is here already.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn lose_lease(&self, message: MessageId, lost: LeaseId) -> Result<(), QueueError> {
        self.database
            .write(move |tx| {
                let key = (message.0, lost.as_str());
                let sql = "DELETE FROM job
                       WHERE message_id = ?1 AND lease_id = ?2 AND state <> 'answered'";
                tx.prepare_cached(sql)?.execute(key)?;
                let sql = "UPDATE job SET lease_id = NULL WHERE message_id = ?1 AND lease_id = ?2";
                tx.prepare_cached(sql)?.execute(key)?;
                rows::forget_oldest_parked(tx)
            })
            .await
    }

    /// Writes a page, to know that writing works.
    ///
    /// # Errors
    /// Whatever keeps the disk from taking it.
    pub async fn check_writable(&self) -> Result<(), QueueError> {
        self.database.try_write(sqlite::write_a_page).await
    }

    /// Waits until writing works.
    ///
    /// # Errors
    /// Whatever does not get better by waiting.
    pub async fn writable(&self) -> Result<(), QueueError> {
        self.database.write(sqlite::write_a_page).await
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::visitor::Identity;
    use postern_shared::{Metadata, Timestamp};
    use rusqlite::Connection;
    use tokio::task;

    use super::rows::MAX_PARKED;
    use super::*;
    use crate::agent::ReplyFile;

    fn leased(id: i64, session: &str, lease: &str) -> LeasedMessage {
        LeasedMessage {
            id: MessageId(id),
            session_id: session.parse().unwrap(),
            uid: "00ff00ff00ff00ff".parse().unwrap(),
            visitor: Identity::default(),
            message: format!("message {id}"),
            timestamp: Timestamp::from_second(id).unwrap(),
            metadata: Metadata::new(),
            files: Vec::new(),
            lease_id: lease.parse().unwrap(),
            attempts: 1,
        }
    }

    fn answered(reply: &str) -> Outcome {
        let (name, media_type) = ("chart.png".into(), "image/png".into());
        Outcome::Answered(Answer {
            reply: reply.into(),
            quick_replies: vec!["Thanks".into()],
            files: vec![ReplyFile { name, media_type, path: "/of/1/reply/chart.png".into() }],
            at: Timestamp::from_second(9).unwrap(),
            stopped: false,
        })
    }

    fn job(id: i64, session: &str) -> JobId {
        JobId { message: MessageId(id), session: session.parse().unwrap() }
    }

    fn open(folder: &tempfile::TempDir) -> Queue {
        Queue::open(&folder.path().join("poller.db")).unwrap().with_history(3)
    }

    #[tokio::test]
    async fn an_answer_outlives_the_process_and_is_not_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(&folder);
        queue.take_in(vec![leased(1, "s", "first")]).await.unwrap();
        queue.settle(job(1, "s"), answered("yes")).await.unwrap();
        drop(queue);

        let queue = open(&folder);
        queue.take_in(vec![leased(1, "s", "second")]).await.unwrap();
        assert_eq!(queue.leased().await.unwrap(), vec![]);
        let outgoing = queue.outgoing().await.unwrap();
        assert_eq!(outgoing[0].lease_id.as_str(), "second");
        assert_eq!(outgoing[0].outcome, answered("yes"));
    }

    #[tokio::test]
    async fn an_answer_whose_lease_was_lost_waits_for_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(&folder);
        queue.take_in(vec![leased(1, "s", "first")]).await.unwrap();
        queue.settle(job(1, "s"), answered("yes")).await.unwrap();
        queue.lose_lease(MessageId(1), "first".parse().unwrap()).await.unwrap();
        assert_eq!(queue.outgoing().await.unwrap(), vec![]);
        assert_eq!(queue.answered().await.unwrap(), [MessageId(1)]);
        queue.take_in(vec![leased(1, "s", "second")]).await.unwrap();
        assert_eq!(queue.outgoing().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_newer_lease_is_not_lost_with_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(&folder);
        queue.take_in(vec![leased(1, "s", "first")]).await.unwrap();
        queue.take_in(vec![leased(1, "s", "second")]).await.unwrap();
        queue.lose_lease(MessageId(1), "first".parse().unwrap()).await.unwrap();
        assert_eq!(queue.lease_of(&job(1, "s")).await.unwrap().unwrap().as_str(), "second");
        assert_eq!(queue.count_leased().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_answer_never_goes_to_another_relays_message_of_the_same_number() {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(&folder);
        queue.take_in(vec![leased(1, "s", "first")]).await.unwrap();
        queue.settle(job(1, "s"), answered("for s only")).await.unwrap();
        queue.take_in(vec![leased(1, "other", "second")]).await.unwrap();
        assert_eq!(queue.outgoing().await.unwrap(), vec![]);
        assert_eq!(queue.leased().await.unwrap()[0].session_id.as_str(), "other");
    }

    #[tokio::test]
    async fn what_becomes_of_a_message_is_not_for_the_session_that_has_its_number_now() {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(&folder);
        queue.take_in(vec![leased(1, "s", "first")]).await.unwrap();
        queue.take_in(vec![leased(1, "other", "second")]).await.unwrap();
        let failed = Outcome::Failed { error: "of s".into(), retry_after_seconds: None };
        for outcome in [answered("for s only"), failed] {
            queue.settle(job(1, "s"), outcome).await.unwrap();
            assert_eq!(queue.outgoing().await.unwrap(), vec![]);
        }
        assert_eq!(queue.lease_of(&job(1, "s")).await.unwrap(), None);
        queue.finish(job(1, "s"));
        assert_eq!(queue.leased().await.unwrap()[0].id(), job(1, "other"));
    }

    #[tokio::test]
    async fn of_answers_whose_leases_were_lost_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(&folder);
        let parked = i64::from(MAX_PARKED);
        let park = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ?1)
                    INSERT INTO job (message_id, session_id, uid, visitor, message, timestamp,
                                     metadata, files, attempts, state, settled_at)
                    SELECT id, 's', '', '', '', '', '', '', 1, 'answered', id FROM n";
        let filled = queue.database.write(move |tx| tx.execute(park, [parked + 5]).map(drop));
        filled.await.unwrap();
        queue.lose_lease(MessageId(1), "any".parse().unwrap()).await.unwrap();
        let kept = queue.answered().await.unwrap();
        assert_eq!((kept.len(), kept[0]), (MAX_PARKED as usize, MessageId(6)));
    }

    #[tokio::test]
    async fn history_is_the_conversations_last_turns_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(&folder);
        for id in 1..=3 {
            let both = vec![leased(id, "s", "l"), leased(id + 10, "other", "l")];
            queue.take_in(both).await.unwrap();
            queue.settle(job(id, "s"), answered(&format!("reply {id}"))).await.unwrap();
            queue.finish(job(id, "s"));
        }
        let taken_in = queue.take_in(vec![leased(4, "s", "l")]).await.unwrap();
        let found = queue.leased().await.unwrap();
        let found = found.into_iter().find(|job| job.message_id == MessageId(4)).unwrap();
        for job in [taken_in.new[0].clone(), found] {
            let said: Vec<_> = job.history.iter().map(|turn| turn.content.as_str()).collect();
            assert_eq!(said, ["reply 2", "message 3", "reply 3"]);
        }
    }

    #[tokio::test]
    async fn without_history_nothing_is_kept_of_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("poller.db");
        let queue = Queue::open(&file).unwrap();
        queue.take_in(vec![leased(1, "s", "l")]).await.unwrap();
        queue.settle(job(1, "s"), answered("yes")).await.unwrap();
        queue.finish(job(1, "s"));
        queue.remove_finished().await.unwrap();
        let count = "SELECT (SELECT count(*) FROM job) + (SELECT count(*) FROM turn)";
        let kept = Connection::open(&file).unwrap().query_row(count, [], |row| row.get(0));
        assert_eq!(kept, Ok(0));
    }

    #[tokio::test]
    async fn the_log_is_folded_into_the_file_now_and_then() {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(&folder);
        let (file, copy) = (folder.path().join("poller.db"), folder.path().join("copy.db"));
        let is_folded = || {
            std::fs::copy(&file, &copy).unwrap();
            let copy = Connection::open(&copy).unwrap();
            copy.query_row("SELECT count(*) > 0 FROM turn", [], |row| row.get(0)).unwrap_or(false)
        };
        let mut id = 0;
        while !is_folded() {
            id += 1;
            assert!(id < 2_000, "all of it is still in the log");
            queue.take_in(vec![leased(id, "s", "l")]).await.unwrap();
            queue.settle(job(id, "s"), answered("yes")).await.unwrap();
            queue.finish(job(id, "s"));
            task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_done_with_is_found_by_nobody_and_soon_gone() {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(&folder);
        let file = Connection::open(folder.path().join("poller.db")).unwrap();
        let rows = || file.query_row("SELECT count(*) FROM job", [], |row| row.get(0)).unwrap();
        for id in 1..=2 {
            queue.take_in(vec![leased(id, "s", "l")]).await.unwrap();
            queue.settle(job(id, "s"), answered("yes")).await.unwrap();
        }
        queue.finish(job(1, "s"));
        let failed =
            queue.database.try_write(|_| Err::<(), _>(rusqlite::Error::InvalidQuery)).await;
        assert_eq!((failed.is_err(), rows()), (true, 2));
        assert_eq!(queue.answered().await.unwrap(), [MessageId(2)]);
        queue.finish(job(2, "s"));
        while rows() > 0 {
            task::yield_now().await;
        }
    }

    #[test]
    fn one_queue_serves_one_poller() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("poller.db");
        let _first = Queue::open(&path).unwrap();
        assert!(matches!(Queue::open(&path), Err(QueueError::InUse(_))));
    }
}
