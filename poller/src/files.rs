//! Files beside the queue: those of visitors for as long as the agent is at their message, those of
//! the agent until the relay has its reply.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use postern_shared::files::File;
use postern_shared::{MessageId, SessionId};
use tracing::warn;

use crate::agent::{AgentError, MAX_FILE_BYTES, MAX_FILES, QuestionFile};
use crate::private;
use crate::relay::{Relay, RelayError};

/// How much of a file's name is kept, in bytes; file systems take 255, its number included.
const MAX_NAME_BYTES: usize = 200;

/// How large the files of one message may be together.
const MAX_TOTAL_BYTES: u64 = 2 * MAX_FILE_BYTES;

/// The folder of a message's own files, in the folder of the message.
const QUESTION: &str = "question";

/// The folder of the files that go with its reply.
const REPLY: &str = "reply";

/// A private folder with one folder for each message, in which the question and the reply have theirs.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder of a queue, rid of what a former run left, but for the files of replies that are
    /// still to be posted. Those of visitors are fetched anew.
    pub(crate) async fn of_queue(queue: &Path, answered: &[MessageId]) -> io::Result<Self> {
        let mut root = std::path::absolute(queue)?.into_os_string();
        root.push(".files");
        let folder = Self { root: root.into() };
        let kept: HashSet<_> = answered.iter().map(|message| folder.of(*message)).collect();
        for message in folder.messages()? {
            let is_kept = kept.contains(&message);
            let left = if is_kept { message.join(QUESTION) } else { message };
            private::remove_folder(&left).await?;
        }
        Ok(folder)
    }

    /// The folders of messages.
    fn messages(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let paths: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
        Ok(paths?.into_iter().filter(|path| path.is_dir()).collect())
    }

    /// Fetches the files of a message; where they are, the agent is told.
    pub(crate) async fn fetch(
        &self,
        relay: &Relay,
        session: &SessionId,
        message: MessageId,
        files: &[File],
    ) -> Result<Vec<QuestionFile>, AgentError> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        if !may_be_fetched(files) {
            return Err(AgentError::Files {
                problem: "they are too many or too large".into(),
                retryable: false,
            });
        }
        let folder = self.of_question(message);
        private::make_folder(folder.clone()).await.map_err(disk)?;
        let mut fetched = Vec::with_capacity(files.len());
        for (index, file) in files.iter().enumerate() {
            let path = folder.join(format!("{}-{}", index + 1, plain_name(&file.name)));
            relay.download(session, file, &path).await.map_err(unfetched)?;
            fetched.push(QuestionFile {
                name: file.name.clone(),
                media_type: file.media_type.clone(),
                size_bytes: file.size_bytes,
                path,
            });
        }
        Ok(fetched)
    }

    /// Where the files of the reply to a message are put.
    pub(crate) fn of_reply(&self, message: MessageId) -> PathBuf {
        self.of(message).join(REPLY)
    }

    /// Removes the visitor's files, with which the agent is done.
    pub(crate) async fn remove_question(&self, message: MessageId) {
        remove(&self.of_question(message), message).await;
    }

    /// Removes all files of a message.
    pub(crate) async fn remove(&self, message: MessageId) {
        remove(&self.of(message), message).await;
    }

    fn of_question(&self, message: MessageId) -> PathBuf {
        self.of(message).join(QUESTION)
    }

    fn of(&self, message: MessageId) -> PathBuf {
        self.root.join(message.to_string())
    }
}

fn may_be_fetched(files: &[File]) -> bool {
    let total_bytes = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size_bytes));
    files.len() <= MAX_FILES
        && files.iter().all(|file| file.size_bytes <= MAX_FILE_BYTES)
        && total_bytes <= MAX_TOTAL_BYTES
}

async fn remove(folder: &Path, message: MessageId) {
    if let Err(error) = private::remove_folder(folder).await {
        warn!(message.id = %message, %error, "the files of a message stay until the next start");
    }
}

fn unfetched(error: RelayError) -> AgentError {
    // Whether the key is good, the other loops find out; the message is not to be given up for it.
    let retryable = error.is_retryable() || matches!(error, RelayError::KeyRefused { .. });
    AgentError::Files { problem: error.to_string(), retryable }
}

fn disk(cause: io::Error) -> AgentError {
    AgentError::Files { problem: cause.to_string(), retryable: true }
}

/// A name that means nothing to a file system or a shell; the end is kept, which tells the type.
pub(crate) fn plain_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
    let begin = name.ceil_char_boundary(name.len().saturating_sub(MAX_NAME_BYTES));
    name[begin..].chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_start_keeps_the_files_of_replies_that_wait_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let queue = place.path().join("poller.db");
        let folder = Folder::of_queue(&queue, &[]).await.unwrap();
        let (answered, open) = (MessageId(1), MessageId(2));
        for message in [answered, open] {
            private::make_folder(folder.of_question(message)).await.unwrap();
            private::make_folder(folder.of_reply(message)).await.unwrap();
        }
        std::fs::write(folder.root.join("stray"), "not ours").unwrap();
        let folder = Folder::of_queue(&queue, &[answered]).await.unwrap();
        assert!(folder.of_reply(answered).exists() && !folder.of_question(answered).exists());
        assert!(!folder.of(open).exists());
    }

    #[test]
    fn a_name_stays_in_its_folder_and_keeps_its_end() {
        for (name, plain) in [
            ("Grüße 1.pdf", "Grüße_1.pdf"),
            ("../../etc/passwd", ".._.._etc_passwd"),
            ("a\0b;$(c) `d`.txt", "a_b___c___d_.txt"),
        ] {
            assert_eq!(plain_name(name), plain);
        }
        for long in ["x", "ü", "語", "𝔘"].map(|c| plain_name(&format!("{}.pdf", c.repeat(255))))
        {
            assert!((190..=MAX_NAME_BYTES).contains(&long.len()) && long.ends_with(".pdf"));
        }
    }
}
