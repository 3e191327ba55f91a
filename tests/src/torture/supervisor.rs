//! Keeps a process running as a service manager would, however often it is killed.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time;

use super::{environment, now};
use crate::binary;

/// A supervised process; killed for good when this is dropped.
pub(super) struct Supervisor {
    state: Mutex<State>,
    armed: AtomicBool,
    ended: AtomicBool,
}

#[derive(Default)]
struct State {
    running: Option<Pid>,
    kills: Vec<u128>,
    other_ends: Vec<String>,
}

impl Supervisor {
    pub(super) fn start(
        name: &'static str,
        args: &[&str],
        folder: &Path,
        points: &'static [&'static str],
        seed: u64,
    ) -> Arc<Self> {
        let supervisor = Arc::new(Self {
            state: Mutex::default(),
            armed: AtomicBool::new(!points.is_empty()),
            ended: AtomicBool::new(false),
        });
        let log = folder.join(format!("{name}.log"));
        let mut command = Command::new(binary(name));
        command.args(args).env_clear().envs(environment(folder)).kill_on_drop(true);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let rng = StdRng::seed_from_u64(seed ^ name.len() as u64);
        tokio::spawn(supervise(Arc::clone(&supervisor), command, log, points, rng));
        supervisor
    }

    /// Kills the process that runs now, if one does.
    pub(super) fn kill(&self) {
        if let Some(pid) = self.lock().running {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Processes started from now on are killed at no point of the protocol; the one that runs now
    /// is replaced, since it may still be on its way to one.
    pub(super) fn arm_no_more(&self) {
        self.armed.store(false, Ordering::SeqCst);
        self.kill();
    }

    /// Ends it for good.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.kill();
    }

    /// When it was killed, in nanoseconds since 1970.
    pub(super) fn kills(&self) -> Vec<u128> {
        self.lock().kills.clone()
    }

    /// How it ended when nobody killed it; a bridge that works has none.
    pub(super) fn other_ends(&self) -> Vec<String> {
        self.lock().other_ends.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_end(&self, status: std::io::Result<std::process::ExitStatus>, log: &Path) {
        let mut state = self.lock();
        state.running = None;
        match status {
            Ok(status) if killed(status) => state.kills.push(now()),
            Ok(status) => state.other_ends.push(format!("{status}, saying {:?}", last_line(log))),
            Err(cause) => state.other_ends.push(cause.to_string()),
        }
    }
}

fn killed(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(Signal::KILL.as_raw())
}

async fn supervise(
    supervisor: Arc<Supervisor>,
    mut command: Command,
    log: PathBuf,
    points: &'static [&'static str],
    mut rng: StdRng,
) {
    while !supervisor.ended.load(Ordering::SeqCst) {
        command.env_remove("POSTERN_FAULT");
        if supervisor.armed.load(Ordering::SeqCst) && rng.random_bool(0.7) {
            let point = points[rng.random_range(0..points.len())];
            command.env("POSTERN_FAULT", format!("{point}@{}", rng.random_range(1..12_u32)));
        }
        let mut child = start(&mut command, &log);
        supervisor.lock().running = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let status = child.wait().await;
        supervisor.note_end(status, &log);
        // As a service manager does, so that a process that cannot start does not spin.
        time::sleep(Duration::from_millis(5)).await;
    }
}

fn last_line(log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    log.lines().last().unwrap_or_default().to_owned()
}

fn start(command: &mut Command, log: &Path) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(log).expect("a log file");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("a process that starts")
}

/// Kills one agent at work, if there is one; the witness leaves its process id in a link.
pub(super) fn kill_an_agent(folder: &Path) -> bool {
    let Ok(files) = fs::read_dir(folder) else { return false };
    let links =
        files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with("running-"));
    let pids = links.filter_map(|link| {
        let pid = fs::read_link(link.path()).ok()?.to_string_lossy().parse().ok()?;
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        // A link may be older than its process: never signal a stranger.
        command.contains("witness.sh").then_some(Pid::from_raw(pid)?)
    });
    let killed = pids.map(|pid| kill_process(pid, Signal::KILL)).find(Result::is_ok);
    killed.is_some()
}
