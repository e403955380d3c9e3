//! Requests to a pod's own Docker API, over its `docker.sock`: ordinary ones through hyper, and those that turn the
//! connection into a stream, whose heads are written and read here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use pod::{PodDir, SocketDir, socket};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use vdocker::{EngineError, RequestBody};

/// Bytes of an answer that is read as a whole.
const MAX_ANSWER: usize = 16 << 20;

/// Bytes of the head of a stream's answer.
const MAX_HEAD: usize = 64 << 10;

/// Why a pod did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PodError {
    /// Nobody listens.
    #[error("cannot reach the pod")]
    Connect(#[source] io::Error),
    /// It broke off.
    #[error("the pod broke off")]
    Http(#[source] hyper::Error),
    /// It broke off while a stream was asked for.
    #[error("the pod broke off")]
    Stream(#[source] io::Error),
    /// It answered something else than was asked for.
    #[error("the pod's answer is not understood")]
    Answer,
    /// It refused.
    #[error("{1}")]
    Refused(StatusCode, String),
}

impl From<PodError> for EngineError {
    fn from(error: PodError) -> Self {
        match error {
            PodError::Refused(status, words) => refused(status, words),
            error => crate::failure::failed(&error),
        }
    }
}

/// What a status of the pod means.
fn refused(status: StatusCode, words: String) -> EngineError {
    match status {
        StatusCode::NOT_MODIFIED => EngineError::NotModified,
        StatusCode::BAD_REQUEST => EngineError::BadRequest(words),
        StatusCode::FORBIDDEN => EngineError::Denied(words),
        StatusCode::NOT_FOUND => EngineError::NotFound(words),
        StatusCode::CONFLICT => EngineError::Conflict(words),
        StatusCode::NOT_IMPLEMENTED => EngineError::Unsupported(words),
        StatusCode::SERVICE_UNAVAILABLE => EngineError::Busy(words),
        _ => EngineError::Failed(words),
    }
}

/// A connection to a pod, which may wait to be accepted.
pub(crate) fn connect(dir: &PodDir) -> Result<UnixStream, PodError> {
    let connected = SocketDir::open(dir).and_then(|sockets| sockets.connect(socket::DOCKER));
    let stream = connected.and_then(|stream| {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    });
    stream.map_err(PodError::Connect)
}

/// The body of a request to a pod: none, or a client's as it comes in.
pub(crate) enum Upload {
    None,
    Bytes(Bytes),
    Client(RequestBody),
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::None => Poll::Ready(None),
            bytes @ Self::Bytes(_) => match std::mem::replace(bytes, Self::None) {
                Self::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            Self::Client(body) => body.poll_chunk(context).map(|chunk| Some(chunk?.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Client(body) => body.is_empty(),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::None => hyper::body::SizeHint::with_exact(0),
            Self::Bytes(bytes) => hyper::body::SizeHint::with_exact(bytes.len() as u64),
            Self::Client(body) if body.is_empty() => hyper::body::SizeHint::with_exact(0),
            Self::Client(_) => hyper::body::SizeHint::default(),
        }
    }
}

/// Asks, and answers when the head of the pod's answer is there. Dropping the answer ends the connection.
pub(crate) async fn send(
    stream: UnixStream,
    method: Method,
    target: &str,
    headers: &HeaderMap,
    body: Upload,
) -> Result<hyper::Response<Incoming>, PodError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(PodError::Http)?;
    // Its error is the request's too.
    tokio::task::spawn_local(async move { drop(connection.await) });
    let mut request = hyper::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().map_err(|_| PodError::Answer)?;
    let own = request.headers_mut();
    own.insert(HOST, HeaderValue::from_static("pod"));
    own.extend(headers.get(CONTENT_TYPE).map(|value| (CONTENT_TYPE, value.clone())));
    sender.send_request(request).await.map_err(PodError::Http)
}

/// Asks something small and answers its status, for which anything that is no success is an error.
pub(crate) async fn ask(dir: &PodDir, method: Method, target: &str) -> Result<StatusCode, PodError> {
    let answer = send(connect(dir)?, method, target, &HeaderMap::new(), Upload::None).await?;
    Ok(good(answer).await?.status())
}

/// Asks for JSON.
pub(crate) async fn get<T: DeserializeOwned>(dir: &PodDir, target: &str) -> Result<T, PodError> {
    let answer = send(connect(dir)?, Method::GET, target, &HeaderMap::new(), Upload::None).await?;
    let bytes = whole(good(answer).await?.into_body()).await?;
    serde_json::from_slice(&bytes).map_err(|_| PodError::Answer)
}

/// An answer that is a success.
pub(crate) async fn good(answer: hyper::Response<Incoming>) -> Result<hyper::Response<Incoming>, PodError> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let bytes = whole(answer.into_body()).await?;
    Err(PodError::Refused(status, words(&bytes)))
}

/// All of a body.
pub(crate) async fn whole(body: Incoming) -> Result<Bytes, PodError> {
    let all = Limited::new(body, MAX_ANSWER).collect().await;
    let all = all.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(error) => PodError::Http(*error),
        Err(_) => PodError::Answer,
    });
    Ok(all?.to_bytes())
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

/// What an error's JSON says.
fn words(bytes: &[u8]) -> String {
    let parsed = serde_json::from_slice::<Message>(bytes);
    parsed.map_or_else(|_| String::from_utf8_lossy(bytes).trim().to_owned(), |parsed| parsed.message)
}

/// A connection that has become a stream, and what was read of it already.
pub(crate) struct Upgraded {
    pub(crate) stream: UnixStream,
    pub(crate) read: Bytes,
}

/// A stream that is asked for, and not yet answered.
pub(crate) struct Asked(UnixStream);

/// What a connection is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Bytes as they are.
    Tcp,
    /// Frames (RFC 6455). The pod's are handed on as they are, so nobody needs the answer to the key.
    WebSocket,
}

impl Protocol {
    const fn method(self) -> &'static str {
        match self {
            Self::Tcp => "POST",
            Self::WebSocket => "GET",
        }
    }

    const fn upgrade(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket => {
                "websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
            }
        }
    }
}

/// Asks for a stream; `json` is the request's body.
pub(crate) async fn ask_stream(
    mut stream: UnixStream,
    protocol: Protocol,
    target: &str,
    json: Option<&[u8]>,
) -> Result<Asked, PodError> {
    let body = json.unwrap_or_default();
    let content_type = if json.is_some() { "Content-Type: application/json\r\n" } else { "" };
    let (method, upgrade, length) = (protocol.method(), protocol.upgrade(), body.len());
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: pod\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\
         {content_type}Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    head.extend_from_slice(body);
    stream.write_all(&head).await.map_err(PodError::Stream)?;
    Ok(Asked(stream))
}

impl Asked {
    /// The stream, once the pod has answered.
    ///
    /// # Errors
    /// The pod breaks off, or refuses.
    pub(crate) async fn answer(self) -> Result<Upgraded, PodError> {
        let Self(mut stream) = self;
        let mut bytes = BytesMut::with_capacity(4096);
        loop {
            if stream.read_buf(&mut bytes).await.map_err(PodError::Stream)? == 0 {
                return Err(PodError::Stream(io::ErrorKind::UnexpectedEof.into()));
            }
            if let Some((status, length)) = parse(&bytes)? {
                let read = bytes.split_off(length).freeze();
                if status == StatusCode::SWITCHING_PROTOCOLS {
                    return Ok(Upgraded { stream, read });
                }
                return Err(refusal(stream, status, &bytes, read).await);
            }
            if bytes.len() > MAX_HEAD {
                return Err(PodError::Answer);
            }
        }
    }
}

/// The status of a head, and its length, where it is whole.
fn parse(bytes: &[u8]) -> Result<Option<(StatusCode, usize)>, PodError> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes).map_err(|_| PodError::Answer)? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(length) => {
            let code = response.code.and_then(|code| StatusCode::from_u16(code).ok());
            Ok(Some((code.ok_or(PodError::Answer)?, length)))
        }
    }
}

/// The pod's words where it gives no stream: as many bytes as its head says.
async fn refusal(mut stream: UnixStream, status: StatusCode, head: &[u8], read: Bytes) -> PodError {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let _parsed = response.parse(head);
    let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = header.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let length = length.unwrap_or(0).min(MAX_HEAD);
    let mut body = read.to_vec();
    while body.len() < length {
        match stream.read_buf(&mut body).await {
            Ok(1..) => {}
            _ => break,
        }
    }
    PodError::Refused(status, words(&body))
}
