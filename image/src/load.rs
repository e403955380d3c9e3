//! All images of an archive that comes as a stream: one of `docker save`, or an OCI image layout.

use std::io::Read;
use std::sync::Arc;

use crate::archive::{ArchiveError, Files};
use crate::digest::Digest;
use crate::install::{Candidate, install};
use crate::progress::Progress;
use crate::reference::Reference;
use crate::resolve::{ResolveError, ResolveOptions, settle};
use crate::store::Store;
use crate::{docker_archive, layout};

/// Images that one archive may have.
const MAX_IMAGES: usize = 1000;

/// What the archive is called in messages.
const NAME: &str = "the archive";

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub id: Digest,
    /// The names it got; none where the archive has none.
    pub names: Vec<Reference>,
}

/// Loads all images of an archive, telling each once it is whole. Layers that are in the store are not read again.
///
/// # Errors
/// The first image that cannot be loaded; those before it stay.
pub fn load(
    store: &Store,
    from: impl Read,
    options: &ResolveOptions<'_>,
    progress: &dyn Progress,
    told: &mut dyn FnMut(&Loaded),
) -> Result<Vec<Loaded>, ResolveError> {
    settle(load_all(store, from, options, progress, told), store, options)
}

fn load_all(
    store: &Store,
    from: impl Read,
    options: &ResolveOptions<'_>,
    progress: &dyn Progress,
    told: &mut dyn FnMut(&Loaded),
) -> Result<Vec<Loaded>, ResolveError> {
    let failed = |source| ResolveError::Archive { source_name: NAME.to_owned(), source: Box::new(source) };
    // What is unpacked lies in the store meanwhile.
    let _lease = store.lease()?;
    let files = Arc::new(Files::stream(from, store, options).map_err(failed)?);
    let mut loaded: Vec<Loaded> = Vec::new();
    let mut bring = |candidate: Candidate<'_>| {
        let image = install(store, &candidate, options, progress, store.lease()?)?;
        let one = Loaded { id: image.id(), names: candidate.tags };
        told(&one);
        loaded.push(one);
        Ok::<(), ResolveError>(())
    };
    if files.has("manifest.json") {
        let items = docker_archive::items(&files).map_err(failed)?;
        bounded(items.len()).map_err(failed)?;
        for item in &items {
            bring(docker_archive::candidate_of(&files, item, NAME).map_err(failed)?)?;
        }
    } else {
        let entries = layout::top_index(&files).map_err(failed)?;
        bounded(entries.len()).map_err(failed)?;
        for entry in &entries {
            let mut candidate = layout::candidate_of(&files, entry, NAME).map_err(failed)?;
            if candidate.tags.is_empty() {
                candidate.tags.extend(layout::short_name(entry));
            }
            bring(candidate)?;
        }
    }
    if loaded.is_empty() {
        let (path, wanted) = (NAME.into(), "at all".to_owned());
        return Err(failed(ArchiveError::NoImage { path, wanted, found: Vec::new() }));
    }
    Ok(loaded)
}

/// Before anything is loaded: none is left out without a word.
fn bounded(images: usize) -> Result<(), ArchiveError> {
    if images > MAX_IMAGES { Err(ArchiveError::TooMany(images, MAX_IMAGES)) } else { Ok(()) }
}
