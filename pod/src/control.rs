//! `control.sock`: the VM's process answers requests to stop, and what it runs, on it. See [`spec::control`].

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use spec::control::{MAX_LINE, Reply, Request, VERSION, Verb};

use crate::dir::PodDir;
use crate::socket::{self, SocketDir};

/// The longest that a peer may take to write its line.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most descriptors that come with a request: the queues of a tap, and its place.
const MAX_DESCRIPTORS: usize = spec::launch::MAX_QUEUES as usize + 1;

/// Sends a request to the pod's VM process and reads the answer.
///
/// # Errors
/// Nobody listens, or there is no sound answer within seconds.
pub fn ask(dir: &PodDir, verb: Verb) -> io::Result<Reply> {
    hand(dir, verb, &[])
}

/// The same with descriptors that the process gets too, at most [`MAX_DESCRIPTORS`].
///
/// # Errors
/// As [`ask`].
pub fn hand(dir: &PodDir, verb: Verb, descriptors: &[BorrowedFd<'_>]) -> io::Result<Reply> {
    let mut stream = SocketDir::open(dir)?.connect(socket::CONTROL)?;
    let mut line = serde_json::to_vec(&Request { version: VERSION, verb })?;
    line.push(b'\n');
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(&stream, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    stream.write_all(&line[sent..])?;
    serde_json::from_slice(&read_line(&stream)?.0).map_err(io::Error::from)
}

/// Answers one connection: reads its request and writes what `answer` says to it and the descriptors that came along.
///
/// # Errors
/// The peer breaks off, sends too much, or nothing for seconds.
pub fn serve(stream: &UnixStream, answer: impl FnOnce(Verb, Vec<OwnedFd>) -> Reply) -> io::Result<()> {
    let (line, descriptors) = read_line(stream)?;
    let reply = match serde_json::from_slice::<Request>(&line) {
        Ok(request) if request.version == VERSION => answer(request.verb, descriptors),
        Ok(request) => Reply::Error(format!("version {} is not {VERSION}", request.version)),
        Err(error) => Reply::Error(format!("malformed request: {error}")),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    (&*stream).write_all(&line)
}

/// Reads up to the line feed, which is taken off, and takes descriptors. What follows it is thrown away: there is one line
/// each way.
fn read_line(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let deadline = Instant::now() + PATIENCE;
    let (mut line, mut descriptors) = (Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    while line.len() <= MAX_LINE {
        wait(stream, deadline)?;
        let count = receive(stream, &mut buffer, &mut descriptors)?;
        if count == 0 {
            break;
        }
        match buffer[..count].iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                line.extend_from_slice(&buffer[..end]);
                return Ok((line, descriptors));
            }
            None => line.extend_from_slice(&buffer[..count]),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a control message without an end"))
}

/// One read: bytes, and what descriptors come with them; those beyond the most are the kernel's to close.
fn receive(stream: &UnixStream, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            descriptors.extend(more.take(MAX_DESCRIPTORS.saturating_sub(descriptors.len())));
        }
    }
    Ok(received.bytes)
}

/// Waits for bytes. By poll(2): the VM's process may not change options of sockets any more.
fn wait(stream: &UnixStream, deadline: Instant) -> io::Result<()> {
    let rest = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(rest).map_err(io::Error::other)?;
    let mut descriptors = [PollFd::new(stream, PollFlags::IN)];
    match poll(&mut descriptors, Some(&timeout)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_request_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let pod = PodDir::new(dir.path()).unwrap();
        let listener = SocketDir::open(&pod).unwrap().bind(socket::CONTROL).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (stream, _) = listener.accept().unwrap();
                serve(&stream, |verb, descriptors| match verb {
                    Verb::Stop { grace_seconds: Some(3) } if descriptors.len() == 1 => Reply::Ok,
                    other => Reply::Error(format!("{other:?}")),
                })
                .unwrap();
            });
            let stop = Verb::Stop { grace_seconds: Some(3) };
            assert_eq!(hand(&pod, stop, &[std::io::stderr().as_fd()]).unwrap(), Reply::Ok);
        });
    }

    #[test]
    fn nonsense_gets_an_error_and_a_flood_is_cut() {
        let (near, far) = UnixStream::pair().unwrap();
        (&far).write_all(b"{\"version\":9,\"verb\":{\"name\":\"kill\"}}\nrest").unwrap();
        serve(&near, |_, _| Reply::Ok).unwrap();
        assert!(String::from_utf8(read_line(&far).unwrap().0).unwrap().contains("version 9"));

        let (near, far) = UnixStream::pair().unwrap();
        (&far).write_all(b"hello\n").unwrap();
        serve(&near, |_, _| Reply::Ok).unwrap();
        assert!(String::from_utf8(read_line(&far).unwrap().0).unwrap().contains("malformed"));

        let (near, far) = UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || {
            let _ = (&far).write_all(&vec![b'x'; MAX_LINE + 1]);
            far
        });
        assert_eq!(serve(&near, |_, _| Reply::Ok).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(near);
        writer.join().unwrap();
    }
}
