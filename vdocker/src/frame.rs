//! A piece of a stream behind the few bytes that its protocol puts before it: written with one vectored write, its
//! payload never copied. Frames of stdcopy and of WebSockets, and plain pieces, are all of this type.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// The longest header: that of a WebSocket frame with a 64-bit length.
const MAX_HEADER: usize = 10;

/// A header of at most ten bytes and a payload in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame<P = Bytes> {
    header: [u8; MAX_HEADER],
    start: u8,
    end: u8,
    payload: P,
}

impl<P> Frame<P> {
    /// Puts a header before a payload.
    ///
    /// # Panics
    /// For a header that is longer than ten bytes.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a header has at most ten bytes")]
    pub fn new(header: &[u8], payload: P) -> Self {
        let mut frame = Self { header: [0; MAX_HEADER], start: 0, end: header.len() as u8, payload };
        frame.header[..header.len()].copy_from_slice(header);
        frame
    }

    fn header(&self) -> &[u8] {
        &self.header[usize::from(self.start)..usize::from(self.end)]
    }
}

impl<P> From<P> for Frame<P> {
    fn from(payload: P) -> Self {
        Self::new(&[], payload)
    }
}

impl<P: Buf> Buf for Frame<P> {
    fn remaining(&self) -> usize {
        self.header().len() + self.payload.remaining()
    }

    fn chunk(&self) -> &[u8] {
        if self.header().is_empty() { self.payload.chunk() } else { self.header() }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = [self.header(), self.payload.chunk()];
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(parts.into_iter().filter(|part| !part.is_empty())) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most the header's length, which is ten bytes or less"
    )]
    fn advance(&mut self, count: usize) {
        let of_header = count.min(self.header().len());
        self.start += of_header as u8;
        self.payload.advance(count - of_header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_header_and_payload_however_it_is_taken() {
        for step in 1..8 {
            let mut frame = Frame::new(b"head", Bytes::from_static(b"payload"));
            let mut taken = Vec::new();
            while frame.has_remaining() {
                let chunk = frame.chunk();
                let count = chunk.len().min(step);
                taken.extend_from_slice(&chunk[..count]);
                frame.advance(count);
            }
            assert_eq!(taken, b"headpayload", "{step} bytes a time");
        }
    }

    #[test]
    fn fills_as_many_slices_as_it_has_parts() {
        let mut slices = [IoSlice::new(&[]); 4];
        let frame = Frame::new(b"h", Bytes::from_static(b"p"));
        assert_eq!(frame.chunks_vectored(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"h"[..], &b"p"[..]));
        assert_eq!(frame.chunks_vectored(&mut slices[..1]), 1);
        let (plain, empty) = (Frame::from(Bytes::from_static(b"p")), Frame::<Bytes>::default());
        assert_eq!((plain.chunks_vectored(&mut slices), empty.chunks_vectored(&mut slices)), (1, 0));
    }

    #[test]
    fn advances_over_the_border() {
        let mut frame = Frame::new(b"head", Bytes::from_static(b"payload"));
        frame.advance(6);
        assert_eq!((frame.remaining(), frame.chunk()), (5, &b"yload"[..]));
    }
}
