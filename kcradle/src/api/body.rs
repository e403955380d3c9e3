//! The body of an answer (RFC 9112, section 6), read as it comes.

use std::io::{self, BufRead, Read};

use super::http::Connection;

/// The longest line of a chunk's length or of the fields behind the last one, in bytes.
const MAX_LINE: usize = 4096;
/// The most lines behind the last chunk.
const MAX_TRAILERS: usize = 100;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length in bytes.
    Length(u64),
    /// By an empty chunk.
    Chunked,
    /// By the connection's end.
    UntilEnd,
}

/// A body being read.
pub(crate) struct Body {
    connection: Connection,
    framing: Framing,
    /// Bytes of the body, or of its current chunk, still to come.
    left: u64,
    /// A chunk was read to its end, so that a line's end is due.
    within: bool,
    ended: bool,
}

impl Body {
    pub(super) fn new(connection: Connection, framing: Framing) -> Self {
        let left = if let Framing::Length(length) = framing { length } else { 0 };
        Self { connection, framing, left, within: false, ended: false }
    }

    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Makes sure that `left` counts what comes next; at the end it is 0.
    fn advance(&mut self) -> io::Result<()> {
        if self.framing != Framing::Chunked || self.left > 0 || self.ended {
            return Ok(());
        }
        if std::mem::replace(&mut self.within, true) && !self.line()?.is_empty() {
            return Err(malformed("a chunk that is longer than its length"));
        }
        let line = self.line()?;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let digits = std::str::from_utf8(digits).map_err(|_| malformed("a chunk without a length"))?.trim();
        let sound = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let length = u64::from_str_radix(digits, 16).ok().filter(|_| sound);
        self.left = length.ok_or_else(|| malformed("a chunk without a length"))?;
        if self.left == 0 {
            for _ in 0..MAX_TRAILERS {
                if self.line()?.is_empty() {
                    self.ended = true;
                    return Ok(());
                }
            }
            return Err(malformed("too many fields behind its body"));
        }
        Ok(())
    }

    /// A line without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.connection).take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            let short = line.len() + 1 < MAX_LINE;
            return Err(if short {
                io::ErrorKind::UnexpectedEof.into()
            } else {
                malformed("a line without an end")
            });
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the pod's answer has {what}"))
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.advance()?;
        if self.framing == Framing::UntilEnd {
            return self.connection.fill_buf();
        }
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.connection.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the pod ended within its answer"));
        }
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        Ok(&bytes[..count])
    }

    fn consume(&mut self, count: usize) {
        self.connection.consume(count);
        self.left = self.left.saturating_sub(count as u64);
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = {
            let mut bytes = self.fill_buf()?;
            bytes.read(buffer)?
        };
        self.consume(count);
        Ok(count)
    }
}
