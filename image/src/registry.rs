//! Registries (OCI distribution specification 1.1, Docker registry API v2): from a reference to a candidate whose
//! layers are streamed on demand.

mod auth;
mod blob;
mod client;
mod credentials;
mod tls;

use std::io::{self, Read};
use std::time::Duration;

pub use credentials::CredentialsError;

use crate::digest::Digest;
use crate::install::{Candidate, Layers};
use crate::layer::{At, Blob};
use crate::manifest::{self, Descriptor, Document, MAX_DOCUMENT, Manifest, ManifestError};
use crate::progress::Progress;
use crate::reference::Reference;
use crate::resolve::ResolveOptions;
use blob::BlobReader;
use client::Client;

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
        "pull access denied for {name}: the repository does not exist or needs another login \
         ({host} answered {status}{message}); see docker login"
    )]
    Denied {
        /// Who refused.
        host: String,
        /// The repository.
        name: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own words, after a colon.
        message: String,
    },
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
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }
}

/// Finds the image of a reference.
pub(crate) fn candidate<'a>(
    name: &Reference,
    options: &ResolveOptions<'a>,
    progress: &dyn Progress,
) -> Result<Candidate<'a>, RegistryError> {
    let client = Client::connect(name, options)?;
    let (bytes, manifest, index) = find_manifest(&client, name, progress)?;
    let config = document(&client, "blobs", &manifest.config, progress)?;
    let blob = |layer: &Descriptor| Blob { digest: Some(layer.digest), size: Some(layer.size) };
    Ok(Candidate {
        name: name.familiar(),
        config,
        manifest: Some(bytes),
        index,
        in_registry: true,
        tags: vec![name.clone()],
        blobs: manifest.layers.iter().map(blob).collect(),
        layers: Box::new(RegistryLayers { client, layers: manifest.layers }),
    })
}

/// Reads manifests until one is an image's: its bytes, itself, the first index's bytes.
fn find_manifest(
    client: &Client<'_>,
    name: &Reference,
    progress: &dyn Progress,
) -> Result<(Vec<u8>, Manifest, Option<Vec<u8>>), RegistryError> {
    let mut bytes = client.document("manifests", &name.wanted(), progress)?;
    if let Some(expected) = name.digest() {
        verify(expected, &bytes)?;
    }
    let mut index = None;
    for _ in 0..MAX_DEPTH {
        match manifest::parse(&bytes)? {
            Document::Manifest(manifest) => return Ok((bytes, *manifest, index)),
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
