//! The store: every row the relay keeps, in the domain's words. No HTTP in here.
//!
//! One writer thread owns the only connection that writes and commits whatever has queued up as one
//! transaction; reads go through a pool. Each function is one transaction or one query, takes `now`
//! as an argument, and returns only after what it wrote is on disk.

mod batch;
mod by_id;
mod cancellation;
mod conversation;
pub(crate) mod dead_letters;
mod drafts;
mod entries;
mod expiry;
mod feedback;
pub(crate) mod file;
mod held;
mod identity;
mod inbox;
pub(crate) mod keys;
mod opening;
mod outbox;
mod quota;
mod reader;
mod rows;
mod sessions;
mod signals;
mod since;
mod sites;
mod statements;
mod uploads;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use postern_shared::{SiteId, Timestamp};

pub use batch::Due;
pub use conversation::{News, Step, TranscriptPage, Waiting};
pub use drafts::{NewChunk, Place, Taken};
pub use feedback::Feedback;
pub use file::OpenError;
pub use held::HeldCall;
pub use identity::Identity;
pub use inbox::{Inbox, Kept, LeaseTerms, Leased, Nack};
pub use keys::{KeyId, KeyRow, LiveKey};
pub use opening::{NewSession, Opened};
pub use outbox::NewReply;
pub use rows::{Entry, IdempotencyKey, OpenMessage, Page, Paged, SessionKey, SessionRow};
pub use sessions::{Accepted, FreshSession, NewMessage};
pub use signals::{Change, Subscription};
pub use since::told_at;
pub use sites::{NewSite, SiteKey};
pub use uploads::NewFile;

use drafts::Drafts;
use held::HeldCalls;
use reader::Readers;
use signals::{Changes, Signals};
use writer::Writer;

use crate::limits::Exceeded;

/// A moment, as every store function is given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970 by the host's clock; for people.
    pub wall_ms: i64,
    /// Milliseconds on a clock that never jumps; for deadlines.
    pub steady_ms: i64,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The session exists and no token was given.
    #[error("the session needs its token")]
    TokenMissing,
    /// No session has this token.
    #[error("the token is not known")]
    UnknownToken,
    /// The token is another session's.
    #[error("the token belongs to another session")]
    ForeignToken,
    /// The site takes only visitors that its server vouches for.
    #[error("the site takes verified visitors only")]
    IdentityRequired,
    /// The site asks for a proof of work before a session is opened.
    #[error("the work was not shown")]
    ProofRequired,
    /// The session is of another verified visitor.
    #[error("the session is of another visitor")]
    OtherVisitor,
    /// There is no such session.
    #[error("there is no such session")]
    UnknownSession,
    /// There is no such message of a visitor.
    #[error("there is no such message")]
    UnknownMessage,
    /// The session has no such reply.
    #[error("there is no such reply")]
    UnknownReply,
    /// The session has no such file.
    #[error("there is no such file")]
    UnknownFile,
    /// A file is named that does not wait in this session to go with this message.
    #[error("a file cannot go with this message")]
    NotWaiting,
    /// Enough files wait in the session to go with a message.
    #[error("too many files wait for their message")]
    TooManyFiles,
    /// The message is in another session than the reply names.
    #[error("the message belongs to another session")]
    ForeignMessage,
    /// The cursor lies beyond what the session holds.
    #[error("the cursor was not given out for this session")]
    UnknownCursor,
    /// The message was leased again since.
    #[error("the lease has run out and the message was leased again")]
    StaleLease,
    /// The message waits; nobody holds a lease.
    #[error("the message is not leased")]
    NotLeased,
    /// There is a gap between what is known of a reply and the next piece.
    #[error("the piece does not follow on the {wanted} bytes that are known")]
    OffsetMismatch {
        /// The offset that is wanted.
        wanted: usize,
    },
    /// The message has its answer.
    #[error("the message has been answered")]
    AlreadyAnswered,
    /// The message was given up.
    #[error("the message is a dead letter")]
    DeadLetter,
    /// The message is no dead letter, or not any more.
    #[error("the message is not a dead letter")]
    UnknownDeadLetter,
    /// The idempotency key came with another body before.
    #[error("the idempotency key was used with another body")]
    IdempotencyMismatch,
    /// The idempotency key is too easily guessed to open a session with.
    #[error("the idempotency key is too short to open a session")]
    WeakOpeningKey,
    /// A visitor, or all of a site's, asked for more than the limits allow.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// More writes are queued than the disk takes.
    #[error("too many writes are waiting")]
    Overloaded,
    /// The disk or the file does not take writes or reads now: full, locked, read-only, failing.
    #[error("the database cannot be used now: {0}")]
    Unavailable(String),
    /// The store has shut down.
    #[error("the store is closed")]
    Closed,
    /// A defect of ours or of the file.
    #[error("database error: {0}")]
    Broken(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed,
            OutOfMemory, ReadOnly, SystemIoFailure,
        };
        match error.sqlite_error_code() {
            Some(
                CannotOpen
                | DatabaseBusy
                | DatabaseLocked
                | DiskFull
                | FileLockingProtocolFailed
                | OutOfMemory
                | ReadOnly
                | SystemIoFailure,
            ) => Self::Unavailable(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// A handle on the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Writer,
    readers: Readers,
    signals: Arc<Signals>,
    drafts: Arc<Drafts>,
    held_calls: Arc<HeldCalls>,
    sites: Arc<HashMap<SiteId, SiteKey>>,
}

impl Store {
    /// Opens the file, making or upgrading it as needed, for these sites, and starts the writer
    /// thread. Tells the keys that open something now, too.
    ///
    /// # Errors
    /// [`OpenError`] names the file and what is wrong with it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(
        path: &Path,
        sites: &[NewSite],
        now: Now,
    ) -> Result<(Self, Vec<LiveKey>), OpenError> {
        let (connection, lock) = file::open(path, now)?;
        let sites = sites::register(&connection, sites);
        let sites = Arc::new(sites.map_err(|cause| OpenError::sqlite(path, cause))?);
        let keys = keys::live(&connection, now);
        let keys = keys.map_err(|cause| OpenError::sqlite(path, cause))?;
        let signals = Arc::new(Signals::default());
        let drafts = Arc::new(Drafts::default());
        let readers = Readers::open(path)?;
        let announcer = Announcer { signals: Arc::clone(&signals), drafts: Arc::clone(&drafts) };
        let writer = Writer::spawn(connection, lock, announcer)?;
        let held_calls = Arc::default();
        Ok((Self { writer, readers, signals, drafts, held_calls, sites }, keys))
    }

    /// Whether so much waits to be written that visitors are to come back later.
    pub fn is_crowded(&self) -> bool {
        self.writer.is_crowded()
    }

    /// Resolves when the writer thread has ended: after [`Store::close`], or because it failed.
    pub async fn closed(&self) {
        self.writer.closed().await;
    }

    /// Commits what is queued, folds the log into the file and ends the writer thread.
    pub async fn close(&self) {
        self.writer.close().await;
    }

    /// Writes one row, to know that writing works.
    ///
    /// # Errors
    /// Whatever keeps the disk from taking it.
    pub async fn check_writable(&self, now: Now) -> Result<(), StoreError> {
        self.writer
            .run(move |txn| {
                let sql = "INSERT INTO health (id, checked_at) VALUES (1, ?1)
                           ON CONFLICT (id) DO UPDATE SET checked_at = excluded.checked_at";
                txn.conn.prepare_cached(sql)?.execute([now.wall_ms])?;
                Ok(())
            })
            .await
    }
}

/// Tells of each commit: first to the drafts, so that whoever is woken finds them as they are.
struct Announcer {
    signals: Arc<Signals>,
    drafts: Arc<Drafts>,
}

impl Announcer {
    fn announce(&self, changes: Changes) {
        self.drafts.end(&changes.leases_ended);
        self.drafts.cancel(&changes.cancelled);
        self.signals.announce(changes);
    }
}

/// What a stored moment means; one that cannot be shown becomes the epoch.
fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}
