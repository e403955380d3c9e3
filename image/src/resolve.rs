//! From a source to an image in the content store: the one entry of the crate for `kcradle summon`.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::{ArchiveError, Files};
use crate::daemon::{self, DaemonError};
use crate::digest::Digest;
use crate::handle::ImageHandle;
use crate::install::{Candidate, install};
use crate::layer::LayerError;
use crate::limits::Limits;
use crate::merge::MergeError;
use crate::progress::{Event, Progress};
use crate::registry::{self, Login, Patience, Registries, RegistryError};
use crate::source::{Origin, Source};
use crate::store::{Store, StoreError};
use crate::{bundle, docker_archive, layout};

/// Whether a bare name may come from the store or must come from the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// From the store where it is there, else from the registry.
    #[default]
    Missing,
    /// From the registry; layers that are in the store are not transferred again.
    Always,
    /// From the store alone.
    Never,
}

/// How to resolve.
#[derive(Clone, Debug, Default)]
pub struct ResolveOptions<'a> {
    /// Store or registry.
    pub pull: PullPolicy,
    /// What an image may cost.
    pub limits: Limits,
    /// How long a registry is given.
    pub patience: Patience,
    /// The directory with Docker's `config.json`; `None`: `$DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// Where the login for a registry comes from.
    pub login: Login,
    /// Mirrors, and registries that may do without TLS.
    pub registries: Registries,
    /// The address of the Docker daemon; `None`: `$DOCKER_HOST`, else its usual socket.
    pub docker_host: Option<String>,
    /// Whether layers are kept as they are transferred as well, for a later push or save, and the image stays when it
    /// has lost its names.
    pub keep_blobs: bool,
    /// Set from elsewhere, it ends the work soon, with [`ResolveError::Cancelled`].
    pub cancel: Option<&'a AtomicBool>,
}

impl ResolveOptions<'_> {
    /// Whether the user wants it to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }
}

/// An image and where it was found.
#[derive(Debug)]
pub struct Resolved {
    /// The image.
    pub image: ImageHandle,
    /// Where it was found.
    pub origin: Origin,
}

/// Why a source gave no image. The store is as it was before, but for layers that came whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The image is not in the store and must not be pulled.
    #[error("no such image in the store: {0}")]
    NotInStore(String),
    /// The registry gave no image.
    #[error("cannot pull {name}")]
    Registry {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: Box<RegistryError>,
    },
    /// The archive, layout or bundle gave no image.
    #[error("cannot load {source_name}")]
    Archive {
        /// The source as the user wrote it.
        source_name: String,
        /// Why.
        #[source]
        source: Box<ArchiveError>,
    },
    /// The local Docker daemon gave no image.
    #[error("cannot load {name} from the Docker daemon")]
    Daemon {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: Box<DaemonError>,
    },
    /// The image's configuration is malformed.
    #[error("malformed image configuration")]
    Config(#[source] serde_json::Error),
    /// The image is for another processor or operating system.
    #[error("the image is for {0}, not for linux/amd64")]
    Platform(String),
    /// Manifest and configuration contradict each other.
    #[error("the manifest has {layers} layers, the configuration {diff_ids}")]
    LayerCount {
        /// The manifest's.
        layers: usize,
        /// The configuration's.
        diff_ids: usize,
    },
    /// More layers than the limit.
    #[error("the image has {layers} layers, the limit is {limit}")]
    TooManyLayers {
        /// The image's.
        layers: usize,
        /// The limit.
        limit: usize,
    },
    /// A layer cannot be brought into the store.
    #[error("layer {layer}")]
    Layer {
        /// Its diff_id.
        layer: Digest,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// The layers cannot be merged.
    #[error("cannot merge the layers")]
    Merge(#[source] MergeError),
    /// The content store could not be used.
    #[error("cannot use the content store")]
    Store(#[from] StoreError),
    /// No space on the store's file system.
    #[error("no space left in {}: free some, for example with `kcradle image prune`", store.display())]
    DiskFull {
        /// The store's directory.
        store: PathBuf,
        /// What met the end.
        #[source]
        source: Box<ResolveError>,
    },
    /// Cancelled from outside.
    #[error("cancelled")]
    Cancelled,
}

/// Finds the image of `source`, brings what is missing of it into the store and answers its handle.
///
/// # Errors
/// The one cause that kept the image from being complete, its own causes behind it.
pub fn resolve(
    store: &Store,
    source: &Source,
    options: &ResolveOptions<'_>,
    progress: &dyn Progress,
) -> Result<Resolved, ResolveError> {
    let text = source.to_string();
    progress.event(Event::Resolving { source: &text });
    settle(find(store, source, &text, options, progress), store, options)
}

/// The one cause that a user is told.
pub(crate) fn settle<T>(
    done: Result<T, ResolveError>,
    store: &Store,
    options: &ResolveOptions<'_>,
) -> Result<T, ResolveError> {
    done.map_err(|error| match error {
        // Whatever failed first, the user does not wait for it any more.
        _ if options.is_cancelled() => ResolveError::Cancelled,
        error if is_disk_full(&error) => {
            ResolveError::DiskFull { store: store.root().to_owned(), source: Box::new(error) }
        }
        error => error,
    })
}

fn find(
    store: &Store,
    source: &Source,
    text: &str,
    options: &ResolveOptions<'_>,
    progress: &dyn Progress,
) -> Result<Resolved, ResolveError> {
    if let Source::Name(name) = source {
        if options.pull != PullPolicy::Always
            && let Some(image) = store.find(name)?
        {
            progress.event(Event::Found { origin: Origin::Store, layers: image.diff_ids().len() });
            return Ok(Resolved { image, origin: Origin::Store });
        }
        if options.pull == PullPolicy::Never {
            return Err(ResolveError::NotInStore(text.to_owned()));
        }
    }
    let lease = store.lease()?;
    let (candidate, origin) = candidate(store, source, text, options, progress)?;
    progress.event(Event::Found { origin, layers: candidate.blobs.len() });
    let image = match install(store, &candidate, options, progress, lease) {
        Err(error @ ResolveError::Layer { .. }) if candidate.from_mirror && !options.is_cancelled() => {
            // What the mirror does not give the registry itself may: layers that came are kept.
            progress.event(Event::Retry { layer: None, cause: &error.to_string() });
            let mut options = options.clone();
            options.registries.mirrors.clear();
            return find(store, source, text, &options, progress);
        }
        installed => installed?,
    };
    Ok(Resolved { image, origin })
}

fn candidate<'a>(
    store: &Store,
    source: &Source,
    text: &str,
    options: &ResolveOptions<'a>,
    progress: &dyn Progress,
) -> Result<(Candidate<'a>, Origin), ResolveError> {
    let found = match source {
        Source::Name(name) | Source::Registry(name) => {
            let found = registry::candidate(name, options, progress);
            return found.map(|found| (found, Origin::Registry)).map_err(|source| ResolveError::Registry {
                name: name.familiar(),
                source: Box::new(source),
            });
        }
        Source::DockerDaemon(name) => {
            let files = daemon::files(name, store, options);
            let found = files.and_then(|files| Ok(docker_archive::candidate(files, Some(name), text)?));
            return found
                .map(|found| (found, Origin::Daemon))
                .map_err(|source| ResolveError::Daemon { name: name.familiar(), source: Box::new(source) });
        }
        Source::DockerArchive { file, name } => Files::tar(file, store, options)
            .and_then(|files| docker_archive::candidate(files, name.as_ref(), text)),
        Source::OciLayout { dir, tag } => layout::candidate(Files::dir(dir), tag.as_deref(), text),
        Source::OciArchive { file, tag } => {
            Files::tar(file, store, options).and_then(|files| layout::candidate(files, tag.as_deref(), text))
        }
        Source::Bundle(dir) => bundle::candidate(dir, store, options, progress, text),
    };
    found
        .map(|found| (found, Origin::File))
        .map_err(|source| ResolveError::Archive { source_name: text.to_owned(), source: Box::new(source) })
}

/// Whether a full disk is among the causes.
fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let full =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(full) {
            return true;
        }
        cause = error.source();
    }
    false
}
