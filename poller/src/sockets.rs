//! Which listening sockets this process and its descendants hold: there should be none.

use std::fmt;
use std::io;

/// A socket that waits for connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListeningSocket {
    /// The process that holds it.
    pub pid: u32,
    /// That process's name.
    pub command: String,
    /// Kind and place, such as `tcp 127.0.0.1:80` or `unix /run/some.sock`.
    pub address: String,
}

impl fmt::Display for ListeningSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, command, address } = self;
        write!(f, "process {pid} ({command}) listens on {address}")
    }
}

/// The TCP and UNIX sockets that this process or a descendant of it listens on.
///
/// A process that has left the tree, as a daemon does, is not seen.
///
/// # Errors
/// `Unsupported` on systems other than Linux; `PermissionDenied` when a descendant belongs to
/// another user; whatever else keeps `/proc` from being read.
#[cfg(target_os = "linux")]
pub fn listening_sockets_of_tree() -> io::Result<Vec<ListeningSocket>> {
    linux::listening_sockets_of_tree()
}

/// Not available on this system.
///
/// # Errors
/// Always `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub fn listening_sockets_of_tree() -> io::Result<Vec<ListeningSocket>> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashSet;
    use std::io::{self, Read};
    use std::process;

    use procfs::net::TcpState;
    use procfs::process::{FDTarget, ProcState, Process, Stat, all_processes};
    use procfs::{ProcError, ProcResult};

    use super::ListeningSocket;

    /// `__SO_ACCEPTCON` of the kernel's `net.h`: the flag of a UNIX socket that listens.
    const ACCEPTS_CONNECTIONS: u32 = 1 << 16;

    pub(super) fn listening_sockets_of_tree() -> io::Result<Vec<ListeningSocket>> {
        let mut sockets = Vec::new();
        for stat in tree_of(process::id().cast_signed()).map_err(into_io)? {
            match Process::new(stat.pid).and_then(|process| addresses(&process)) {
                Ok(addresses) => {
                    sockets.extend(addresses.into_iter().map(|address| ListeningSocket {
                        pid: stat.pid.cast_unsigned(),
                        command: stat.comm.clone(),
                        address,
                    }))
                }
                Err(_) if is_gone(stat.pid) => {}
                Err(error) => return Err(into_io(error)),
            }
        }
        Ok(sockets)
    }

    fn tree_of(root: i32) -> ProcResult<Vec<Stat>> {
        let (mut tree, mut others): (Vec<Stat>, Vec<Stat>) = all_processes()?
            .filter_map(|process| process.ok()?.stat().ok())
            .partition(|stat| stat.pid == root);
        let mut visited = 0;
        while let Some(parent) = tree.get(visited).map(|stat| stat.pid) {
            tree.extend(others.extract_if(.., |stat| stat.ppid == parent));
            visited += 1;
        }
        Ok(tree)
    }

    /// A process that has ended owns nothing, but until its parent has noticed it can be seen.
    fn is_gone(pid: i32) -> bool {
        let state = Process::new(pid).and_then(|process| process.stat()?.state());
        matches!(state, Err(_) | Ok(ProcState::Zombie | ProcState::Dead))
    }

    /// Read from the process itself, because it may live in a network namespace of its own.
    fn addresses(process: &Process) -> ProcResult<Vec<String>> {
        let held: HashSet<u64> =
            process.fd()?.flatten().filter_map(|fd| socket(fd.target)).collect();
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let tcp = process.tcp()?.into_iter().chain(or_none(process.tcp6())?);
        let tcp = tcp
            .filter(|entry| entry.state == TcpState::Listen && held.contains(&entry.inode))
            .map(|entry| format!("tcp {}", entry.local_address));
        let mut table = Vec::new();
        process.open_relative("net/unix")?.read_to_end(&mut table)?;
        let table = String::from_utf8_lossy(&table);
        let unix = table.lines().filter_map(|line| listening_unix(line, &held));
        Ok(tcp.chain(unix).collect())
    }

    fn socket(target: FDTarget) -> Option<u64> {
        match target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        }
    }

    /// The columns are address, references, protocol, flags, type, state, inode and path.
    fn listening_unix(line: &str, held: &HashSet<u64>) -> Option<String> {
        let mut columns = line.splitn(7, ' ');
        let flags = u32::from_str_radix(columns.nth(3)?, 16).ok()?;
        let (inode, path) = columns.nth(2)?.trim_start().split_once(' ')?;
        let listens = flags & ACCEPTS_CONNECTIONS != 0 && held.contains(&inode.parse().ok()?);
        listens.then(|| format!("unix {path}"))
    }

    /// A kernel without IPv6 has no such table.
    fn or_none<T>(table: ProcResult<Vec<T>>) -> ProcResult<Vec<T>> {
        match table {
            Err(ProcError::NotFound(_)) => Ok(Vec::new()),
            table => table,
        }
    }

    fn into_io(error: ProcError) -> io::Error {
        let kind = match &error {
            ProcError::PermissionDenied(_) => io::ErrorKind::PermissionDenied,
            ProcError::NotFound(_) => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
