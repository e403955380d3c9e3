//! HTTP/1.1 on one connection (RFC 9112): a request, its answer, and the raw stream that some answers lead to.
//!
//! The peer is the guest: its head is parsed by `httparse` within [`MAX_HEAD`], its body by [`super::body`].

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::ApiError;
use super::body::{Body, Framing};

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The most heads before that of the answer proper (status 1xx).
const MAX_INTERIM: usize = 16;
/// The most fields of a head.
const MAX_FIELDS: usize = 100;
/// Bytes that are read, or sent, at once.
pub(super) const BUFFER: usize = 64 << 10;

/// What goes with a request.
pub(crate) enum Upload<'a> {
    /// Nothing.
    None,
    /// A document.
    Json(Vec<u8>),
    /// A document, and the wish to go on with a raw stream.
    Upgrade(Vec<u8>),
    /// An archive of unknown length.
    Archive(&'a mut dyn Read),
}

/// A connection to the API.
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream: BufReader::with_capacity(BUFFER, stream) }
    }

    /// Sends a request and reads the head of the answer.
    pub(super) fn request(
        mut self,
        method: &str,
        path: &str,
        upload: Upload<'_>,
    ) -> Result<Response, ApiError> {
        let sent = self.send(method, path, upload);
        // A server that was sent half an archive waits for the rest.
        if let Err(error @ ApiError::Source(_)) = sent {
            return Err(error);
        }
        // One that has read enough answers and closes: what it says matters more than what it did not read.
        match (sent, self.head()) {
            (_, Ok(head)) => Ok(self.response(method, head)),
            (Err(error), Err(ApiError::Ended | ApiError::Broken(_))) | (_, Err(error)) => Err(error),
        }
    }

    fn send(&self, method: &str, path: &str, upload: Upload<'_>) -> Result<(), ApiError> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: docker\r\nUser-Agent: kcradle\r\n");
        let write = |bytes: &[u8]| self.stream.get_ref().write_all(bytes).map_err(ApiError::Broken);
        match upload {
            Upload::None => {
                head += "Content-Length: 0\r\nConnection: close\r\n\r\n";
                write(head.as_bytes())
            }
            Upload::Json(body) => {
                head += &format!(
                    "Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                write(&[head.as_bytes(), &body].concat())
            }
            Upload::Upgrade(body) => {
                head += &format!(
                    "Content-Type: application/json\r\nContent-Length: {}\r\nConnection: Upgrade\r\n\
                     Upgrade: tcp\r\n\r\n",
                    body.len()
                );
                write(&[head.as_bytes(), &body].concat())
            }
            Upload::Archive(archive) => {
                head += "Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\
                         Connection: close\r\n\r\n";
                write(head.as_bytes())?;
                send_chunks(archive, write)
            }
        }
    }

    /// Reads the head of the answer, and not a byte more.
    fn head(&mut self) -> Result<Head, ApiError> {
        let (mut bytes, mut interim) = (Vec::new(), 0);
        loop {
            let seen = bytes.len();
            let more = self.stream.fill_buf().map_err(ApiError::Broken)?;
            if more.is_empty() {
                return Err(ApiError::Ended);
            }
            bytes.extend_from_slice(more);
            match Head::parse(&bytes)? {
                Some((head, length)) => {
                    self.stream.consume(length - seen);
                    if !head.is_interim() {
                        return Ok(head);
                    }
                    interim += 1;
                    if interim > MAX_INTERIM {
                        return Err(ApiError::Malformed("no answer behind so many interim ones"));
                    }
                    bytes.clear();
                }
                None if bytes.len() > MAX_HEAD => return Err(ApiError::Malformed("a head that is too long")),
                None => self.stream.consume(bytes.len() - seen),
            }
        }
    }

    fn response(self, method: &str, head: Head) -> Response {
        let framing = match head.status {
            101 => Framing::UntilEnd,
            204 | 304 => Framing::Length(0),
            _ if method == "HEAD" => Framing::Length(0),
            _ => head.framing,
        };
        Response { status: head.status, path_stat: head.path_stat, body: Body::new(self, framing) }
    }

    /// The other half of a raw stream, for the thread that writes.
    pub(crate) fn writer(&self) -> io::Result<Writer> {
        Ok(Writer(self.stream.get_ref().try_clone()?))
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl BufRead for Connection {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.stream.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.stream.consume(count);
    }
}

/// The writing half of a raw stream. Dropping it leaves the half open: the connection has another descriptor.
pub(crate) struct Writer(UnixStream);

impl Writer {
    /// Ends this half; the other one goes on.
    pub(crate) fn finish(&self) {
        // A peer that has gone needs no end.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn send_chunks(
    archive: &mut dyn Read,
    mut write: impl FnMut(&[u8]) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    /// Room for the length in front of a chunk: hexadecimal digits and the line's end.
    const FRONT: usize = 10;
    let mut buffer = vec![0; FRONT + BUFFER + 2];
    loop {
        let count = match archive.read(&mut buffer[FRONT..FRONT + BUFFER]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count.map_err(ApiError::Source)?,
        };
        if count == 0 {
            return write(b"0\r\n\r\n");
        }
        buffer[..FRONT].copy_from_slice(format!("{count:08x}\r\n").as_bytes());
        buffer[FRONT + count..FRONT + count + 2].copy_from_slice(b"\r\n");
        write(&buffer[..FRONT + count + 2])?;
    }
}

/// What matters of an answer's head.
struct Head {
    status: u16,
    framing: Framing,
    /// `X-Docker-Container-Path-Stat`.
    path_stat: Option<Vec<u8>>,
}

impl Head {
    /// The head at the start of `bytes` and its length; `None` where it is not whole.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ApiError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(ApiError::Malformed("no HTTP")),
        };
        let field = |name: &str| {
            let found = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            found.map(|field| field.value)
        };
        let chunked = field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"));
        let framing = match field("content-length") {
            _ if chunked => Framing::Chunked,
            Some(value) => {
                let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                Framing::Length(length.ok_or(ApiError::Malformed("a length that is no number"))?)
            }
            None => Framing::UntilEnd,
        };
        let path_stat = field("x-docker-container-path-stat").map(<[u8]>::to_vec);
        Ok(Some((Self { status: response.code.unwrap_or(0), framing, path_stat }, length)))
    }

    /// Whether the answer proper is still to come.
    fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// An answer, its body not read yet.
pub(crate) struct Response {
    status: u16,
    path_stat: Option<Vec<u8>>,
    body: Body,
}

impl Response {
    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// What the API says of the path that an archive is of, in base64.
    pub(crate) fn path_stat(&self) -> Option<&[u8]> {
        self.path_stat.as_deref()
    }

    /// The body.
    pub(crate) fn into_body(self) -> Body {
        self.body
    }

    /// The raw stream of an upgraded connection.
    pub(super) fn into_stream(self) -> Option<Connection> {
        (self.status == 101).then(|| self.body.into_connection())
    }
}

#[cfg(test)]
mod fuzz;
