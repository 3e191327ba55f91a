//! Visitors' files beside the queue, for as long as the agent is at their message.

use std::io;
use std::path::{Path, PathBuf};

use postern_shared::files::File;
use postern_shared::{MessageId, SessionId};
use tokio::fs;

use crate::agent::{AgentError, QuestionFile};
use crate::relay::{Relay, RelayError};

/// How many files of a message are fetched; more than a relay takes by default.
const MAX_FILES: usize = 20;

/// The largest file that is fetched; more than a relay takes by default.
const MAX_FILE_BYTES: u64 = 100 * 1024 * 1024;

/// How much of a file's name is kept, in characters.
const MAX_NAME_CHARS: usize = 100;

/// A private folder with one folder for each message.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder of a queue, emptied: what is there is of a former run, whose messages are fetched
    /// anew.
    pub(crate) fn of_queue(queue: &Path) -> io::Result<Self> {
        let mut root = std::path::absolute(queue)?.into_os_string();
        root.push(".files");
        match std::fs::remove_dir_all(&root) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
            _ => Ok(Self { root: root.into() }),
        }
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
        if files.len() > MAX_FILES || files.iter().any(|file| file.size_bytes > MAX_FILE_BYTES) {
            return Err(AgentError::Files {
                problem: "they are too many or too large".into(),
                retryable: false,
            });
        }
        let folder = self.of(message);
        private_folder(folder.clone()).await.map_err(disk)?;
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

    /// Removes the files of a message that the agent is done with.
    pub(crate) async fn remove(&self, message: MessageId) -> io::Result<()> {
        match fs::remove_dir_all(self.of(message)).await {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
            _ => Ok(()),
        }
    }

    fn of(&self, message: MessageId) -> PathBuf {
        self.root.join(message.to_string())
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

async fn private_folder(path: PathBuf) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    builder.mode(0o700);
    builder.recursive(true).create(path).await
}

/// A name that means nothing to a file system or a shell; the end is kept, which tells the type.
fn plain_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
    let skipped = name.chars().count().saturating_sub(MAX_NAME_CHARS);
    name.chars().skip(skipped).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_folder_and_keeps_its_end() {
        for (name, plain) in [
            ("Grüße 1.pdf", "Grüße_1.pdf"),
            ("../../etc/passwd", ".._.._etc_passwd"),
            ("a\0b;$(c) `d`.txt", "a_b___c___d_.txt"),
        ] {
            assert_eq!(plain_name(name), plain);
        }
        let long = plain_name(&format!("{}.pdf", "ü".repeat(300)));
        assert!(long.chars().count() == MAX_NAME_CHARS && long.ends_with(".pdf"));
    }
}
