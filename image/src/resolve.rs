//! From a source to an image in the content store: the one entry of the crate for `kcradle summon`.

use std::sync::atomic::AtomicBool;

use crate::handle::ImageHandle;
use crate::limits::Limits;
use crate::progress::{Event, Progress};
use crate::source::{Origin, Source};
use crate::store::{Store, StoreError};

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
#[derive(Debug, Default)]
pub struct ResolveOptions<'a> {
    /// Store or registry.
    pub pull: PullPolicy,
    /// What an image may cost.
    pub limits: Limits,
    /// Set from elsewhere, it ends the work soon, with [`ResolveError::Cancelled`].
    pub cancel: Option<&'a AtomicBool>,
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
    /// The store could not be used.
    #[error("cannot use the content store")]
    Store(#[from] StoreError),
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
    if let Source::Name(name) = source
        && options.pull != PullPolicy::Always
        && let Some(image) = store.find(name)?
    {
        let layers = image.diff_ids().len();
        progress.event(Event::Found { origin: Origin::Store, layers });
        return Ok(Resolved { image, origin: Origin::Store });
    }
    Err(ResolveError::NotInStore(text))
}
