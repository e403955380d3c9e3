//! Commands at a pod whose guest is the test: what they do with signals while it answers, and while it does not.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Stdio};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Pid, Signal, kill_process};

use crate::host::Host;

/// The guest of a pod that seems to run.
struct Guest {
    listener: UnixListener,
    _lock: File,
}

impl Guest {
    /// Of the pod `pod`, which is summoned.
    fn of(host: &Host) -> Self {
        host.summon("pod", &[], &[]);
        let lock = File::options().read(true).write(true).open(host.path("pod/lock")).unwrap();
        fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        Self { listener: UnixListener::bind(host.path("pod/docker.sock")).unwrap(), _lock: lock }
    }

    /// The next request: its first line, and its connection.
    fn next(&self) -> (String, UnixStream) {
        let (mut stream, _) = self.listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend_from_slice(&byte);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        stream.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
        (head.lines().next().unwrap().to_owned(), stream)
    }
}

fn answer(mut stream: UnixStream, status: &str, body: &str) {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
}

fn terminate(child: &Child) {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
}

#[test]
fn a_signal_for_attach_is_the_containers() {
    let host = Host::new();
    let guest = Guest::of(&host);
    let mut attach = host.command(&["attach", "--no-stdin", "pod"]).stdout(Stdio::piped()).spawn().unwrap();
    let (_inspect, stream) = guest.next();
    answer(stream, "200 OK", r#"{"State":{"Running":true},"Config":{}}"#);
    let mut streams = [guest.next(), guest.next()];
    streams.sort_by(|(one, _), (other, _)| one.cmp(other));
    let [(attached, mut output), (waited, wait)] = streams;
    assert!(attached.contains("/attach?") && waited.contains("/wait"), "{attached} {waited}");
    output.write_all(b"HTTP/1.1 101 UPGRADED\r\n\r\n\x01\0\0\0\0\0\0\x03hi\n").unwrap();
    let mut heard = [0; 3];
    attach.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hi\n");

    terminate(&attach);
    let (killed, stream) = guest.next();
    assert!(killed.starts_with("POST /v1.50/containers/container.0/kill?signal=15 "), "{killed}");
    answer(stream, "204 No Content", "");
    drop(output);
    answer(wait, "200 OK", r#"{"StatusCode":7}"#);
    assert_eq!(attach.wait().unwrap().code(), Some(7));
}

#[test]
fn a_guest_that_does_not_answer_can_be_left() {
    let host = Host::new();
    let guest = Guest::of(&host);
    let mut exec = host.command(&["exec", "pod", "sh"]).spawn().unwrap();
    let (_create, stream) = guest.next();
    answer(stream, "201 Created", r#"{"Id":"e1"}"#);
    let (started, _unanswered) = guest.next();
    assert!(started.contains("/exec/e1/start"), "{started}");
    terminate(&exec);
    assert_eq!(exec.wait().unwrap().code(), Some(143));
}
