//! The exec agent: one run of a command per message, in a process group of its own.

use std::fs::File;
use std::io::{self, PipeWriter};
use std::mem;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::Args;
use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use super::reply::Reply;
use super::reply_files::ReplyFolder;
use super::{AgentConfigError, AgentError, AgentLimits, Draft, Question};
use crate::one_line::one_line;

/// What the program must not see: it answers strangers and needs no key to the relay.
const SECRETS: [&str; 4] =
    ["POSTERN_API_KEY", "POSTERN_API_KEY_FILE", "POSTERN_ADMIN_KEY", "POSTERN_ADMIN_KEY_FILE"];

/// Runs the command of `$1` with a watcher beside it, which kills the group once the lifeline is
/// cut: a poller that was killed leaves no program running that its successor would start again.
///
/// The watcher is started through a subshell so that it is no child of the command, and holds
/// neither its output nor its lifeline. It outlives being asked to end: a program that does not
/// care for it may be all that is left when the poller is killed. It alone has the queue's lock beside
/// the poller, so that a successor has to wait for it, however late the system lets it run.
const WATCHED: &str = "\
    ( { trap '' TERM; read -r _; kill -KILL 0; } <&3 >/dev/null 2>&1 & )
    exec 3<&- 4<&- sh -c \"$1\"";

/// The descriptor of [`WATCHED`]'s lifeline.
const LIFELINE: i32 = 3;

/// That of the queue's lock.
const LOCK: i32 = 4;

/// How long a program that was asked to end may take to clean up.
const GRACE: Duration = Duration::from_secs(2);

/// How long the pipes of a program that has exited are still read.
const DRAIN: Duration = Duration::from_secs(1);

/// How much of a line of standard error is kept.
const MAX_LINE_BYTES: usize = 2_000;

/// What a line of standard error begins with that tells the visitor what the program is doing.
const PROGRESS: &str = "status:";

/// What a line of standard error begins with that offers the visitor an answer.
const QUICK_REPLY: &str = "quick-reply:";

/// What tells the program where to put files that go with its reply.
const REPLY_FILES: &str = "POSTERN_REPLY_FILES";

/// How much of its progress the relay takes.
const MAX_PROGRESS_CHARS: usize = 200;

/// The settings of the exec agent.
#[derive(Debug, Clone, Args)]
pub struct ExecArgs {
    /// The command of --agent exec, run through the shell
    #[arg(long = "exec", env = "POSTERN_EXEC", value_name = "CMD")]
    pub command: Option<String>,
}

/// Runs a command per message: the question's JSON on its input, the reply on its output, and files
/// that go with it in a folder.
#[derive(Debug)]
pub struct Exec {
    command: String,
    limits: AgentLimits,
}

impl Exec {
    pub(super) fn new(args: &ExecArgs, limits: AgentLimits) -> Result<Self, AgentConfigError> {
        let command = args.command.clone().filter(|command| !command.trim().is_empty());
        let command =
            command.ok_or(AgentConfigError::Missing { agent: "exec", flag: "--exec 'CMD'" })?;
        Ok(Self { command, limits })
    }

    pub(super) async fn answer(
        &self,
        question: &Question,
        draft: &Draft,
    ) -> Result<String, AgentError> {
        let mut input =
            serde_json::to_vec(question).map_err(|error| AgentError::Command(error.into()))?;
        input.push(b'\n');
        let folder = ReplyFolder::make(draft).await.map_err(AgentError::ReplyFiles)?;
        let (mut group, pipes) =
            ProcessGroup::spawn(&self.command, folder.path(), draft.share_lock())
                .map_err(AgentError::Command)?;
        let id = group.id;
        let replying = async {
            let reply = converse(&mut group, pipes, &input, draft, self.limits).await?;
            draft.attach(folder.collect().await.map_err(AgentError::ReplyFiles)?);
            reply.finish()
        };
        let mut replying = pin!(replying);
        let unwanted = tokio::select! {
            reply = &mut replying => return reply,
            () = sleep(self.limits.timeout) => AgentError::TimedOut(self.limits.timeout),
            () = draft.cancelled() => AgentError::Cancelled,
        };
        // Asking first lets a program end what it started elsewhere, such as a container. It is
        // listened to on the way: one whose output is closed may die of that instead.
        signal(id, Signal::TERM);
        let _ = timeout(GRACE, replying).await;
        Err(unwanted)
    }
}

/// Writes the input, reads the reply and waits for the exit, all at once: a program may do them
/// in any order or leave some out.
async fn converse<'a>(
    group: &mut ProcessGroup,
    pipes: Pipes,
    input: &[u8],
    draft: &'a Draft,
    limits: AgentLimits,
) -> Result<Reply<'a>, AgentError> {
    let mut reply = Reply::new(draft, limits);
    let mut errors = ErrorLines::new(draft);
    let piping = async {
        tokio::try_join!(
            write_input(pipes.stdin, input),
            read_pieces(pipes.stdout, |piece| reply.push(piece)),
            read_pieces(pipes.stderr, |piece| {
                errors.push(piece);
                Ok(())
            }),
        )
        .map(drop)
    };
    let status = group.run(piping).await?;
    if status.success() {
        Ok(reply)
    } else {
        Err(AgentError::Exited { status, last_line: errors.finish() })
    }
}

async fn write_input(mut stdin: ChildStdin, input: &[u8]) -> Result<(), AgentError> {
    match stdin.write_all(input).await {
        // A program need not read what it is given.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(AgentError::Command),
    }
}

async fn read_pieces(
    mut pipe: impl AsyncRead + Unpin,
    mut take: impl FnMut(&[u8]) -> Result<(), AgentError>,
) -> Result<(), AgentError> {
    let mut buffer = vec![0; 8 * 1024];
    loop {
        match pipe.read(&mut buffer).await.map_err(AgentError::Command)? {
            0 => return Ok(()),
            length => take(&buffer[..length])?,
        }
    }
}

struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

/// A running program and all that it started; dropping it kills them.
///
/// A program that leaves its group, as a daemon does, is out of reach.
struct ProcessGroup {
    leader: Child,
    id: Pid,
    /// Cut by the system when this process ends, however it does.
    _lifeline: PipeWriter,
}

impl ProcessGroup {
    fn spawn(
        command: &str,
        reply_files: &Path,
        lock: io::Result<Option<File>>,
    ) -> io::Result<(Self, Pipes)> {
        let (watched, lifeline) = io::pipe()?;
        let mut shell = Command::new("sh");
        shell.args(["-c", WATCHED, "sh", command]).process_group(0);
        let watched = FdMapping { parent_fd: watched.into(), child_fd: LIFELINE };
        let lock = lock?.map(|lock| FdMapping { parent_fd: lock.into(), child_fd: LOCK });
        let given = [watched].into_iter().chain(lock).collect();
        shell.fd_mappings(given).map_err(io::Error::other)?;
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for secret in SECRETS {
            shell.env_remove(secret);
        }
        shell.env(REPLY_FILES, reply_files);
        let mut leader = shell.spawn()?;
        // The command keeps this process's end of the watcher's pipe until it is dropped.
        drop(shell);
        let id = leader.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pipes = (leader.stdin.take(), leader.stdout.take(), leader.stderr.take());
        let (Some(id), (Some(stdin), Some(stdout), Some(stderr))) = (id, pipes) else {
            return Err(io::Error::other("it was started without an id or without pipes"));
        };
        Ok((Self { leader, id, _lifeline: lifeline }, Pipes { stdin, stdout, stderr }))
    }

    /// Serves the pipes until the program has exited.
    async fn run(
        &mut self,
        piping: impl Future<Output = Result<(), AgentError>>,
    ) -> Result<ExitStatus, AgentError> {
        let mut piping = pin!(piping);
        let exited = tokio::select! {
            piped = &mut piping => {
                piped?;
                return self.leader.wait().await.map_err(AgentError::Command);
            }
            exited = self.leader.wait() => exited,
        };
        // Whom it left behind may hold its output open for ever; what it wrote itself is in the
        // pipes. One that has left the group is not waited for either.
        signal(self.id, Signal::KILL);
        if let Ok(piped) = timeout(DRAIN, piping).await {
            piped?;
        }
        exited.map_err(AgentError::Command)
    }
}

fn signal(group: Pid, signal: Signal) {
    // An error means that nobody is left.
    let _ = kill_process_group(group, signal);
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        signal(self.id, Signal::KILL);
    }
}

/// A program's standard error: its progress, its quick replies, and the last other line that is not blank.
struct ErrorLines<'a> {
    draft: &'a Draft,
    unfinished: Vec<u8>,
    last: String,
}

impl<'a> ErrorLines<'a> {
    fn new(draft: &'a Draft) -> Self {
        Self { draft, unfinished: Vec::new(), last: String::new() }
    }

    fn push(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE_BYTES - self.unfinished.len();
            self.unfinished.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = one_line(&String::from_utf8_lossy(&mem::take(&mut self.unfinished)));
        if let Some(words) = line.strip_prefix(PROGRESS) {
            let words: String = words.trim_start().chars().take(MAX_PROGRESS_CHARS).collect();
            self.draft.report(&words);
        } else if let Some(text) = line.strip_prefix(QUICK_REPLY) {
            self.draft.offer(text);
        } else if !line.is_empty() {
            self.last = line;
        }
    }

    fn finish(mut self) -> String {
        self.end_line();
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postern_host::file::claim;

    use super::*;

    #[tokio::test]
    async fn a_queue_is_nobody_elses_until_the_last_program_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let queue = folder.path().join("queue.db");
        let lock = claim(&queue, Duration::ZERO).unwrap().unwrap();
        let draft = Draft::default().in_queue(Arc::new(lock));
        let running = ProcessGroup::spawn("sleep 1000", folder.path(), draft.share_lock()).unwrap();
        drop(draft);
        assert!(claim(&queue, Duration::ZERO).unwrap().is_none());
        drop(running);
        assert!(claim(&queue, Duration::from_secs(5)).unwrap().is_some());
    }
}
