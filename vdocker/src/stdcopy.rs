//! Docker's framing of two streams in one (Docker Engine API, "Attach to a container", stream format): a byte for
//! the stream, three zeros, the length as a big-endian u32, then that many bytes.

use bytes::Buf;

use crate::frame::Frame;
use crate::log::Stream;

/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 8;

/// Which stream a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Standard input, which no server sends.
    Stdin = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// An error of the server, for people.
    SystemError = 3,
}

impl From<Stream> for Kind {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout,
            Stream::Stderr => Self::Stderr,
        }
    }
}

/// The header of a frame with `len` bytes.
#[must_use]
pub fn header(kind: Kind, len: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = len.to_be_bytes();
    [kind as u8, 0, 0, 0, a, b, c, d]
}

/// Frames a payload.
///
/// # Panics
/// For 4 GiB and more: pieces of streams are small.
#[must_use]
pub fn frame<P: Buf>(kind: impl Into<Kind>, payload: P) -> Frame<P> {
    let len = u32::try_from(payload.remaining()).expect("a piece of a stream is shorter than 4 GiB");
    Frame::new(&header(kind.into(), len), payload)
}

/// What is no stream of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first byte of a header names no stream.
    #[error("frame of unknown stream {0}")]
    UnknownStream(u8),
    /// The stream ended within a frame.
    #[error("stream ends {0} bytes before its frame does")]
    Truncated(u32),
    /// The stream ended within a header.
    #[error("stream ends within a frame's header")]
    TruncatedHeader,
}

/// Takes frames apart, however they are cut by reads. Keeps a header at most, copies no payload, allocates nothing.
#[derive(Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER_LEN],
    /// Bytes of the header that are there.
    filled: usize,
    /// Bytes of the payload still to come.
    left: u32,
}

impl Decoder {
    /// The next piece of a payload at the start of `input`, which is moved behind it. `None`: all input is taken.
    ///
    /// # Errors
    /// [`DecodeError::UnknownStream`].
    pub fn decode<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<(Kind, &'a [u8])>, DecodeError> {
        loop {
            if self.left == 0 && self.filled == HEADER_LEN {
                self.filled = 0;
            }
            if self.filled < HEADER_LEN {
                let Some(()) = self.fill_header(input) else { return Ok(None) };
            }
            let kind = self.kind()?;
            if self.left == 0 {
                continue;
            }
            if input.is_empty() {
                return Ok(None);
            }
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
            let (piece, rest) = input.split_at(wanted);
            *input = rest;
            self.left -= u32::try_from(wanted).unwrap_or(self.left);
            return Ok(Some((kind, piece)));
        }
    }

    /// Tells whether the stream may end here.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::TruncatedHeader`].
    pub fn finish(&self) -> Result<(), DecodeError> {
        match (self.filled, self.left) {
            (0 | HEADER_LEN, 0) => Ok(()),
            (HEADER_LEN, left) => Err(DecodeError::Truncated(left)),
            _ => Err(DecodeError::TruncatedHeader),
        }
    }

    /// Takes header bytes from the input; `None` where they are not all there.
    fn fill_header(&mut self, input: &mut &[u8]) -> Option<()> {
        let wanted = (HEADER_LEN - self.filled).min(input.len());
        let (bytes, rest) = input.split_at(wanted);
        self.header[self.filled..self.filled + wanted].copy_from_slice(bytes);
        self.filled += wanted;
        *input = rest;
        if self.filled < HEADER_LEN {
            return None;
        }
        let [_, _, _, _, len @ ..] = self.header;
        self.left = u32::from_be_bytes(len);
        Some(())
    }

    const fn kind(&self) -> Result<Kind, DecodeError> {
        match self.header[0] {
            0 => Ok(Kind::Stdin),
            1 => Ok(Kind::Stdout),
            2 => Ok(Kind::Stderr),
            3 => Ok(Kind::SystemError),
            other => Err(DecodeError::UnknownStream(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn encode(frames: &[(Kind, &'static [u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(kind, payload) in frames {
            let mut frame = frame(kind, Bytes::from_static(payload));
            bytes.extend_from_slice(&frame.copy_to_bytes(frame.remaining()));
        }
        bytes
    }

    /// Decodes input cut into pieces; neighbours of one stream are joined.
    fn decode(input: &[u8], cut: usize) -> Result<Vec<(Kind, Vec<u8>)>, DecodeError> {
        let mut decoder = Decoder::default();
        let mut found: Vec<(Kind, Vec<u8>)> = Vec::new();
        for mut piece in input.chunks(cut) {
            while let Some((kind, bytes)) = decoder.decode(&mut piece)? {
                match found.last_mut() {
                    Some((last, joined)) if *last == kind => joined.extend_from_slice(bytes),
                    _ => found.push((kind, bytes.to_vec())),
                }
            }
            assert!(piece.is_empty());
        }
        decoder.finish().map(|()| found)
    }

    #[test]
    fn writes_the_documented_header() {
        assert_eq!(header(Kind::Stderr, 0x0102_0304), [2, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(encode(&[(Kind::Stdout, b"hi")]), [1, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']);
    }

    #[test]
    fn decodes_what_it_encodes_however_it_is_cut() {
        let bytes = encode(&[
            (Kind::Stdout, b"one"),
            (Kind::Stderr, b""),
            (Kind::Stderr, b"two"),
            (Kind::Stdout, b""),
        ]);
        for cut in 1..=bytes.len() {
            let found = decode(&bytes, cut).unwrap();
            assert_eq!(
                found,
                [(Kind::Stdout, b"one".to_vec()), (Kind::Stderr, b"two".to_vec())],
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_frame() {
        assert_eq!(decode(&[9, 0, 0, 0, 0, 0, 0, 1, b'x'], 99), Err(DecodeError::UnknownStream(9)));
        assert_eq!(decode(b"HTTP/1.1 200 OK", 99), Err(DecodeError::UnknownStream(b'H')));
    }

    #[test]
    fn an_end_within_a_frame_is_an_error() {
        let bytes = encode(&[(Kind::Stdout, b"four")]);
        assert_eq!(decode(&bytes[..9], 99), Err(DecodeError::Truncated(3)));
        assert_eq!(decode(&bytes[..8], 99), Err(DecodeError::Truncated(4)));
        assert_eq!(decode(&bytes[..7], 99), Err(DecodeError::TruncatedHeader));
        assert_eq!(decode(&[], 99), Ok(Vec::new()));
    }

    #[test]
    fn the_longest_length_allocates_nothing() {
        let mut decoder = Decoder::default();
        let mut input = &[1, 0, 0, 0, 255, 255, 255, 255, b'x'][..];
        assert_eq!(decoder.decode(&mut input), Ok(Some((Kind::Stdout, &b"x"[..]))));
        assert_eq!(decoder.decode(&mut input), Ok(None));
        assert_eq!(decoder.finish(), Err(DecodeError::Truncated(u32::MAX - 1)));
    }
}
