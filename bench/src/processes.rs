//! The release binaries as processes of their own, as they run elsewhere.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use procfs::process::Process;

pub(crate) const API_KEY: &str = "not-a-secret-api-key-of-the-bench";
pub(crate) const ADMIN_KEY: &str = "not-a-secret-admin-key-of-the-bench";

/// Builds what is measured, as a release is built.
pub(crate) fn build() -> Result<()> {
    let packages = ["-p", "postern-relay", "-p", "postern-poller"];
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--quiet", "--bins"]).args(packages);
    ensure!(cargo.status()?.success(), "cargo could not build the two halves");
    Ok(())
}

/// What makes a relay serve this database, with every limit counted and none reached.
pub(crate) fn relay_args(db: &Path) -> Result<Vec<&str>> {
    let db = db.to_str().context("a path in UTF-8")?;
    let mut args = vec!["serve", "--db", db, "--listen", "127.0.0.1:0"];
    args.extend(["--max-connections", "60000"]);
    for limit in LIMITS {
        args.extend([*limit, "4294967295"]);
    }
    Ok(args)
}

/// A binary beside this one.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let folder = std::env::current_exe()?.parent().map(Path::to_owned);
    let path = folder.context("this program lies in no folder")?.join(name);
    ensure!(path.exists(), "{} is not there", path.display());
    Ok(path)
}

/// A running program; killed when dropped.
pub(crate) struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let keys = [("POSTERN_API_KEY", API_KEY), ("POSTERN_ADMIN_KEY", ADMIN_KEY)];
        let command = command.envs(keys).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn();
        Ok(Self(child.with_context(|| format!("{command:?} did not start"))?))
    }

    /// A poller with an agent that echoes, which pulls from this relay.
    pub(crate) fn poller(relay: SocketAddr, queue: &Path) -> Result<Self> {
        let mut command = Command::new(binary("postern-poller")?);
        command.args(["run", "--agent", "echo", "--relay", &format!("http://{relay}"), "--queue"]);
        Self::start(command.arg(queue).stderr(Stdio::null()))
    }

    /// What it holds of the machine's memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let process = Process::new(i32::try_from(self.0.id())?)?;
        let kib = process.status()?.vmrss.context("no resident size")?;
        Ok(kib * 1_024)
    }

    /// The processor time it has used.
    pub(crate) fn busy(&self) -> Result<Duration> {
        let stat = Process::new(i32::try_from(self.0.id())?)?.stat()?;
        let ticks = stat.utime + stat.stime;
        Ok(Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that listens.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// From its start to its first listening.
    pub(crate) started_in: Duration,
    pub(crate) process: Running,
}

impl Server {
    /// Starts a program that says where it listens.
    pub(crate) fn start(program: &Path, args: &[&str]) -> Result<Self> {
        let from = Instant::now();
        let mut process = Running::start(Command::new(program).args(args).stderr(Stdio::piped()))?;
        let mut log = BufReader::new(process.0.stderr.take().context("no log")?);
        let address = address_of(&mut log)?;
        let started_in = from.elapsed();
        // Nobody reads on, and nobody must wait for a reader.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(Self { address, started_in, process })
    }

    /// The least that stores messages, on a database that a relay made.
    pub(crate) fn prototype(db: &Path) -> Result<Self> {
        let db = db.to_str().context("a path in UTF-8")?;
        Self::start(&std::env::current_exe()?, &["prototype", db])
    }

    /// A relay on this database whose every limit is counted and none is reached.
    pub(crate) fn relay(db: &Path) -> Result<Self> {
        Self::start(&binary("postern-relay")?, &relay_args(db)?)
    }
}

/// Every limit on what visitors may ask for.
const LIMITS: &[&str] = &[
    "--address-messages-per-minute",
    "--address-messages-per-hour",
    "--address-sessions-per-hour",
    "--address-failures-per-minute",
    "--address-calls-per-minute",
    "--address-streams",
    "--session-messages-per-minute",
    "--session-messages-per-day",
    "--session-open-messages",
    "--session-streams",
    "--site-messages-per-minute",
    "--site-daily-budget",
    "--site-open-messages",
    "--site-sessions",
];

fn address_of(log: &mut BufReader<ChildStderr>) -> Result<SocketAddr> {
    let mut line = String::new();
    let mut seen = String::new();
    while log.read_line(&mut line)? > 0 {
        if let Some((_, address)) = line.split_once("listening on http://") {
            return Ok(address.trim().parse()?);
        }
        seen.push_str(&line);
        line.clear();
    }
    anyhow::bail!("it ended before it listened: {seen}")
}
