//! The bytes of files: streamed to a folder beside the database, and read from there again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt;
use postern_shared::FileId;
use sha2::{Digest, Sha256};
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
use tokio::time::{self, Instant};

/// How long the rest of a refused body is read.
const LINGER: Duration = Duration::from_secs(5);

/// How long a sender may pause.
const PAUSE: Duration = Duration::from_secs(20);

/// What the name of a file ends with until all of it is on disk.
const UNFINISHED: &str = ".part";

/// The slowest that a file may come on the whole, in bytes a second.
const SLOWEST: u64 = 4 * 1024;

/// How much of a file's beginning tells what it is.
const HEAD_BYTES: usize = 8 * 1024;

/// The folder of files; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    folder: Arc<Path>,
}

/// Why a file was not taken.
#[derive(Debug)]
pub(crate) enum ReceiveError {
    /// It is larger than it may be.
    TooLarge,
    /// The sender paused for too long, or was too slow on the whole.
    TooSlow,
    /// The sender broke off.
    Broken,
    /// The disk.
    Disk(io::Error),
}

impl From<io::Error> for ReceiveError {
    fn from(cause: io::Error) -> Self {
        Self::Disk(cause)
    }
}

/// A file whose bytes have arrived; removed when it is dropped before it is kept.
#[derive(Debug)]
pub(crate) struct Incoming {
    path: PathBuf,
    file: File,
    hash: Sha256,
    /// The beginning, for whoever wants to know what it is.
    pub(crate) head: Vec<u8>,
    pub(crate) size_bytes: u64,
}

impl Files {
    /// Makes the folder when there is none, and removes what a crash left unfinished in it.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder)?;
        remove_unfinished(folder)?;
        Ok(Self { folder: folder.into() })
    }

    /// Streams a body to disk, for the file of this id.
    pub(crate) async fn receive(
        &self,
        id: &FileId,
        pieces: &mut BodyDataStream,
        max_bytes: u64,
    ) -> Result<Incoming, ReceiveError> {
        let path = self.folder.join(format!("{id}{UNFINISHED}"));
        let file = private_file(&path).await?;
        let (hash, head) = (Sha256::new(), Vec::new());
        let mut incoming = Incoming { path, file, hash, head, size_bytes: 0 };
        let begun = Instant::now();
        while let Some(piece) = next_piece(pieces, begun + due(&incoming)).await? {
            incoming.size_bytes += piece.len() as u64;
            if incoming.size_bytes > max_bytes {
                return Err(ReceiveError::TooLarge);
            }
            incoming.write(&piece).await?;
        }
        Ok(incoming)
    }

    /// Brings a file to disk, and then under its own name: what has one is whole.
    pub(crate) async fn finish(&self, incoming: &mut Incoming) -> io::Result<()> {
        incoming.file.flush().await?;
        incoming.file.sync_all().await?;
        let named = incoming.path.with_extension("");
        fs::rename(&incoming.path, &named).await?;
        incoming.path = named;
        File::open(&self.folder).await?.sync_all().await
    }

    /// Opens a file for reading.
    pub(crate) async fn read(&self, id: &FileId) -> io::Result<File> {
        File::open(self.folder.join(id.as_str())).await
    }

    /// Removes files that nobody knows any more.
    pub(crate) async fn remove(&self, ids: &[FileId]) -> io::Result<()> {
        for id in ids {
            match fs::remove_file(self.folder.join(id.as_str())).await {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Incoming {
    async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&piece[..piece.len().min(room)]);
        self.hash.update(piece);
        self.file.write_all(piece).await
    }

    /// The SHA-256 of what arrived.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// Leaves the file where it is.
    pub(crate) fn keep(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.path != Path::new("") {
            // One that stays is removed when the relay starts again, or named by a check.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(UNFINISHED));
        // What has no name of ours is not ours.
        if id.is_some_and(|id| id.parse::<FileId>().is_ok()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Reads what else comes of a body that is refused, for a while: a sender that is cut off in the
/// middle may never see why, and send it all again.
pub(crate) async fn read_off(pieces: &mut BodyDataStream) {
    let rest = async { while let Some(Ok(_)) = pieces.next().await {} };
    let _ = time::timeout(LINGER, rest).await;
}

/// When, counted from a file's beginning, more of it must have come.
fn due(incoming: &Incoming) -> Duration {
    PAUSE + Duration::from_secs(incoming.size_bytes / SLOWEST)
}

async fn next_piece(
    pieces: &mut BodyDataStream,
    due: Instant,
) -> Result<Option<axum::body::Bytes>, ReceiveError> {
    match time::timeout_at(due.min(Instant::now() + PAUSE), pieces.next()).await {
        Err(_) => Err(ReceiveError::TooSlow),
        Ok(Some(Err(_))) => Err(ReceiveError::Broken),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(None) => Ok(None),
    }
}

async fn private_file(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path).await
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// Sends so many bytes every ten seconds.
    async fn receive(bytes: usize, times: usize) -> Result<u64, ReceiveError> {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path()).unwrap();
        let pieces = futures_util::stream::iter(0..times).then(move |_| async move {
            time::sleep(Duration::from_secs(10)).await;
            Ok::<_, io::Error>(vec![0; bytes])
        });
        let id = "a-file".parse().unwrap();
        let received =
            files.receive(&id, &mut Body::from_stream(pieces).into_data_stream(), 1 << 30).await;
        received.map(|incoming| incoming.size_bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_file_is_taken_and_one_that_drips_is_not() {
        assert_eq!(receive(64 * 1024, 20).await.unwrap(), 20 * 64 * 1024);
        assert!(matches!(receive(1, 20).await, Err(ReceiveError::TooSlow)));
    }
}
