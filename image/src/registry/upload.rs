//! Content into a registry (OCI distribution specification 1.1, "Push"): a blob that is there already is not sent, one
//! that another repository has is mounted, and a transfer that breaks goes on where it broke.

use std::io::{self, Read};

use ureq::Body;
use ureq::http::header::{self, HeaderName};
use ureq::http::{Method, Response, StatusCode};

use super::client::Client;
use super::{RegistryError, auth};
use crate::digest::Digest;
use crate::store::Blob;

/// Bytes that must have gone for a break to count as the first one again.
const NEWS: u64 = 1 << 20;

/// Bytes between two reports.
const REPORT: u64 = 256 << 10;

/// How a blob came into a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// It was there.
    Existed,
    /// From that other repository of the registry.
    Mounted(String),
    /// It was sent.
    Sent,
}

/// Opens a blob from its beginning.
pub(crate) type Open<'a> = dyn Fn() -> io::Result<Box<dyn Read>> + Sync + 'a;

/// An upload under way: where the next request goes, and how much has come.
struct Session {
    url: String,
    offset: u64,
}

/// What is sent and who is told.
struct Sending<'a> {
    blob: Blob,
    open: &'a Open<'a>,
    told: &'a (dyn Fn(u64) + Sync),
    stopped: &'a (dyn Fn() -> bool + Sync),
}

impl Client<'_> {
    /// Brings a blob into the repository, from `mount` if the registry has it there.
    pub(crate) fn push_blob(
        &self,
        blob: Blob,
        mount: Option<&str>,
        open: &Open<'_>,
        told: &(dyn Fn(u64) + Sync),
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<Moved, RegistryError> {
        if self.again(stopped, || self.has_blob(blob.digest))? {
            return Ok(Moved::Existed);
        }
        let mut session = None;
        if let Some(from) = mount {
            let query = format!("?mount={}&from={}", blob.digest, auth::encode(from));
            let response = self.again(stopped, || self.start(&query))?;
            if response.1.status() == StatusCode::CREATED {
                return Ok(Moved::Mounted(from.to_owned()));
            }
            session = Some(self.session(&response.0, &response.1, 0)?);
        }
        self.upload(session, &Sending { blob, open, told, stopped })?;
        Ok(Moved::Sent)
    }

    /// Puts a manifest under a tag.
    pub(crate) fn push_manifest(
        &self,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), RegistryError> {
        let url = self.url("manifests", tag);
        let headers = [(header::CONTENT_TYPE, media_type.to_owned())];
        let response = self.again(stopped, || {
            let response = self.send(Method::PUT, &url, &headers, bytes.len() as u64, &mut &bytes[..])?;
            if response.status().is_success() {
                Ok(response)
            } else {
                Err(self.refusal("manifest upload", tag, response))
            }
        })?;
        let told = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        let expected = Digest::of(bytes);
        match told {
            Some(found) if found != expected.to_string() => {
                Err(RegistryError::Taken { expected, found: found.escape_debug().to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Does a request again where that may help.
    fn again<T>(
        &self,
        stopped: &dyn Fn() -> bool,
        request: impl Fn() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut failures = 0;
        loop {
            match request() {
                Err(error) if error.is_transient() && failures + 1 < self.patience.attempts => {
                    failures += 1;
                    self.pause(&error, failures, stopped)?;
                }
                done => return done,
            }
        }
    }

    /// Waits before the next attempt, unless a login was all that was missing.
    fn pause(
        &self,
        error: &RegistryError,
        failures: u32,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), RegistryError> {
        let ended = || stopped() || self.cancelled();
        if !matches!(error, RegistryError::Again(_)) {
            self.patience.wait(failures, ended);
        }
        if ended() { Err(RegistryError::Cancelled) } else { Ok(()) }
    }

    /// Begins an upload, or a mount: the address and the answer.
    fn start(&self, query: &str) -> Result<(String, Response<Body>), RegistryError> {
        let url = self.url("blobs", "uploads/");
        let response = self.send(Method::POST, &format!("{url}{query}"), &[], 0, &mut io::empty())?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::CREATED => Ok((url, response)),
            _ => Err(self.refusal("upload", "", response)),
        }
    }

    fn session(&self, url: &str, response: &Response<Body>, offset: u64) -> Result<Session, RegistryError> {
        Ok(Session { url: self.location(url, response)?, offset })
    }

    /// Sends a blob, going on where it breaks.
    fn upload(&self, mut session: Option<Session>, sending: &Sending<'_>) -> Result<(), RegistryError> {
        let (mut failures, mut broke_at) = (0, 0);
        loop {
            let Err(error) = self.try_upload(&mut session, sending) else { return Ok(()) };
            let at = session.as_ref().map_or(0, |session| session.offset);
            if at.saturating_sub(broke_at) >= NEWS {
                failures = 0;
            }
            broke_at = at;
            failures += 1;
            if !error.is_transient() || failures >= self.patience.attempts {
                return Err(error);
            }
            self.pause(&error, failures, sending.stopped)?;
            session = session.and_then(|session| self.resume(&session, sending.blob.size));
        }
    }

    /// One attempt: the bytes that are missing, then the digest that closes the upload.
    fn try_upload(&self, session: &mut Option<Session>, sending: &Sending<'_>) -> Result<(), RegistryError> {
        let Blob { digest, size } = sending.blob;
        if session.is_none() {
            let (url, response) = self.start("")?;
            *session = Some(self.session(&url, &response, 0)?);
        }
        let Some(at) = session.as_mut() else { return Err(RegistryError::Cancelled) };
        if at.offset < size {
            let response = self.patch(at, sending)?;
            *at = self.session(&at.url, &response, size)?;
        }
        let separator = if at.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}digest={}", at.url, auth::encode(&digest.to_string()));
        let kind = [(header::CONTENT_TYPE, "application/octet-stream".to_owned())];
        let response = self.send(Method::PUT, &url, &kind, 0, &mut io::empty())?;
        if response.status().is_success() { Ok(()) } else { Err(self.refusal("upload", "", response)) }
    }

    fn patch(&self, at: &Session, sending: &Sending<'_>) -> Result<Response<Body>, RegistryError> {
        let Blob { digest, size } = sending.blob;
        let failed = |error| RegistryError::Blob(digest, error);
        let mut from = (sending.open)().map_err(failed)?;
        io::copy(&mut (&mut from).take(at.offset), &mut io::sink()).map_err(failed)?;
        let mut headers: Vec<(HeaderName, String)> =
            vec![(header::CONTENT_TYPE, "application/octet-stream".to_owned())];
        if at.offset > 0 {
            headers.push((header::CONTENT_RANGE, format!("{}-{}", at.offset, size - 1)));
        }
        let mut body = Reported { from, done: at.offset, reported: at.offset, sending, broken: None };
        let sent = self.send(Method::PATCH, &at.url, &headers, size - at.offset, &mut body);
        if let Some(error) = body.broken {
            return Err(failed(error));
        }
        let response = match sent {
            // A request that cannot go on is over.
            Err(_) if (sending.stopped)() || self.cancelled() => return Err(RegistryError::Cancelled),
            sent => sent?,
        };
        if response.status().is_success() { Ok(response) } else { Err(self.refusal("upload", "", response)) }
    }

    /// What has come of an upload that broke; `None` where it has to begin anew.
    fn resume(&self, session: &Session, size: u64) -> Option<Session> {
        let response = self.send(Method::GET, &session.url, &[], 0, &mut io::empty()).ok()?;
        if response.status() != StatusCode::NO_CONTENT {
            return None;
        }
        let range = response.headers().get(header::RANGE)?.to_str().ok()?;
        let last: u64 = range.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
        // Nothing and one byte are told alike.
        let offset = if last == 0 { 0 } else { last.checked_add(1)? };
        let session = match response.headers().contains_key(header::LOCATION) {
            true => self.session(&session.url, &response, offset).ok()?,
            false => Session { url: session.url.clone(), offset },
        };
        (offset > 0 && offset <= size).then_some(session)
    }
}

/// The bytes on their way out: counted, reported, and ended where somebody wants it.
struct Reported<'a> {
    from: Box<dyn Read>,
    done: u64,
    reported: u64,
    sending: &'a Sending<'a>,
    broken: Option<io::Error>,
}

impl Read for Reported<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if (self.sending.stopped)() {
            return Err(io::Error::other("cancelled"));
        }
        let count = self.from.read(buf).map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            self.broken = Some(error);
            told
        })?;
        self.done += count as u64;
        if self.done - self.reported >= REPORT || count == 0 && self.done > self.reported {
            self.reported = self.done;
            (self.sending.told)(self.done);
        }
        Ok(count)
    }
}
