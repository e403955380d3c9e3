//! The stdio stream to the host: frames in and out of one non-blocking socket ([`spec::frame`]).
//!
//! Output is buffered up to a bound; while [`Stream::has_room`] is false the engine reads no container's
//! output, so that a slow host makes containers wait and nothing is lost.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use spec::frame::{HEADER_LEN, Header, HeaderError, Kind, MAX_PAYLOAD};
use std::io;
use std::rc::Rc;

/// Bytes waiting for the host above which no more container output is read.
const HIGH_WATER: usize = 256 * 1024;

/// How long the machine is kept for the host to take its last line.
const FAREWELL: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Why the stream cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The host's end is gone.
    #[error("the host closed the stdio stream")]
    Closed,
    /// The socket failed.
    #[error("cannot use the stdio stream")]
    Socket(#[source] io::Error),
    /// The host does not speak the protocol.
    #[error("the host broke the protocol of the stdio stream")]
    Protocol(#[source] HeaderError),
    /// The host sent more input than the window allows.
    #[error("the host sent more than {} bytes of unread input", spec::frame::STDIN_WINDOW)]
    Window,
}

/// A frame from the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What it is.
    pub(crate) kind: Kind,
    /// The container's index; not checked yet.
    pub(crate) container: usize,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub(crate) payload: Vec<u8>,
}

/// The guest's end of the stream.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Rc<OwnedFd>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
}

impl Stream {
    /// A stream over a connected, non-blocking socket.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket: Rc::new(socket), incoming: Vec::new(), outgoing: Vec::new(), sent: 0 }
    }

    /// Whether more container output may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting() < HIGH_WATER
    }

    /// Whether something waits for the host.
    pub(crate) fn has_output(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    /// Bytes that wait for the host.
    pub(crate) fn waiting(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// The socket, to wait for it.
    pub(crate) fn socket(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.socket)
    }

    /// Queues bytes as one or more frames of the kind; no bytes make one empty frame.
    pub(crate) fn push(&mut self, kind: Kind, container: usize, payload: &[u8]) {
        let container = u8::try_from(container).unwrap_or(0);
        let mut rest = payload;
        loop {
            let (part, after) = rest.split_at(rest.len().min(MAX_PAYLOAD));
            if let Ok(header) = Header::new(kind, container, part.len()) {
                self.outgoing.extend_from_slice(&header.encode());
                self.outgoing.extend_from_slice(part);
            }
            if after.is_empty() {
                return;
            }
            rest = after;
        }
    }

    /// Tells the host why the pod cannot be, before the machine is ended as failed.
    pub(crate) fn farewell(&mut self, line: &str) {
        let line: String = line.chars().take(4096).map(|c| if c == '\n' { ' ' } else { c }).collect();
        self.push(Kind::Log, 0, line.as_bytes());
        if self.flush().is_ok() {
            // The host's device takes the line while this waits; nothing tells when it has.
            let mut fds = [PollFd::new(&*self.socket, PollFlags::empty())];
            let _silent = poll(&mut fds, Some(&FAREWELL));
        }
    }

    /// Sends what the socket takes now.
    ///
    /// # Errors
    /// [`StreamError::Socket`].
    pub(crate) fn flush(&mut self) -> Result<(), StreamError> {
        while self.has_output() {
            let flags = rustix::net::SendFlags::NOSIGNAL;
            match rustix::net::send(&*self.socket, &self.outgoing[self.sent..], flags) {
                Ok(count) => self.sent += count,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(StreamError::Socket(error.into())),
            }
        }
        if self.has_output() {
            self.outgoing.drain(..self.sent);
        } else {
            self.outgoing.clear();
            self.outgoing.shrink_to(HIGH_WATER);
        }
        self.sent = 0;
        Ok(())
    }

    /// Forgets what waits for a host that is gone, so that containers can end.
    pub(crate) fn throw_away(&mut self) {
        self.outgoing.clear();
        self.sent = 0;
    }

    /// Reads what has come and returns the whole frames of it; `None` where nothing has.
    ///
    /// # Errors
    /// Each variant but [`StreamError::Window`]; frames before the error are lost.
    pub(crate) fn receive(&mut self) -> Result<Option<Vec<Frame>>, StreamError> {
        let start = self.incoming.len();
        self.incoming.resize(start + HEADER_LEN + MAX_PAYLOAD, 0);
        let read = rustix::io::read(&*self.socket, &mut self.incoming[start..]);
        self.incoming.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(StreamError::Closed),
            Ok(_) => take_frames(&mut self.incoming).map(Some).map_err(StreamError::Protocol),
            Err(Errno::INTR) => Ok(Some(Vec::new())),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(StreamError::Socket(error.into())),
        }
    }
}

/// Takes the whole frames off the front of `bytes`; less than one frame stays.
fn take_frames(bytes: &mut Vec<u8>) -> Result<Vec<Frame>, HeaderError> {
    let mut frames = Vec::new();
    let mut taken = 0;
    while let Some((head, rest)) = bytes[taken..].split_first_chunk::<HEADER_LEN>() {
        let header = Header::decode(*head)?;
        let Some(payload) = rest.get(..header.len as usize) else { break };
        frames.push(Frame {
            kind: header.kind,
            container: usize::from(header.container),
            payload: payload.to_vec(),
        });
        taken += HEADER_LEN + payload.len();
    }
    bytes.drain(..taken);
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Stream, Stream) {
        let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        let (a, b) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            flags,
            None,
        )
        .unwrap();
        (Stream::new(a), Stream::new(b))
    }

    #[test]
    fn frames_are_taken_whole_and_the_rest_stays() {
        let mut bytes = Header::new(Kind::Stdin, 3, 5).unwrap().encode().to_vec();
        bytes.extend_from_slice(b"hello");
        bytes.extend_from_slice(&Header::new(Kind::StdinEof, 3, 0).unwrap().encode());
        let whole = bytes.clone();
        bytes.extend_from_slice(&whole[..9]);
        let frames = take_frames(&mut bytes).unwrap();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0], Frame { kind: Kind::Stdin, container: 3, payload: b"hello".to_vec() });
        assert_eq!(frames[1].kind, Kind::StdinEof);
        assert_eq!(bytes, &whole[..9]);
    }

    #[test]
    fn every_prefix_of_a_frame_waits_for_the_rest() {
        let mut whole = Header::new(Kind::Resize, 0, 4).unwrap().encode().to_vec();
        whole.extend_from_slice(&[24, 0, 80, 0]);
        for cut in 0..whole.len() {
            let mut bytes = whole[..cut].to_vec();
            assert_eq!(take_frames(&mut bytes), Ok(Vec::new()));
            bytes.extend_from_slice(&whole[cut..]);
            assert_eq!(take_frames(&mut bytes).unwrap().len(), 1);
            assert!(bytes.is_empty());
        }
    }

    #[test]
    fn a_slow_reader_fills_the_buffer_and_loses_nothing() {
        let (mut guest, mut host) = pair();
        let chunk: Vec<u8> = (0..=250).cycle().take(MAX_PAYLOAD).collect();
        let mut pushed = 0;
        while guest.has_room() {
            guest.push(Kind::Stdout, 1, &chunk);
            guest.flush().unwrap();
            pushed += chunk.len();
        }
        let mut seen = Vec::new();
        while seen.len() < pushed {
            guest.flush().unwrap();
            for frame in host.receive().unwrap().unwrap_or_default() {
                assert_eq!(frame.kind, Kind::Stdout);
                seen.extend(frame.payload);
            }
        }
        assert!(seen.chunks(MAX_PAYLOAD).all(|part| part == chunk));
        assert!(guest.has_room() && !guest.has_output());
    }

    #[test]
    fn long_payloads_become_several_frames() {
        let (mut guest, mut host) = pair();
        guest.push(Kind::Final, 0, &vec![b'x'; MAX_PAYLOAD + 1]);
        let mut lengths = Vec::new();
        while lengths.len() < 2 {
            guest.flush().unwrap();
            lengths.extend(host.receive().unwrap().into_iter().flatten().map(|frame| frame.payload.len()));
        }
        assert_eq!(lengths, [MAX_PAYLOAD, 1]);
    }

    #[test]
    fn a_closed_host_is_noticed() {
        let (mut guest, host) = pair();
        drop(host);
        assert!(matches!(guest.receive(), Err(StreamError::Closed)));
    }
}
