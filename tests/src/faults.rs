//! Faults of the machine a process runs on: a disk that is full, a clock that jumps.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

use crate::{ADMIN_KEY, API_KEY, Process, binary};

const KEYS: [(&str, &str); 2] = [("POSTERN_API_KEY", API_KEY), ("POSTERN_ADMIN_KEY", ADMIN_KEY)];

/// Where Debian's package `libfaketime` and its likes put the library; each folder holds one folder
/// per architecture, or the library's own.
const LIBRARY_FOLDERS: [&str; 3] = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];

/// The arguments of a relay with this file, on a free port.
pub fn relay_args(db: &Path) -> Vec<String> {
    let db = db.to_string_lossy();
    let args = ["serve", "--rate-limit", "off", "--listen", "127.0.0.1:0", "--db", &db];
    args.map(str::to_owned).to_vec()
}

/// The arguments of a poller with this queue.
pub fn poller_args(relay: &str, queue: &Path, agent: &[&str]) -> Vec<String> {
    let queue = queue.to_string_lossy();
    let args = ["run", "--relay", relay, "--queue", &queue];
    args.iter().chain(agent).map(ToString::to_string).collect()
}

/// Where a relay that has just been started listens.
///
/// # Panics
/// When it does not.
pub async fn listening(relay: &mut Process) -> SocketAddr {
    let line = relay.line_with("listening on http://").await;
    let address = line.rsplit("http://").next().and_then(|address| address.trim().parse().ok());
    address.expect("an address")
}

/// Starts a binary for which [`fill_disk`] works: a write that is refused ends it not by a signal.
pub fn start_with_fillable_disk(name: &str, args: &[String]) -> Process {
    let binary = binary(name);
    let binary = binary.to_string_lossy();
    let mut shell = vec!["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", &binary];
    shell.extend(args.iter().map(String::as_str));
    Process::start_with("/bin/sh", &shell, &KEYS)
}

/// Lets none of a process's files grow beyond a size, in bytes, as a full disk would.
///
/// # Panics
/// When the system refuses.
pub fn fill_disk(process: Pid, size_bytes: u64) {
    limit_files(process, Some(size_bytes));
}

/// Gives the space back.
///
/// # Panics
/// When the system refuses.
pub fn free_disk(process: Pid) {
    limit_files(process, None);
}

fn limit_files(process: Pid, size_bytes: Option<u64>) {
    let limit = Rlimit { current: size_bytes, maximum: None };
    prlimit(Some(process), Resource::Fsize, limit).expect("a limit");
}

/// A small disk of its own, gone with this value.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts a disk of this size; `None` where this user may not mount.
    ///
    /// # Panics
    /// When no folder can be made for it.
    pub fn mount(size_bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let size = format!("size={size_bytes}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(Self { folder })
    }

    /// A file on it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes until there is no space.
    ///
    /// # Panics
    /// When there is no end of it.
    pub fn fill(&self) {
        let mut ballast = std::fs::File::create(self.file("ballast")).expect("a ballast file");
        let copied = std::io::copy(&mut std::io::repeat(0), &mut ballast);
        let full = copied.expect_err("a disk with an end");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Gives the space back.
    ///
    /// # Panics
    /// When it was not taken.
    pub fn free(&self) {
        std::fs::remove_file(self.file("ballast")).expect("a ballast file");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

/// A host's clock that a test can set; the processes started on it see no other.
pub struct HostClock {
    library: PathBuf,
    folder: TempDir,
    started: Vec<Pid>,
}

impl HostClock {
    /// A clock that goes right; `None` where libfaketime is not installed.
    ///
    /// # Panics
    /// When no folder can be made for it.
    pub fn find() -> Option<Self> {
        let library = LIBRARY_FOLDERS.iter().find_map(|folder| find_library(Path::new(folder)))?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Self { library, folder, started: Vec::new() };
        clock.jump(0);
        Some(clock)
    }

    /// Sets the clock to so many seconds after the right time, or before it.
    ///
    /// # Panics
    /// When its file cannot be written.
    pub fn jump(&self, seconds: i64) {
        // Renamed into its place: half a line would end the process that reads it.
        let written = self.folder.path().join("next");
        std::fs::write(&written, format!("{seconds:+}\n")).expect("a clock to set");
        std::fs::rename(written, self.file()).expect("a clock to set");
    }

    /// Starts a binary under this clock.
    pub fn start(&mut self, name: &str, args: &[String]) -> Process {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let (library, file) = (self.library.to_string_lossy(), self.file());
        let clock = [
            ("LD_PRELOAD", &*library),
            ("FAKETIME_TIMESTAMP_FILE", &file.to_string_lossy()),
            ("FAKETIME_NO_CACHE", "1"),
            // A clock that is set does not move the steady one.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let process = Process::start_with(name, &args, &[&KEYS[..], &clock].concat());
        self.started.push(process.pid());
        process
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }
}

impl Drop for HostClock {
    fn drop(&mut self) {
        // The library leaves these behind when its process is killed.
        for pid in self.started.iter().map(|pid| pid.as_raw_nonzero()) {
            let _ = std::fs::remove_file(format!("/dev/shm/faketime_shm_{pid}"));
            let _ = std::fs::remove_file(format!("/dev/shm/sem.faketime_sem_{pid}"));
        }
    }
}

fn find_library(folder: &Path) -> Option<PathBuf> {
    let in_folder = |folder: &Path| {
        let library = folder.join("faketime/libfaketimeMT.so.1");
        library.exists().then_some(library)
    };
    let inner = || std::fs::read_dir(folder).ok()?.flatten().find_map(|e| in_folder(&e.path()));
    in_folder(folder).or_else(inner)
}
