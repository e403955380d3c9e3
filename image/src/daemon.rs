//! Images of the local Docker daemon: `GET /images/NAME/get` on its Unix socket answers an archive of `docker save`.

use std::env;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Agent;
use ureq::http::{StatusCode, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::archive::{ArchiveError, Files};
use crate::reference::Reference;
use crate::resolve::ResolveOptions;
use crate::store::Store;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The longest silence while the daemon collects an image.
const IDLE: Duration = Duration::from_secs(300);

/// Why the daemon gave no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// `DOCKER_HOST` names another kind of address.
    #[error("DOCKER_HOST is {0:?}: only unix:// is supported")]
    Host(String),
    /// No daemon there.
    #[error("cannot reach the Docker daemon at {}: is it running, and may you use it?", .0.display())]
    Connect(PathBuf, #[source] Box<ureq::Error>),
    /// The daemon has no such image.
    #[error("the Docker daemon has no image {0}")]
    NoImage(String),
    /// The daemon refused.
    #[error("the Docker daemon answered {0}: {1}")]
    Status(u16, String),
    /// The archive it sent cannot be used.
    #[error("cannot use the daemon's archive")]
    Archive(#[from] ArchiveError),
}

/// Fetches the archive of an image.
pub(crate) fn files(
    name: &Reference,
    store: &Store,
    options: &ResolveOptions<'_>,
) -> Result<Files, DaemonError> {
    let socket = socket(options.docker_host.clone())?;
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .timeout_per_read(Some(IDLE))
        .build();
    let agent = Agent::with_parts(config, UnixConnector(socket.clone()), NoResolver);
    let called = agent.get(format!("http://docker/images/{}/get", name.familiar())).call();
    let response = called.map_err(|error| DaemonError::Connect(socket.clone(), Box::new(error)))?;
    let status = response.status();
    let body = response.into_body().into_reader();
    if status != StatusCode::OK {
        let mut message = String::new();
        // The status alone will do where the message cannot be read.
        let _ = body.take(1000).read_to_string(&mut message);
        return Err(match status {
            StatusCode::NOT_FOUND => DaemonError::NoImage(name.familiar()),
            status => DaemonError::Status(status.as_u16(), message.trim().escape_debug().to_string()),
        });
    }
    Ok(Files::spool(&socket, body, options.limits.layer_bytes, store, options)?)
}

fn socket(host: Option<String>) -> Result<PathBuf, DaemonError> {
    match host.or_else(|| env::var("DOCKER_HOST").ok()) {
        Some(host) if !host.is_empty() => match host.strip_prefix("unix://") {
            Some(path) => Ok(PathBuf::from(path)),
            None => Err(DaemonError::Host(host)),
        },
        _ => Ok(Path::new(DEFAULT_SOCKET).to_owned()),
    }
}

#[derive(Debug)]
struct UnixConnector(PathBuf);

impl Connector for UnixConnector {
    type Out = UnixTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<UnixTransport>, ureq::Error> {
        let stream = UnixStream::connect(&self.0)?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(UnixTransport { stream, buffers }))
    }
}

struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl std::fmt::Debug for UnixTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UnixTransport")
    }
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.set_write_timeout(timeout.for_write().not_zero().map(|after| *after))?;
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(timeout.not_zero().map(|after| *after))?;
        let count = match self.stream.read(self.buffers.input_append_buf()) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(ureq::Error::Timeout(timeout.reason));
            }
            Err(error) => return Err(error.into()),
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        // One request is all: the connection is never taken up again.
        false
    }
}

/// A Unix socket has no address, but there must be one.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Ok(addresses)
    }
}
