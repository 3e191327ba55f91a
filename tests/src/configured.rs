//! A relay binary with a configuration file of its own, for what only the file can say.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::{ADMIN_KEY, Caller, Process, binary};

/// A running relay whose folder holds `relay.toml` and what it names.
pub struct ConfiguredRelay {
    /// Where it listens.
    pub address: SocketAddr,
    folder: TempDir,
    process: Option<Process>,
}

impl ConfiguredRelay {
    /// Starts a relay with these files in its folder, `relay.toml` among them; in a file `{folder}`
    /// stands for the folder.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().to_str().expect("a path in UTF-8").to_owned();
        for (name, text) in files {
            let text = text.replace("{folder}", &path);
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let address = ([127, 0, 0, 1], 0).into();
        let mut relay = Self { address, folder, process: None };
        relay.start_again().await;
        relay
    }

    /// Starts it on the same files, on another port.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        let config = self.file("relay.toml");
        let db = self.file("relay.db");
        let config = config.to_str().expect("a path in UTF-8");
        let args = ["serve", "--config", config, "--listen", "127.0.0.1:0", "--db"];
        let args = [&args[..], &[db.to_str().expect("a path in UTF-8")]].concat();
        let environment = [("POSTERN_ADMIN_KEY", ADMIN_KEY)];
        let mut process = Process::start_with("postern-relay", &args, &environment);
        let line = process.line_with("listening on http://").await;
        let address = line.rsplit("http://").next().and_then(|found| found.trim().parse().ok());
        self.address = address.expect("an address");
        self.process = Some(process);
    }

    /// The running binary; it ends when the value does.
    ///
    /// # Panics
    /// When it was taken before.
    pub fn take_process(&mut self) -> Process {
        self.process.take().expect("a running relay")
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command of the operator's on its database.
    ///
    /// # Panics
    /// When the command cannot be started.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(binary("postern-relay"));
        command.args(args).env_clear().env("POSTERN_DB", self.file("relay.db"));
        command.output().expect("a command that starts")
    }

    /// Makes a key by the command line, and returns it.
    ///
    /// # Panics
    /// When it is refused.
    pub fn make_key(&self, args: &[&str]) -> String {
        let made = self.run(&[&["keys"], args].concat());
        assert!(made.status.success(), "{args:?}: {}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8_lossy(&made.stdout).trim().to_owned()
    }

    /// Calls with a credential.
    pub fn calls_with(&self, secret: &str) -> Caller {
        Caller::new(self.address).with_secret(secret)
    }

    /// Calls without one.
    pub fn stranger_calls(&self) -> Caller {
        Caller::new(self.address)
    }
}
