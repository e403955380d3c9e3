//! Registries (OCI distribution specification 1.1, Docker registry API v2): from a reference to a candidate whose
//! layers are streamed on demand.

mod auth;
mod blob;
mod client;
mod credentials;
mod hosts;
mod query;
mod tls;
mod upload;

use std::io::{self, Read};
use std::time::Duration;

pub use credentials::{Credentials, CredentialsError, Login};
pub use hosts::{HostError, Insecure, Mirror, Registries};
pub use query::{Remote, RemotePlatform, check_login, remote_image, remote_tags};

use crate::digest::Digest;
use crate::install::{Candidate, Layers};
use crate::layer::{At, Blob};
use crate::manifest::{self, Descriptor, Document, Found, MAX_DOCUMENT, ManifestError};
use crate::progress::{Event, Progress};
use crate::reference::Reference;
use crate::resolve::ResolveOptions;
use blob::BlobReader;
use client::Access;
pub(crate) use client::Client;
use hosts::Endpoint;
pub(crate) use upload::Moved;

/// Indexes inside of indexes that are followed.
const MAX_DEPTH: usize = 4;

/// How long a registry is given, and how often.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Attempts at a transfer that brings nothing new.
    pub attempts: u32,
    /// The wait before the second attempt; doubled before each further one, up to 8 seconds.
    pub delay: Duration,
    /// The longest silence of a connection.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: 5, delay: Duration::from_millis(500), idle: Duration::from_secs(30) }
    }
}

impl Patience {
    /// Waits before the attempt after `failures` failed ones, or until it is `stopped`.
    fn wait(&self, failures: u32, stopped: impl Fn() -> bool) {
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let mut left = self.delay.saturating_mul(factor).min(Duration::from_secs(8));
        while !left.is_zero() && !stopped() {
            let step = left.min(Duration::from_millis(50));
            std::thread::sleep(step);
            left -= step;
        }
    }
}

/// Why a registry gave no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No connection, or a broken one.
    #[error("cannot reach the registry {host}")]
    Transport {
        /// The registry.
        host: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The registry does not know the image.
    #[error("manifest unknown: the registry {0} has no such image")]
    NotFound(String),
    /// The registry knows the image but a part of it is missing there.
    #[error("the registry {host} does not have the blob {digest}")]
    NoBlob {
        /// The registry.
        host: String,
        /// The blob.
        digest: String,
    },
    /// Login refused or missing.
    #[error(
        "{action} access denied for {name}: the repository does not exist or needs another login \
         ({host} answered {status}{message}); see docker login"
    )]
    Denied {
        /// What was to be done: `pull`, `push` or `login`.
        action: &'static str,
        /// Who refused.
        host: String,
        /// The repository.
        name: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own words, after a colon.
        message: String,
    },
    /// A login was obtained in between: the same request may be let in now.
    #[error("the registry {0} asks for a login again and again")]
    Again(String),
    /// A blob that is to be sent cannot be read.
    #[error("cannot read the blob {0}")]
    Blob(Digest, #[source] io::Error),
    /// The registry took a manifest for another one.
    #[error("digest mismatch: the registry calls the manifest {found}, it is {expected}")]
    Taken {
        /// The manifest's digest.
        expected: Digest,
        /// The registry's word.
        found: String,
    },
    /// Cancelled from outside.
    #[error("cancelled")]
    Cancelled,
    /// Another failure.
    #[error("the registry {host} answered {status}{message}")]
    Status {
        /// The registry.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own words, after a colon.
        message: String,
    },
    /// The registry asks for a login that this code cannot do.
    #[error("the registry {0} asks for an unknown kind of login")]
    Challenge(String),
    /// Credentials or an unverified manifest would go over an unprotected connection.
    #[error("the registry {0} wants a login or a manifest sent without TLS")]
    Unprotected(String),
    /// The login server's answer has no token.
    #[error("the login server {0} gave no token")]
    Token(String),
    /// Stored credentials cannot be used.
    #[error("cannot use the stored credentials")]
    Credentials(#[from] CredentialsError),
    /// The transfer broke again and again.
    #[error("truncated download: {done} of {size} bytes of {digest} came in {attempts} attempts")]
    Truncated {
        /// The blob.
        digest: Digest,
        /// Bytes that came.
        done: u64,
        /// Bytes there should be.
        size: u64,
        /// Attempts.
        attempts: u32,
        /// What broke the last one.
        #[source]
        source: io::Error,
    },
    /// The content is another than its digest says.
    #[error("digest mismatch: asked for {expected}, the registry sent {found}")]
    Digest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// More bytes than the manifest says.
    #[error("size mismatch: {digest} should have {size} bytes, the registry sends others")]
    Size {
        /// The blob.
        digest: Digest,
        /// Bytes there should be.
        size: u64,
    },
    /// A manifest or configuration larger than any real one.
    #[error("{0} has over {MAX_DOCUMENT} bytes")]
    TooLarge(String),
    /// The manifest cannot be used.
    #[error("cannot use the manifest")]
    Manifest(#[from] ManifestError),
}

impl RegistryError {
    /// Whether the same request may do better in a moment.
    fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => match &**source {
                ureq::Error::Timeout(_) | ureq::Error::BodyStalled | ureq::Error::Protocol(_) => true,
                ureq::Error::Io(error) => matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::BrokenPipe
                        | io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::TimedOut
                ),
                _ => false,
            },
            Self::Again(_) => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }
}

/// A repository that is written.
pub(crate) fn writer<'a>(
    name: &Reference,
    mount: Option<String>,
    options: &ResolveOptions<'a>,
) -> Result<Client<'a>, RegistryError> {
    let endpoint = Endpoint::origin(name, &options.registries);
    Client::connect(name, endpoint, Access::Push(mount), options)
}

/// Finds the image of a reference.
pub(crate) fn candidate<'a>(
    name: &Reference,
    options: &ResolveOptions<'a>,
    progress: &dyn Progress,
) -> Result<Candidate<'a>, RegistryError> {
    let found = first_answer(name, options, progress, |client, from_mirror| {
        find_manifest(&client, name, progress).map(|found| (client, found, from_mirror))
    });
    let (client, Found { bytes, manifest, index }, from_mirror) = found?;
    let config = document(&client, "blobs", &manifest.config, progress)?;
    let blob = |layer: &Descriptor| Blob { digest: Some(layer.digest), size: Some(layer.size) };
    Ok(Candidate {
        name: name.familiar(),
        config,
        manifest: Some(bytes),
        index,
        in_registry: true,
        from_mirror,
        tags: vec![name.clone()],
        blobs: manifest.layers.iter().map(blob).collect(),
        layers: Box::new(RegistryLayers { client, layers: manifest.layers }),
    })
}

/// What the first server answers that has what is asked for: mirrors come before the registry itself.
fn first_answer<'a, T>(
    name: &Reference,
    options: &ResolveOptions<'a>,
    progress: &dyn Progress,
    ask: impl Fn(Client<'a>, bool) -> Result<T, RegistryError>,
) -> Result<T, RegistryError> {
    for endpoint in Endpoint::all(name, &options.registries) {
        let mirror = endpoint.mirror;
        let client = Client::connect(name, endpoint, Access::Pull, options);
        match client.and_then(|client| ask(client, mirror)) {
            // A mirror that has it not, or nothing at all, is in nobody's way.
            Err(error) if mirror && !options.is_cancelled() => {
                progress.event(Event::Retry { layer: None, cause: &client::chain(&error) });
            }
            answer => return answer,
        }
    }
    Err(RegistryError::NotFound(name.api_host().to_owned()))
}

/// Reads manifests until one is an image's.
fn find_manifest(
    client: &Client<'_>,
    name: &Reference,
    progress: &dyn Progress,
) -> Result<Found, RegistryError> {
    let mut bytes = client.document("manifests", &name.wanted(), progress)?;
    if let Some(expected) = name.digest() {
        verify(expected, &bytes)?;
    }
    let mut index = None;
    for _ in 0..MAX_DEPTH {
        match manifest::parse(&bytes)? {
            Document::Manifest(manifest) => return Ok(Found { bytes, manifest: *manifest, index }),
            Document::Index(entries) => {
                let below = document(client, "manifests", manifest::choose(&entries)?, progress)?;
                index.get_or_insert(std::mem::replace(&mut bytes, below));
            }
        }
    }
    Err(ManifestError::Nested.into())
}

fn document(
    client: &Client<'_>,
    kind: &str,
    what: &Descriptor,
    progress: &dyn Progress,
) -> Result<Vec<u8>, RegistryError> {
    if what.size > MAX_DOCUMENT {
        return Err(RegistryError::TooLarge(what.digest.to_string()));
    }
    let bytes = client.document(kind, &what.digest.to_string(), progress)?;
    verify(what.digest, &bytes)?;
    Ok(bytes)
}

fn verify(expected: Digest, bytes: &[u8]) -> Result<(), RegistryError> {
    match Digest::of(bytes) {
        found if found == expected => Ok(()),
        found => Err(RegistryError::Digest { expected, found }),
    }
}

struct RegistryLayers<'a> {
    client: Client<'a>,
    layers: Vec<Descriptor>,
}

impl Layers for RegistryLayers<'_> {
    fn open<'r>(&'r self, index: usize, at: At<'r>) -> io::Result<Box<dyn Read + 'r>> {
        let layer = &self.layers[index];
        Ok(Box::new(BlobReader::new(&self.client, layer.digest, layer.size, at)))
    }
}
