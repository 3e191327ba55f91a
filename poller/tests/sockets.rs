//! What listens is found wherever in the tree it is held.
//!
//! One test, in a process of its own: nobody else's sockets are in the way.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "there must be something to find")]

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use postern_poller::sockets::{ListeningSocket, listening_sockets_of_tree};

fn found() -> Vec<ListeningSocket> {
    listening_sockets_of_tree().expect("/proc can be read")
}

fn addresses() -> Vec<String> {
    found().into_iter().map(|socket| socket.address).collect()
}

#[test]
fn every_listening_socket_of_the_tree_is_found_and_no_other() {
    let none: [&str; 0] = [];
    assert_eq!(addresses(), none);

    for ip in ["127.0.0.1", "[::1]"] {
        // A machine may have no IPv6.
        let Ok(listener) = TcpListener::bind(format!("{ip}:0")) else { continue };
        let address = listener.local_addr().unwrap();
        assert_eq!(addresses(), [format!("tcp {address}")]);
        let connection = TcpStream::connect(address).unwrap();
        let accepted = listener.accept().unwrap();
        drop(listener);
        assert_eq!(addresses(), none);
        drop((connection, accepted));
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a socket");
    let listener = UnixListener::bind(&path).unwrap();
    let connection = UnixStream::connect(&path).unwrap();
    let accepted = listener.accept().unwrap();
    assert_eq!(addresses(), [format!("unix {}", path.display())]);
    drop(listener);
    assert_eq!(addresses(), none);
    drop((connection, accepted));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp {}", listener.local_addr().unwrap());
    // A shell and its subshell hold it as their output; this process no longer does.
    let mut shell = Command::new("sh")
        .args(["-c", "(echo >&2; read -r line); :"])
        .stdin(Stdio::piped())
        .stdout(OwnedFd::from(listener))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stderr.take().unwrap().read_exact(&mut [0]).unwrap();
    let held = found();
    assert_eq!(held.len(), 2, "{held:?}");
    assert!(held.iter().all(|socket| socket.address == address && socket.command == "sh"));
    let (pid, holders) = (shell.id(), held.iter().map(|socket| socket.pid));
    assert!(holders.clone().any(|holder| holder == pid) && holders.clone().any(|h| h != pid));
    assert!(!held.iter().any(|socket| socket.pid == std::process::id()));
    let sentence = format!("process {pid} (sh) listens on {address}");
    assert!(held.iter().any(|socket| socket.to_string() == sentence), "{held:?}");
    drop(shell.stdin.take());
    shell.wait().unwrap();
    assert_eq!(addresses(), none);
}
