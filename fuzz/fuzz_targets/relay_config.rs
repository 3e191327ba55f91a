//! The relay's configuration file: read whole or refused by name, and the same when written again.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postern_relay::config::{File, SiteSettings};
use serde::Serialize;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

/// A file as one would write it.
#[derive(Serialize)]
struct Written<'a> {
    site: &'a [SiteSettings],
}

fuzz_target!(|text: &[u8]| {
    let (path, read) = read(text);
    match read {
        Ok(file) => {
            let written = toml::to_string(&Written { site: &file.sites }).expect("TOML");
            let (_, again) = self::read(written.as_bytes());
            assert_eq!(
                format!("{:?}", again.expect("a good file").sites),
                format!("{:?}", file.sites)
            );
        }
        Err(refusal) => assert!(refusal.contains(path.to_str().expect("a path")), "{refusal}"),
    }
});

fn read(text: &[u8]) -> (PathBuf, Result<File, String>) {
    let path = FOLDER.path().join("relay.toml");
    fs::write(&path, text).expect("a disk with room");
    let read = File::read(&path).map_err(|refusal| refusal.to_string());
    (path, read)
}
