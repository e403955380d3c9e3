//! Frames of the stdio stream, read and written on the host's end. See [`spec::frame`].
//!
//! The guest is hostile: a header that breaks the rules ends the stream, and no payload is longer than a frame's.

use std::io::{self, Read, Write};

use spec::frame::{HEADER_LEN, Header, HeaderError, Kind, MAX_PAYLOAD};
use spec::launch::LinkChange;
use thiserror::Error;

/// Why the stream cannot be read on.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    /// The stream broke.
    #[error("cannot read the stdio stream")]
    Read(#[source] io::Error),
    /// The guest broke the protocol.
    #[error("the guest broke the protocol of the stdio stream")]
    Header(#[source] HeaderError),
}

/// Reads frames one after the other into one buffer.
pub(crate) struct FrameReader<R> {
    stream: R,
    payload: Vec<u8>,
}

impl<R: Read> FrameReader<R> {
    /// Reads frames from `stream`.
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, payload: vec![0; MAX_PAYLOAD] }
    }

    /// The next frame and its payload; `None` at the stream's end, also inside a frame: a guest that lost its
    /// power had no time to finish.
    pub(crate) fn next(&mut self) -> Result<Option<(Header, &[u8])>, FrameError> {
        let mut bytes = [0; HEADER_LEN];
        if !read_whole(&mut self.stream, &mut bytes)? {
            return Ok(None);
        }
        let header = Header::decode(bytes).map_err(FrameError::Header)?;
        let payload = &mut self.payload[..header.len as usize];
        if !read_whole(&mut self.stream, payload)? {
            return Ok(None);
        }
        Ok(Some((header, payload)))
    }
}

/// Fills `bytes`; false where the stream ended before.
fn read_whole(stream: &mut impl Read, bytes: &mut [u8]) -> Result<bool, FrameError> {
    match stream.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Ok(false),
            _ => Err(FrameError::Read(error)),
        },
    }
}

/// A frame for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    kind: Kind,
    container: u8,
    payload: Vec<u8>,
}

impl Frame {
    /// Bytes of a container's standard input, at most [`MAX_PAYLOAD`].
    pub(crate) fn stdin(container: u8, bytes: &[u8]) -> Self {
        Self { kind: Kind::Stdin, container, payload: bytes.to_vec() }
    }

    /// The end of a container's standard input.
    pub(crate) fn stdin_eof(container: u8) -> Self {
        Self { kind: Kind::StdinEof, container, payload: Vec::new() }
    }

    /// A disk that has become larger, and its bytes.
    pub(crate) fn grow(disk: u32, bytes: u64) -> Self {
        let payload = [&disk.to_le_bytes()[..], &bytes.to_le_bytes()].concat();
        Self { kind: Kind::Grow, container: 0, payload }
    }

    /// An interface that comes or goes.
    pub(crate) fn link(change: &LinkChange) -> io::Result<Self> {
        Ok(Self { kind: Kind::Link, container: 0, payload: serde_json::to_vec(change)? })
    }

    /// The size of a container's terminal.
    pub(crate) fn resize(container: u8, rows: u16, columns: u16) -> Self {
        let payload = [rows.to_le_bytes(), columns.to_le_bytes()].concat();
        Self { kind: Kind::Resize, container, payload }
    }

    /// A signal for a container's first process.
    pub(crate) fn signal(container: u8, number: u32) -> Self {
        Self { kind: Kind::Signal, container, payload: number.to_le_bytes().to_vec() }
    }

    /// Stop all containers, with one grace period in seconds or each with its own.
    pub(crate) fn stop(grace: Option<u32>) -> Self {
        let payload = grace.map(|seconds| seconds.to_le_bytes().to_vec()).unwrap_or_default();
        Self { kind: Kind::Stop, container: 0, payload }
    }

    /// The exit record is kept.
    pub(crate) fn final_ack() -> Self {
        Self { kind: Kind::FinalAck, container: 0, payload: Vec::new() }
    }

    /// Writes the frame.
    pub(crate) fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let header = Header::new(self.kind, self.container, self.payload.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.payload.len());
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(&self.payload);
        stream.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back() {
        let mut wire = Vec::new();
        for frame in
            [Frame::stdin(3, b"hello"), Frame::resize(0, 24, 80), Frame::stop(None), Frame::stop(Some(7))]
        {
            frame.write(&mut wire).unwrap();
        }
        let mut reader = FrameReader::new(&wire[..]);
        let mut next = || {
            let (header, payload) = reader.next().unwrap().unwrap();
            (header.kind, header.container, payload.to_vec())
        };
        assert_eq!(next(), (Kind::Stdin, 3, b"hello".to_vec()));
        assert_eq!(next(), (Kind::Resize, 0, vec![24, 0, 80, 0]));
        assert_eq!(next(), (Kind::Stop, 0, vec![]));
        assert_eq!(next(), (Kind::Stop, 0, vec![7, 0, 0, 0]));
        assert!(reader.next().unwrap().is_none());
    }

    #[test]
    fn a_cut_frame_is_the_end_and_a_wrong_one_an_error() {
        let mut wire = Vec::new();
        Frame::stdin(0, b"hello").write(&mut wire).unwrap();
        assert!(FrameReader::new(&wire[..10]).next().unwrap().is_none());
        wire[7] = 0xff;
        assert!(matches!(
            FrameReader::new(&wire[..]).next(),
            Err(FrameError::Header(HeaderError::TooLong(_)))
        ));
        wire[0] = 99;
        assert!(matches!(FrameReader::new(&wire[..]).next(), Err(FrameError::Header(HeaderError::Kind(99)))));
    }
}
