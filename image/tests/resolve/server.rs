//! A registry in this process that does what a test wants of it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use image::Digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::sample::Sample;

/// A request: a line and headers in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is_blob(&self, bytes: &[u8]) -> bool {
        self.path.ends_with(&format!("/blobs/{}", Digest::of(bytes)))
    }
}

/// An answer, sent as it is: nothing holds it to HTTP but `Content-Length`, which it may lie about.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Another length than the body's.
    pub(crate) length: Option<usize>,
    /// Whether the connection stays open and silent afterwards.
    pub(crate) stall: bool,
}

impl Answer {
    pub(crate) fn ok(body: &[u8]) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.to_vec(), length: None, stall: false }
    }

    pub(crate) fn status(status: u16) -> Self {
        let body = br#"{"errors":[{"code":"X","message":"registry\u001bsays"}]}"#;
        Self { status, ..Self::ok(body) }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Ends the connection after some bytes of the body.
    pub(crate) fn cut(mut self, after: usize) -> Self {
        self.length = Some(self.body.len());
        self.body.truncate(after);
        self
    }

    /// Says nothing more after some bytes of the body.
    pub(crate) fn stall(self, after: usize) -> Self {
        Self { stall: true, ..self.cut(after) }
    }

    /// From a byte on, as `Range` asks.
    pub(crate) fn range(request: &Request, bytes: &[u8]) -> Self {
        let from = request.header("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
        let Some(from) = from.map(|from| from.parse::<usize>().unwrap()) else { return Self::ok(bytes) };
        let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        Self { status: 206, ..Self::ok(&bytes[from..]) }.header("Content-Range", &range)
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// A running server; its threads end with the process.
pub(crate) struct Server {
    /// `127.0.0.1:port`.
    pub(crate) host: String,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn new(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start("127.0.0.1", None, handler)
    }

    /// A registry in order that speaks TLS alone, with a certificate of `tls/authority.pem`.
    pub(crate) fn with_tls(address: &str, sample: &Sample) -> Self {
        let pem = include_bytes!("tls/registry.pem");
        let certificate = CertificateDer::from_pem_slice(pem).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pem).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
        let sample = sample.clone();
        Self::start(address, Some(Arc::new(config.unwrap())), move |request| plain(&sample, request))
    }

    /// A server without TLS on another address than loopback's.
    pub(crate) fn at(address: &str, sample: &Sample) -> Self {
        let sample = sample.clone();
        Self::start(address, None, move |request| plain(&sample, request))
    }

    fn start(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (handler, log): (Arc<Handler>, Arc<Mutex<Vec<Request>>>) = (Arc::new(handler), Arc::default());
        let server = Self { host, log: log.clone() };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (handler, log, tls) = (handler.clone(), log.clone(), tls.clone());
                thread::spawn(move || match tls {
                    None => serve(stream.unwrap(), &*handler, &log),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(connection, stream.unwrap()), &*handler, &log);
                    }
                });
            }
        });
        server
    }

    /// A registry that has one image as `name:latest`; `special` may answer first.
    pub(crate) fn with(
        sample: &Sample,
        special: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let sample = sample.clone();
        Self::new(move |request| special(request).unwrap_or_else(|| plain(&sample, request)))
    }

    /// What was asked for, without probes.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().iter().filter(|request| request.path != "/v2/").cloned().collect()
    }

    /// How often a blob was asked for.
    pub(crate) fn transfers(&self, bytes: &[u8]) -> usize {
        self.requests().iter().filter(|request| request.is_blob(bytes)).count()
    }
}

/// What a registry in order answers.
pub(crate) fn plain(sample: &Sample, request: &Request) -> Answer {
    let tail = request.path.rsplit('/').next().unwrap();
    if request.path == "/v2/" {
        return Answer::ok(b"{}");
    }
    if request.path.contains("/manifests/") && (tail == "latest" || tail == sample.digest().to_string()) {
        return Answer::ok(&sample.manifest);
    }
    match sample.blobs().find(|(digest, _)| digest.to_string() == tail) {
        Some((_, blob)) if request.path.contains("/blobs/") => Answer::range(request, blob),
        _ => Answer::status(404),
    }
}

fn serve(mut stream: impl Read + Write, handler: &Handler, log: &Mutex<Vec<Request>>) {
    let Some(request) = read(&mut stream) else { return };
    log.lock().unwrap().push(request.clone());
    let answer = handler(&request);
    let length = answer.length.unwrap_or(answer.body.len());
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    if !answer.headers.iter().any(|(name, _)| name == "Transfer-Encoding") {
        head += &format!("Content-Length: {length}\r\n");
    }
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    // The other side may have gone: that is its right.
    let _ = stream
        .write_all(format!("{head}\r\n").as_bytes())
        .and_then(|()| stream.write_all(&answer.body))
        .and_then(|()| stream.flush());
    if answer.stall {
        loop {
            thread::park();
        }
    }
}

/// Reads one request; `None` for a TLS handshake.
fn read(stream: &mut dyn Read) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    if !reader.fill_buf().ok()?.first()?.is_ascii_uppercase() {
        return None;
    }
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? <= 2 {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let mut words = lines.first()?.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let pairs = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers: HashMap<_, _> =
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
