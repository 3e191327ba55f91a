//! Files that an agent sends back: where it puts them, and which of them go with its reply.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task;

use super::{Draft, MAX_FILE_BYTES, MAX_FILES};
use crate::private;

/// How much of a file's beginning tells what it is.
const HEAD_BYTES: u64 = 8 * 1024;

/// How many folders a file depends on: the reply's, its message's, the queue's, and the one that
/// the queue is in.
const FOLDERS: usize = 4;

/// A file that goes with a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyFile {
    /// Its name, as the visitor will see it; no path.
    pub name: String,
    /// Its media type.
    #[serde(rename = "type")]
    pub media_type: String,
    /// Where it is on this host.
    pub path: PathBuf,
}

/// The files of one reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyFiles {
    /// In the order in which they are shown.
    pub kept: Vec<ReplyFile>,
    /// Those that cannot go along, and why; a line each.
    pub left_out: Vec<String>,
}

/// Where the files of one reply are put.
pub(super) enum ReplyFolder {
    /// There until the relay has them.
    Lasting(PathBuf),
    /// There for as long as the agent runs: nobody takes them any further.
    Passing(TempDir),
}

/// A file as a service sends it.
#[derive(Deserialize)]
struct SentFile {
    name: String,
    #[serde(rename = "type")]
    media_type: Option<String>,
    data_base64: String,
}

impl ReplyFolder {
    /// Makes the draft's folder anew: a former run may have left something in it.
    pub(super) async fn make(draft: &Draft) -> io::Result<Self> {
        let Some(path) = draft.folder() else { return tempfile::tempdir().map(Self::Passing) };
        private::remove_folder(path).await?;
        private::make_folder(path.to_owned()).await?;
        Ok(Self::Lasting(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Lasting(path) => path,
            Self::Passing(folder) => folder.path(),
        }
    }

    /// Keeps what a program has put into the folder, in the order of the names.
    pub(super) async fn collect(&self) -> io::Result<ReplyFiles> {
        self.keep(|folder| {
            let mut files = ReplyFiles::default();
            let names: io::Result<Vec<_>> =
                fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect();
            let mut names = names?;
            names.sort();
            // A leading dot is how programs mark what is not for others.
            names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
            for name in names {
                let path = folder.join(&name);
                files.take(&name.to_string_lossy(), || examine(name.to_str(), None, path));
            }
            Ok(files)
        })
        .await
    }

    /// Keeps what a service has sent, each an object with `name`, `type` and `data_base64`.
    pub(super) async fn store(&self, sent: Vec<Value>) -> io::Result<ReplyFiles> {
        self.keep(|folder| {
            let mut files = ReplyFiles::default();
            for (index, sent) in sent.into_iter().enumerate() {
                let number = (index + 1).to_string();
                files.take(&number, || unpack(sent, folder.join(&number)));
            }
            Ok(files)
        })
        .await
    }

    /// Once this returns, what was kept outlives a crash.
    async fn keep(
        &self,
        find: impl FnOnce(&Path) -> io::Result<ReplyFiles> + Send + 'static,
    ) -> io::Result<ReplyFiles> {
        let folder = self.path().to_owned();
        let kept = task::spawn_blocking(move || {
            let files = find(&folder)?;
            if !files.kept.is_empty() {
                folder.ancestors().take(FOLDERS).try_for_each(sync)?;
            }
            Ok(files)
        });
        kept.await.map_err(io::Error::other)?
    }
}

impl ReplyFiles {
    fn take(&mut self, label: &str, file: impl FnOnce() -> io::Result<ReplyFile>) {
        let has_room = self.kept.len() < MAX_FILES;
        let too_many = || Err(io::Error::other("there are too many"));
        match if has_room { file() } else { too_many() } {
            Ok(file) => self.kept.push(file),
            Err(cause) => self.left_out.push(format!("{label:?}: {cause}")),
        }
    }
}

fn unpack(sent: Value, path: PathBuf) -> io::Result<ReplyFile> {
    let sent: SentFile = serde_json::from_value(sent)
        .map_err(|_| io::Error::other("it is not an object with name and data_base64"))?;
    let bytes = BASE64_STANDARD
        .decode(sent.data_base64)
        .map_err(|_| io::Error::other("data_base64 is not Base64"))?;
    fs::write(&path, bytes)?;
    examine(Some(&sent.name), sent.media_type, path)
}

/// Brings a file to disk and tells what it is. A link is not followed: what it points to was not put
/// there.
fn examine(name: Option<&str>, declared: Option<String>, path: PathBuf) -> io::Result<ReplyFile> {
    let name = name.ok_or_else(|| io::Error::other("its name is not UTF-8"))?;
    let found = path.symlink_metadata()?;
    if !found.is_file() || found.len() > MAX_FILE_BYTES {
        return Err(io::Error::other("it is too large, or no file"));
    }
    let file = File::open(&path)?;
    file.sync_all()?;
    let mut head = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut head)?;
    let declared = declared.filter(|declared| HeaderValue::from_str(declared).is_ok());
    let media_type = declared.unwrap_or_else(|| media_type(&head, name));
    Ok(ReplyFile { name: name.to_owned(), media_type, path })
}

/// A picture or a PDF is known by its content, which the relay looks at too; anything else by its
/// name.
fn media_type(head: &[u8], name: &str) -> String {
    let found = infer::get(head).map(|found| found.mime_type());
    let found = found.filter(|found| found.starts_with("image/") || *found == "application/pdf");
    found
        .map_or_else(|| mime_guess::from_path(name).first_or_octet_stream().to_string(), Into::into)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(files: &ReplyFiles) -> Vec<(&str, &str)> {
        files.kept.iter().map(|file| (file.name.as_str(), file.media_type.as_str())).collect()
    }

    async fn folder() -> ReplyFolder {
        ReplyFolder::make(&Draft::default()).await.unwrap()
    }

    #[tokio::test]
    async fn what_a_program_put_there_is_kept_by_name_and_known_by_what_it_is() {
        let folder = folder().await;
        let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        put("b.csv", b"1,2");
        put("a chart", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR");
        put("c.png", b"no picture");
        put("notes", b"text");
        put(".hidden.txt", b"text");
        let files = folder.collect().await.unwrap();
        assert_eq!(
            named(&files),
            [
                ("a chart", "image/png"),
                ("b.csv", "text/csv"),
                ("c.png", "image/png"),
                ("notes", "application/octet-stream"),
            ]
        );
        assert_eq!(files.left_out, [""; 0]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_no_file_or_one_too_many_is_left_out() {
        let folder = folder().await;
        let path = |name: &str| folder.path().join(name);
        fs::write(path("kept.txt"), "text").unwrap();
        std::os::unix::fs::symlink(path("kept.txt"), path("link.txt")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        let files = folder.collect().await.unwrap();
        assert_eq!(named(&files), [("kept.txt", "text/plain")]);
        let why = "it is too large, or no file";
        assert_eq!(files.left_out, [format!("\"folder\": {why}"), format!("\"link.txt\": {why}")]);

        for number in 0..MAX_FILES {
            fs::write(path(&format!("m{number}.txt")), "text").unwrap();
        }
        let files = folder.collect().await.unwrap();
        assert_eq!((files.kept.len(), files.left_out.len()), (MAX_FILES, 3));
    }

    #[tokio::test]
    async fn what_a_service_sent_is_kept_in_its_order() {
        let folder = folder().await;
        let sent = vec![
            json!({ "name": "b.bin", "type": "text/plain", "data_base64": "YWJj" }),
            json!({ "name": "../a.csv", "data_base64": "MSwy" }),
            json!({ "name": "c.txt", "data_base64": "%" }),
            json!("text"),
            json!({ "name": "d.txt", "type": "text/plain\r\nx: y", "data_base64": "" }),
        ];
        let files = folder.store(sent).await.unwrap();
        assert_eq!(
            named(&files),
            [("b.bin", "text/plain"), ("../a.csv", "text/csv"), ("d.txt", "text/plain")]
        );
        assert_eq!(fs::read(&files.kept[0].path).unwrap(), b"abc");
        assert!(files.kept.iter().all(|file| file.path.parent() == Some(folder.path())));
        assert_eq!(
            files.left_out,
            [
                "\"3\": data_base64 is not Base64",
                "\"4\": it is not an object with name and data_base64",
            ]
        );
    }
}
