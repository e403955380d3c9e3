//! A blob as a stream that survives broken connections: it goes on where it broke (RFC 9110, "Range Requests").

use std::io::{self, Read};

use ureq::BodyReader;

use super::RegistryError;
use super::client::{Client, chain};
use crate::digest::Digest;
use crate::layer::{At, LayerError};
use crate::progress::Event;

/// Bytes that must have come for a break to count as the first one again.
const NEWS: u64 = 1 << 20;

/// Reads one blob.
pub(super) struct BlobReader<'a> {
    client: &'a Client<'a>,
    digest: Digest,
    size: u64,
    at: At<'a>,
    body: Option<BodyReader<'static>>,
    done: u64,
    broke_at: u64,
    failures: u32,
    ended: bool,
}

impl<'a> BlobReader<'a> {
    pub(super) fn new(client: &'a Client<'a>, digest: Digest, size: u64, at: At<'a>) -> Self {
        Self { client, digest, size, at, body: None, done: 0, broke_at: 0, failures: 0, ended: false }
    }

    /// Asks for what is missing; a registry that cannot resume sends all, and the known part is passed over.
    fn open(&self) -> Result<BodyReader<'static>, RegistryError> {
        let response = self.client.get("blobs", &self.digest.to_string(), self.done)?;
        let resumed = self.done > 0 && Client::resumes_at(&response, self.done);
        let skip = if resumed { 0 } else { self.done };
        let body = response.into_body();
        if body.content_length().is_some_and(|len| len != self.size - self.done + skip) {
            return Err(Client::too_long(self.digest, self.size));
        }
        let mut body = body.into_reader();
        let skipped = io::copy(&mut (&mut body).take(skip), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == skip => Ok(body),
            Ok(_) => Err(self.client.transport(ureq::Error::Io(io::ErrorKind::UnexpectedEof.into()))),
            Err(error) => Err(self.client.transport(error.into())),
        }
    }

    /// Takes note of a break; gives up after too many that brought nothing new.
    fn broke(&mut self, error: RegistryError) -> io::Result<()> {
        self.body = None;
        if self.done - self.broke_at >= NEWS {
            self.failures = 0;
        }
        self.broke_at = self.done;
        self.failures += 1;
        if !error.is_transient() {
            return Err(io::Error::other(error));
        }
        if self.failures >= self.client.patience.attempts {
            let RegistryError::Transport { source, .. } = error else { return Err(io::Error::other(error)) };
            let (digest, done, size, attempts) = (self.digest, self.done, self.size, self.failures);
            let source = source.into_io();
            return Err(io::Error::other(RegistryError::Truncated { digest, done, size, attempts, source }));
        }
        let cause = chain(&error);
        self.at.way.progress.event(Event::Retry { layer: Some(self.at.layer), cause: &cause });
        self.client.patience.wait(self.failures, || self.at.way.stopped());
        if self.at.way.stopped() { Err(io::Error::other(LayerError::Cancelled)) } else { Ok(()) }
    }

    /// One read of the open body; `None` where it broke.
    fn step(&mut self, body: &mut BodyReader<'static>, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let error = match body.read(buf) {
            Ok(0) => io::ErrorKind::UnexpectedEof.into(),
            Ok(count) => return Ok(Some(count)),
            Err(error) => error,
        };
        self.broke(self.client.transport(error.into())).map(|()| None)
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.ended {
            return Ok(0);
        }
        loop {
            let Some(mut body) = self.body.take() else {
                match self.open() {
                    Ok(body) => self.body = Some(body),
                    Err(error) => self.broke(error)?,
                }
                continue;
            };
            let left = self.size - self.done;
            if left == 0 {
                // One more read: a registry that sends more than it said is told from one that does not.
                self.ended = true;
                return match body.read(&mut [0; 1]) {
                    Ok(1..) => Err(io::Error::other(Client::too_long(self.digest, self.size))),
                    _ => Ok(0),
                };
            }
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
            if let Some(count) = self.step(&mut body, &mut buf[..want])? {
                self.done += count as u64;
                self.body = Some(body);
                return Ok(count);
            }
        }
    }
}
