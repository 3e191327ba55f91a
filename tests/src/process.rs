//! The real binaries as processes, for signals, exit codes and sockets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::{ADMIN_KEY, API_KEY, soon};

/// A binary of the workspace, built by `cargo build --workspace`.
///
/// # Panics
/// When it is not there.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this program's own path");
    // Tests lie one folder deeper than binaries.
    let folder = own.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
    let folder = folder.expect("a target folder");
    let path = folder.join(name);
    assert!(path.exists(), "{} is not there: run cargo build --workspace first", path.display());
    path
}

/// A running binary; killed when dropped.
pub struct Process {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    seen: Vec<String>,
}

impl Process {
    /// Starts a binary with the tests' keys in its environment and nothing else of Postern's.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(name: &str, args: &[&str]) -> Self {
        Self::start_with(
            name,
            args,
            &[("POSTERN_API_KEY", API_KEY), ("POSTERN_ADMIN_KEY", ADMIN_KEY)],
        )
    }

    /// Starts a binary with this environment added to what a shell needs.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with(name: &str, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(binary(name))
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a process that starts");
        let log = BufReader::new(child.stderr.take().expect("its log")).lines();
        Self { child, log, seen: Vec::new() }
    }

    /// A relay on a free port, and the port.
    ///
    /// # Panics
    /// When it does not listen.
    pub async fn relay(db: &std::path::Path, listen: SocketAddr) -> (Self, SocketAddr) {
        Self::relay_with(db, listen, &[]).await
    }

    /// The same with more flags.
    ///
    /// # Panics
    /// When it does not listen.
    pub async fn relay_with(
        db: &std::path::Path,
        listen: SocketAddr,
        flags: &[&str],
    ) -> (Self, SocketAddr) {
        let (listen, db) = (listen.to_string(), db.to_string_lossy().into_owned());
        let args =
            [&["serve", "--rate-limit", "off", "--listen", &listen, "--db", &db], flags].concat();
        let mut relay = Self::start("postern-relay", &args);
        let line = relay.line_with("listening on http").await;
        let address = line.rsplit("://").next().and_then(|address| address.trim().parse().ok());
        (relay, address.expect("an address"))
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pid(&self) -> Pid {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        pid.and_then(Pid::from_raw).expect("a running process")
    }

    /// Waits for a line of its log that holds a text.
    ///
    /// # Panics
    /// When none comes.
    pub async fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = soon(text, self.log.next_line()).await.expect("a readable log");
            let Some(line) = line else {
                panic!("the log ended without {text:?}: {:#?}", self.seen)
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a process to signal");
    }

    /// Waits for its end; also gives every line of its log.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn end(mut self) -> (ExitStatus, Vec<String>) {
        while let Ok(Some(line)) = soon("the log's end", self.log.next_line()).await {
            self.seen.push(line);
        }
        let status = soon("the process's end", self.child.wait()).await.expect("a status");
        (status, self.seen)
    }
}
