//! `control.sock`: the VM's process answers requests to stop, and what it runs, on it. See [`spec::control`].

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spec::control::{MAX_LINE, Reply, Request, VERSION, Verb};

use crate::dir::PodDir;
use crate::socket::{self, SocketDir};

/// The longest that a peer may take to write its line.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends a request to the pod's VM process and reads the answer.
///
/// # Errors
/// Nobody listens, or there is no sound answer within seconds.
pub fn ask(dir: &PodDir, verb: Verb) -> io::Result<Reply> {
    let mut stream = SocketDir::open(dir)?.connect(socket::CONTROL)?;
    let mut line = serde_json::to_vec(&Request { version: VERSION, verb })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    serde_json::from_slice(&read_line(&stream)?).map_err(io::Error::from)
}

/// Answers one connection: reads its request and writes what `answer` says.
///
/// # Errors
/// The peer breaks off, sends too much, or nothing for seconds.
pub fn serve(stream: &UnixStream, answer: impl FnOnce(Verb) -> Reply) -> io::Result<()> {
    let reply = match serde_json::from_slice::<Request>(&read_line(stream)?) {
        Ok(request) if request.version == VERSION => answer(request.verb),
        Ok(request) => Reply::Error(format!("version {} is not {VERSION}", request.version)),
        Err(error) => Reply::Error(format!("malformed request: {error}")),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    (&*stream).write_all(&line)
}

/// Reads up to the line feed, which is taken off. What follows it is thrown away: there is one line each way.
fn read_line(mut stream: &UnixStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    while line.len() <= MAX_LINE {
        wait(stream, deadline)?;
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        match buffer[..count].iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                line.extend_from_slice(&buffer[..end]);
                return Ok(line);
            }
            None => line.extend_from_slice(&buffer[..count]),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a control message without an end"))
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
    use super::*;

    #[test]
    fn a_request_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let pod = PodDir::new(dir.path()).unwrap();
        let listener = SocketDir::open(&pod).unwrap().bind(socket::CONTROL).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (stream, _) = listener.accept().unwrap();
                serve(&stream, |verb| match verb {
                    Verb::Stop { grace_seconds: Some(3) } => Reply::Ok,
                    other => Reply::Error(format!("{other:?}")),
                })
                .unwrap();
            });
            assert_eq!(ask(&pod, Verb::Stop { grace_seconds: Some(3) }).unwrap(), Reply::Ok);
        });
    }

    #[test]
    fn nonsense_gets_an_error_and_a_flood_is_cut() {
        let (near, far) = UnixStream::pair().unwrap();
        (&far).write_all(b"{\"version\":9,\"verb\":{\"name\":\"kill\"}}\nrest").unwrap();
        serve(&near, |_| Reply::Ok).unwrap();
        assert!(String::from_utf8(read_line(&far).unwrap()).unwrap().contains("version 9"));

        let (near, far) = UnixStream::pair().unwrap();
        (&far).write_all(b"hello\n").unwrap();
        serve(&near, |_| Reply::Ok).unwrap();
        assert!(String::from_utf8(read_line(&far).unwrap()).unwrap().contains("malformed"));

        let (near, far) = UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || {
            let _ = (&far).write_all(&vec![b'x'; MAX_LINE + 1]);
            far
        });
        assert_eq!(serve(&near, |_| Reply::Ok).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(near);
        writer.join().unwrap();
    }
}
