//! How a pod's process gets a place on a network: it asks the network's process, which it starts where there is none.

use std::fs::File;
use std::io::{self, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use thiserror::Error;

use crate::dir::NetworkDir;
use crate::message::{Change, Endpoint, Request};
use crate::port::Port;
use crate::wire::{self, MAX_QUEUES, Question, Reply};
use crate::{keeper, socket};

/// The longest that a network may take to be made, others before this pod and all.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time between two tries meanwhile.
const INTERVAL: Duration = Duration::from_millis(10);

/// Why a pod got no place on a network.
#[derive(Debug, Error)]
pub enum AttachError {
    /// There is no such network any more.
    #[error("there is no network at {}", .0.display())]
    Missing(PathBuf),
    /// Its process cannot be started.
    #[error("cannot start the network's process")]
    Start(#[source] io::Error),
    /// Its process cannot make the network, and says why.
    #[error("cannot make the network: {0}")]
    Make(String),
    /// More is asked for than a message holds: names or ports by the thousand.
    #[error("the pod asks too much of the network")]
    Ask(#[source] io::Error),
    /// Its process does not answer.
    #[error("the network's process does not answer")]
    Silent(#[source] io::Error),
    /// It refuses, and says why.
    #[error("{0}")]
    Refused(String),
}

/// Whether this user could make a network, tried by a short-lived process; no network is made.
///
/// # Errors
/// [`AttachError::Start`] and [`AttachError::Make`], which says what is missing.
pub fn check(program: &Path) -> Result<(), AttachError> {
    let mut command = Command::new(program);
    command.arg0("kcradle").args([keeper::VERB, "--check"]);
    command.env_clear().env("PATH", keeper::PATH).stdin(Stdio::null()).stderr(Stdio::null());
    let said = command.output().map_err(AttachError::Start)?.stdout;
    match String::from_utf8_lossy(&said).trim_end() {
        keeper::READY => Ok(()),
        "" => Err(AttachError::Make("the process that tries it ended at once".to_owned())),
        why => Err(AttachError::Make(why.to_owned())),
    }
}

/// Asks for a place on the network. `program` is `kcradle`, whose hidden verb is the network's process.
///
/// # Errors
/// Each variant.
pub fn attach(dir: &NetworkDir, request: &Request, program: &Path) -> Result<Endpoint, AttachError> {
    let question = wire::encode(&Question::Attach(Box::new(request.clone()))).map_err(AttachError::Ask)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let failed = match socket::connect(dir).and_then(|stream| ask(stream, &question)) {
            Ok((Reply::Attached(answer), queues, lease)) => {
                return Ok(Endpoint { answer: *answer, queues, lease });
            }
            Ok((Reply::Refused(why), ..)) => return Err(AttachError::Refused(why)),
            Ok(_) => io::Error::other("it answers another question"),
            Err(error) => error,
        };
        if !dir.lock().exists() {
            return Err(AttachError::Missing(dir.path().to_owned()));
        }
        if Instant::now() >= deadline {
            return Err(AttachError::Silent(failed));
        }
        // One that ends just now breaks connections off, too.
        match start(dir, program)? {
            Started::Ready => {}
            Started::Held => std::thread::sleep(INTERVAL),
        }
    }
}

/// Changes something for a pod that is on the network; answers the ports that are published since, where they change.
///
/// # Errors
/// [`AttachError::Ask`], [`AttachError::Silent`], and [`AttachError::Refused`] where it is not on the network, or its ports are taken.
pub fn change(dir: &NetworkDir, pod: &str, change: Change) -> Result<Vec<Port>, AttachError> {
    let question = Question::Change { pod: pod.to_owned(), change };
    let question = wire::encode(&question).map_err(AttachError::Ask)?;
    match socket::connect(dir).and_then(|stream| ask(stream, &question)).map_err(AttachError::Silent)? {
        (Reply::Changed(ports), ..) => Ok(ports),
        (Reply::Refused(why), ..) => Err(AttachError::Refused(why)),
        _ => Err(AttachError::Silent(io::Error::other("it answers another question"))),
    }
}

/// Sends a question and waits for the answer, and what descriptors come with it.
fn ask(
    mut stream: UnixStream,
    (length, bytes): &([u8; 4], Vec<u8>),
) -> io::Result<(Reply, Vec<OwnedFd>, UnixStream)> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(length)?;
    stream.write_all(bytes)?;
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_QUEUES as usize))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(&stream, &mut [IoSliceMut::new(&mut length)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut queues = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            queues.extend(descriptors);
        }
    }
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    stream.read_exact(&mut length[received.bytes..])?;
    let mut bytes = vec![0; wire::length(length)?];
    stream.read_exact(&mut bytes)?;
    stream.set_read_timeout(None)?;
    Ok((serde_json::from_slice(&bytes)?, queues, stream))
}

enum Started {
    /// It listens.
    Ready,
    /// Another one is there, or was just now.
    Held,
}

/// Starts the network's process and waits until it listens. It inherits nothing but its log and what it says first.
fn start(dir: &NetworkDir, program: &Path) -> Result<Started, AttachError> {
    let log = File::options().append(true).create(true).mode(0o600).open(dir.log());
    let mut command = Command::new(program);
    command.arg0("kcradle").args([keeper::VERB, "--"]).arg(dir.path());
    command.env_clear().env("PATH", keeper::PATH).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.map_err(AttachError::Start)?);
    let mut child = command.spawn().map_err(AttachError::Start)?;
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        output.take(wire::MAX_MESSAGE as u64).read_to_string(&mut said).map_err(AttachError::Start)?;
    }
    match said.trim_end() {
        keeper::READY => Ok(Started::Ready),
        said => {
            let _ = child.wait();
            match said {
                keeper::HELD => Ok(Started::Held),
                "" => Err(AttachError::Make(format!("it ended at once; see {}", dir.log().display()))),
                why => Err(AttachError::Make(why.to_owned())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_message_holds_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let request = Request { names: vec!["a".repeat(wire::MAX_MESSAGE)], ..Request::default() };
        let refused = attach(&NetworkDir::at(folder.path()), &request, Path::new("/nowhere"));
        assert!(matches!(refused, Err(AttachError::Ask(_))));
        let request = Request::default();
        let refused = attach(&NetworkDir::at(folder.path()), &request, Path::new("/nowhere"));
        assert!(matches!(refused, Err(AttachError::Missing(_))));
    }
}
