//! A reply while its agent writes it: watched from outside, and ended when nobody wants it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use postern_host::file::FileLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{AgentError, QuickReplies, ReplyFiles};

/// What an agent has written so far, and what it says it is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Whole characters, within the limit of a reply.
    pub text: String,
    /// A few words; `None` when it says nothing, or writes since.
    pub progress: Option<String>,
}

/// Where an agent writes one reply.
#[derive(Debug, Default)]
pub struct Draft {
    written: watch::Sender<Written>,
    quick_replies: Mutex<QuickReplies>,
    folder: Option<PathBuf>,
    lock: Option<Arc<FileLock>>,
    files: Mutex<ReplyFiles>,
    cancelled: CancellationToken,
}

impl Draft {
    /// A draft whose files are put into a folder, which need not be there yet. Those of any other
    /// draft are gone once the agent is done.
    pub fn with_folder(folder: PathBuf) -> Self {
        Self { folder: Some(folder), ..Self::default() }
    }

    /// A draft of a message in a queue that this locks: as long as its agent lives, no other poller may
    /// have the queue.
    pub(crate) fn in_queue(self, lock: Arc<FileLock>) -> Self {
        Self { lock: Some(lock), ..self }
    }

    /// The queue's lock, for whoever sees to it that the agent ends with this process.
    pub(super) fn share_lock(&self) -> io::Result<Option<File>> {
        self.lock.as_ref().map(|lock| lock.share()).transpose()
    }

    /// What is written, now and from now on.
    pub fn watch(&self) -> watch::Receiver<Written> {
        self.written.subscribe()
    }

    /// What is written, without the line ends after it.
    pub fn text(&self) -> String {
        without_line_ends(&self.written.borrow().text).to_owned()
    }

    /// What the visitor is offered to answer by a click.
    pub fn quick_replies(&self) -> QuickReplies {
        self.quick_replies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The files that go with the reply.
    pub fn files(&self) -> ReplyFiles {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the agent that nobody wants the reply any more.
    pub fn cancel(&self) {
        self.cancelled.cancel();
    }

    /// Whether nobody wants the reply any more.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    /// Waits until nobody wants the reply any more.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// Runs an agent that ends when it is dropped.
    pub(super) async fn unless_cancelled(
        &self,
        answer: impl Future<Output = Result<String, AgentError>>,
    ) -> Result<String, AgentError> {
        tokio::select! {
            answer = answer => answer,
            () = self.cancelled() => Err(AgentError::Cancelled),
        }
    }

    /// Takes the next piece; what comes after it was cancelled is not wanted.
    pub(super) fn push(&self, text: &str) {
        if text.is_empty() || self.is_cancelled() {
            return;
        }
        self.written.send_modify(|written| {
            written.text.push_str(text);
            written.progress = None;
        });
    }

    /// Takes what the agent says it is doing; nothing takes it back.
    pub(super) fn report(&self, words: &str) {
        let progress = Some(words.to_owned()).filter(|words| !words.is_empty());
        self.written.send_modify(|written| written.progress = progress);
    }

    /// Takes something to answer by a click.
    pub(super) fn offer(&self, quick_reply: &str) {
        self.quick_replies.lock().unwrap_or_else(PoisonError::into_inner).push(quick_reply);
    }

    /// Where its files are put.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Takes the files that go with it.
    pub(super) fn attach(&self, files: ReplyFiles) {
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    pub(super) fn len(&self) -> usize {
        self.written.borrow().text.len()
    }
}

/// The text without the line ends after it.
pub(super) fn without_line_ends(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}
