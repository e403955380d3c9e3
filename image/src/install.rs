//! A candidate, found at any source, becomes an image of the store: its layers side by side, then the merge, then
//! its documents and names, so that a name never stands for half an image.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use crate::config::ImageConfig;
use crate::decompress::Compression;
use crate::digest::Digest;
use crate::erofs::read::ReadError;
use crate::handle::ImageHandle;
use crate::layer::{self, At, Blob, LayerError, Way};
use crate::limits::Limits;
use crate::manifest;
use crate::merge::{MergeError, merge_layers};
use crate::parallel::{WORKERS, side_by_side};
use crate::progress::{Event, Progress};
use crate::reference::Reference;
use crate::resolve::{ResolveError, ResolveOptions};
use crate::store::{self, Lease, Store, StoreError, TagRecord, TempFile, extent_len};

/// An image at its source.
pub(crate) struct Candidate<'a> {
    /// The name for people.
    pub(crate) name: String,
    /// The configuration's bytes.
    pub(crate) config: Vec<u8>,
    /// The manifest's bytes, where there is one.
    pub(crate) manifest: Option<Vec<u8>>,
    /// The bytes of the index the manifest was chosen from.
    pub(crate) index: Option<Vec<u8>>,
    /// Whether a registry has it under its names.
    pub(crate) in_registry: bool,
    /// Whether a mirror stands in for that registry.
    pub(crate) from_mirror: bool,
    /// The names it gets in the store.
    pub(crate) tags: Vec<Reference>,
    /// What is known of its layers, lowest first.
    pub(crate) blobs: Vec<Blob>,
    /// Where the layers are read.
    pub(crate) layers: Box<dyn Layers + 'a>,
}

/// Reads layers; several at one time.
pub(crate) trait Layers: Sync {
    /// Opens the layer of that place in the image.
    fn open<'r>(&'r self, index: usize, at: At<'r>) -> io::Result<Box<dyn Read + 'r>>;

    /// Whether the layers are archives, which can be kept as they are.
    fn are_archives(&self) -> bool {
        true
    }
}

/// Brings what is missing of the candidate into the store.
pub(crate) fn install(
    store: &Store,
    candidate: &Candidate<'_>,
    options: &ResolveOptions<'_>,
    progress: &dyn Progress,
    lease: Lease,
) -> Result<ImageHandle, ResolveError> {
    let config: ImageConfig = serde_json::from_slice(&candidate.config).map_err(ResolveError::Config)?;
    check(&config, candidate, options)?;
    let diff_ids = &config.rootfs.diff_ids;
    let known = match candidate.manifest {
        None if options.keep_blobs => store.whole_manifest(Digest::of(&candidate.config))?,
        _ => None,
    };
    let keep = options.keep_blobs && known.is_none() && candidate.layers.are_archives();
    let blobs = bring_layers(store, candidate, diff_ids, keep, options, progress)?;
    merge(store, diff_ids, options, progress)?;
    let id = store.put_document("images", &candidate.config)?;
    let manifest = match (&candidate.manifest, blobs) {
        (Some(bytes), _) => Some(store.put_document("manifests", bytes)?),
        (None, Some(blobs)) => Some(put_manifest(store, &candidate.config, &blobs)?),
        (None, None) => known,
    };
    let index = candidate.index.as_deref().map(|bytes| store.put_document("manifests", bytes)).transpose()?;
    put_names(store, candidate, options, id, manifest, index)?;
    let name = candidate.name.clone();
    let handle = store.handle(name, id, manifest, lease)?;
    // Only a hand in the store takes away what the lease keeps.
    let handle = handle.ok_or_else(|| StoreError::NoImage(candidate.name.clone()))?;
    progress.event(Event::Ready);
    Ok(handle)
}

/// Writes the names last. Where blobs are kept, the image gets a record, and a reference by digest is in there.
fn put_names(
    store: &Store,
    candidate: &Candidate<'_>,
    options: &ResolveOptions<'_>,
    image: Digest,
    manifest: Option<Digest>,
    index: Option<Digest>,
) -> Result<(), StoreError> {
    let (digests, tags): (Vec<_>, Vec<_>) =
        candidate.tags.iter().partition(|tag| options.keep_blobs && tag.digest().is_some());
    if options.keep_blobs {
        store.change_record(image, |record| {
            let same = record.manifest == manifest;
            (record.manifest, record.index) = (manifest, index.or(record.index.filter(|_| same)));
            if let Some(digest) = index.or(manifest).filter(|_| candidate.in_registry) {
                for tag in &tags {
                    record.add_digest(tag.with_digest(digest).to_string());
                }
            }
            for (tag, digest) in digests.iter().filter_map(|tag| Some((tag, tag.digest()?))) {
                record.add_digest(tag.with_digest(digest).to_string());
            }
            if !tags.is_empty() {
                record.touch();
            }
        })?;
    }
    for tag in tags {
        store.put_tag(&TagRecord { reference: tag.to_string(), image, manifest, index })?;
    }
    Ok(())
}

/// Makes a manifest for an image whose source had none.
fn put_manifest(store: &Store, config: &[u8], blobs: &[store::Blob]) -> Result<Digest, StoreError> {
    let layers = blobs.iter().map(|blob| {
        let path = store.blob_path(blob.digest);
        let compression = File::open(&path).and_then(|file| Compression::of(&mut &file));
        Ok((*blob, compression.map_err(StoreError::io("read", &path))?))
    });
    let layers = layers.collect::<Result<Vec<_>, StoreError>>()?;
    store.put_document("manifests", &manifest::write(config, &layers))
}

fn check(
    config: &ImageConfig,
    candidate: &Candidate<'_>,
    options: &ResolveOptions<'_>,
) -> Result<(), ResolveError> {
    let fits = |value: &str, wanted: &str| value.is_empty() || value == wanted;
    if !fits(&config.os, "linux") || !fits(&config.architecture, "amd64") {
        return Err(ResolveError::Platform(format!("{}/{}", config.os, config.architecture)));
    }
    let (layers, diff_ids) = (candidate.blobs.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(ResolveError::LayerCount { layers, diff_ids });
    }
    if layers > options.limits.layers {
        return Err(ResolveError::TooManyLayers { layers, limit: options.limits.layers });
    }
    Ok(())
}

/// Brings the layers that are missing, [`WORKERS`] at a time, which share the memory that the limits allow. A layer
/// that needs more than its share is read again when the others are done, alone. Answers the blobs of all layers where
/// they are kept.
fn bring_layers(
    store: &Store,
    candidate: &Candidate<'_>,
    diff_ids: &[Digest],
    keep: bool,
    options: &ResolveOptions<'_>,
    progress: &dyn Progress,
) -> Result<Option<Vec<store::Blob>>, ResolveError> {
    let what = |index: usize| (diff_ids[index], candidate.blobs[index].digest.filter(|_| keep));
    let first_of = |index: usize| (0..=index).find(|first| what(*first) == what(index));
    let (mut todo, mut blobs) = (Vec::new(), vec![None; diff_ids.len()]);
    // An image may have one layer twice; it is brought once.
    for index in (0..diff_ids.len()).filter(|index| first_of(*index) == Some(*index)) {
        let (layer, blob) = (diff_ids[index], candidate.blobs[index]);
        blobs[index] = if keep { layer::kept(store, layer, blob)? } else { None };
        if extent_len(&store.layer_path(layer))?.is_some() && (blobs[index].is_some() || !keep) {
            progress.event(Event::Cached { layer });
        } else {
            progress.event(Event::Planned { layer, size: blob.size });
            todo.push(index);
        }
    }
    let stop = AtomicBool::new(false);
    let blobs = Mutex::new(blobs);
    let bring = |index: usize, limits: &Limits| {
        let way = Way { store, limits, progress, keep, cancel: options.cancel, stop: &stop };
        let layer = diff_ids[index];
        let open = || candidate.layers.open(index, At { way, layer });
        let kept =
            layer::ensure(way, layer, candidate.blobs[index], open).map_err(|source| match source {
                LayerError::Cancelled => ResolveError::Cancelled,
                source => ResolveError::Layer { layer, source },
            })?;
        if let Ok(mut blobs) = blobs.lock() {
            blobs[index] = kept;
        }
        Ok(())
    };
    let workers = WORKERS.min(todo.len());
    if workers > 1 {
        let share = options.limits.metadata_bytes / workers as u64;
        let share = Limits { metadata_bytes: share, ..options.limits };
        let large = Mutex::new(Vec::new());
        let done = side_by_side(workers, &todo, &stop, |index| match bring(index, &share) {
            Err(ResolveError::Layer { source, .. }) if source.is_too_much_metadata() => {
                large.lock().map(|mut large| large.push(index)).map_err(|_| ResolveError::Cancelled)
            }
            done => done,
        });
        // A worker that panicked has told so already.
        done.unwrap_or(Err(ResolveError::Cancelled))?;
        todo = large.into_inner().unwrap_or_default();
    }
    todo.into_iter().try_for_each(|index| bring(index, &options.limits))?;
    let blobs = blobs.into_inner().unwrap_or_default();
    Ok((0..blobs.len()).map(|index| blobs[first_of(index)?]).collect::<Option<_>>().filter(|_| keep))
}

/// Makes the image's merged metadata if it is not there.
fn merge(
    store: &Store,
    diff_ids: &[Digest],
    options: &ResolveOptions<'_>,
    progress: &dyn Progress,
) -> Result<(), ResolveError> {
    let path = store.meta_path(diff_ids);
    if extent_len(&path)?.is_some() {
        return Ok(());
    }
    let _lock = store.entry_lock(&path, || {}, || options.is_cancelled())?.ok_or(ResolveError::Cancelled)?;
    if extent_len(&path)?.is_some() {
        return Ok(());
    }
    progress.event(Event::Merging);
    let open = |diff_id: &Digest| {
        let path = store.layer_path(*diff_id);
        File::open(&path).map_err(StoreError::io("open", &path))
    };
    let layers = diff_ids.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let temp = TempFile::new(store)?;
    merge_layers(&layers.iter().collect::<Vec<_>>(), temp.file(), &options.limits).map_err(|error| {
        match error {
            MergeError::ReadLayer { layer, source: ReadError::NotALayer | ReadError::Damaged { .. } } => {
                StoreError::Damaged(store.layer_path(diff_ids[layer])).into()
            }
            error => ResolveError::Merge(error),
        }
    })?;
    Ok(temp.persist(&path)?)
}
