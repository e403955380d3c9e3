//! An image of the store into a registry: only what is missing there is moved, byte for byte as it once came.

use std::collections::HashMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::Digest;
use crate::manifest::{self, Descriptor, Manifest};
use crate::parallel::{WORKERS, side_by_side};
use crate::reference::Reference;
use crate::registry::{self, Client, Moved, RegistryError};
use crate::resolve::ResolveOptions;
use crate::store::{Blob, CatalogError, Store, StoreError};

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The store has no such image, or cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store cannot be used.
    #[error("cannot use the content store")]
    Store(#[from] StoreError),
    /// The image was made without keeping its layers as they came.
    #[error(
        "the layers of {0} were not kept as they came, so they cannot be given away: pull or load the image again first"
    )]
    NoBlobs(String),
    /// The registry refused, or cannot be reached.
    #[error("cannot push {name}")]
    Registry {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: Box<RegistryError>,
    },
    /// Cancelled from outside.
    #[error("cancelled")]
    Cancelled,
}

/// Something that happened to a layer, which is named by its diff_id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEvent {
    /// It will be looked at.
    Preparing,
    /// Bytes of it have gone.
    Pushing {
        /// Those so far.
        done: u64,
        /// Those there are.
        size: u64,
    },
    /// The registry has it.
    Exists,
    /// The registry took it from another of its repositories.
    Mounted(String),
    /// It has gone.
    Pushed,
}

/// What was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The image.
    pub image: Digest,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The length of its manifest in bytes.
    pub size: u64,
}

/// Pushes the image that has the name `name` to the registry in it, under its tag. `told` is called from several threads.
///
/// # Errors
/// No such image, an image without blobs, a registry that refuses or cannot be reached.
pub fn push(
    store: &Store,
    name: &Reference,
    options: &ResolveOptions<'_>,
    told: &(dyn Fn(Digest, PushEvent) + Sync),
) -> Result<Pushed, PushError> {
    let _lease = store.lease()?;
    let image = store.image(&name.to_string())?;
    let no_blobs = || PushError::NoBlobs(name.familiar());
    let digest = store.whole_manifest(image.id)?.ok_or_else(no_blobs)?;
    let bytes = store.document("manifests", digest)?.ok_or_else(no_blobs)?;
    let manifest = store.manifest(digest)?.ok_or_else(no_blobs)?;
    let diff_ids = &image.config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(no_blobs());
    }
    for layer in diff_ids {
        told(*layer, PushEvent::Preparing);
    }
    let sources = sources(store, name, &manifest)?;
    let moving = Moving { store, name, options, manifest: &manifest, json: &image.json, diff_ids, told };
    let failed = |source: RegistryError| match source {
        RegistryError::Cancelled => PushError::Cancelled,
        _ if options.is_cancelled() => PushError::Cancelled,
        source => PushError::Registry { name: name.familiar(), source: Box::new(source) },
    };
    let client = moving.move_blobs(&sources).map_err(failed)?;
    let media_type = manifest::media_type(&bytes);
    let stopped = || options.is_cancelled();
    client.push_manifest(&name.wanted(), &media_type, &bytes, &stopped).map_err(failed)?;
    store.change_record(image.id, |record| record.add_digest(name.with_digest(digest).to_string()))?;
    Ok(Pushed { image: image.id, digest, size: bytes.len() as u64 })
}

/// Which other repository of the registry is known to have a layer.
fn sources(
    store: &Store,
    name: &Reference,
    manifest: &Manifest,
) -> Result<HashMap<Digest, String>, StoreError> {
    let mut sources = HashMap::new();
    for record in store.records()? {
        let known = record.digests.iter().filter_map(|digest| digest.parse::<Reference>().ok());
        let other =
            known.into_iter().find(|known| known.domain() == name.domain() && known.path() != name.path());
        let Some((other, digest)) = other.zip(record.manifest) else { continue };
        let Some(theirs) = store.manifest(digest)? else { continue };
        for layer in theirs.layers.iter().filter(|layer| has(manifest, layer)) {
            sources.insert(layer.digest, other.path().to_owned());
        }
    }
    Ok(sources)
}

fn has(manifest: &Manifest, layer: &Descriptor) -> bool {
    manifest.layers.iter().any(|own| own.digest == layer.digest)
}

/// The blobs of one image on their way.
struct Moving<'a, 'o> {
    store: &'a Store,
    name: &'a Reference,
    options: &'a ResolveOptions<'o>,
    manifest: &'a Manifest,
    json: &'a [u8],
    diff_ids: &'a [Digest],
    told: &'a (dyn Fn(Digest, PushEvent) + Sync),
}

impl<'o> Moving<'_, 'o> {
    /// Moves the layers and the configuration.
    fn move_blobs(&self, sources: &HashMap<Digest, String>) -> Result<Client<'o>, RegistryError> {
        let layers = &self.manifest.layers;
        // A token is for one other repository: the one that has most, by the number of layers.
        let mut counts: HashMap<&String, usize> = HashMap::new();
        for layer in layers {
            sources.get(&layer.digest).into_iter().for_each(|from| *counts.entry(from).or_default() += 1);
        }
        let mount =
            counts.into_iter().max_by_key(|(from, count)| (*count, *from)).map(|(from, _)| from.clone());
        let client = registry::writer(self.name, mount.clone(), self.options)?;
        let stop = AtomicBool::new(false);
        let stopped = || stop.load(Ordering::Relaxed) || self.options.is_cancelled();
        let first =
            |index: &usize| !layers[..*index].iter().any(|other| other.digest == layers[*index].digest);
        let todo: Vec<_> = (0..layers.len()).filter(first).collect();
        let done = side_by_side(WORKERS, &todo, &stop, |index| {
            let from = mount
                .as_deref()
                .filter(|mount| sources.get(&layers[index].digest).is_some_and(|source| source == mount));
            self.move_layer(&client, index, from, &stopped)
        });
        // A worker that panicked has told so already.
        done.unwrap_or(Err(RegistryError::Cancelled))?;
        let config = self.json.to_vec();
        let blob = Blob { digest: self.manifest.config.digest, size: config.len() as u64 };
        let open = || Ok(Box::new(std::io::Cursor::new(config.clone())) as Box<dyn Read>);
        client.push_blob(blob, None, &open, &|_| {}, &stopped)?;
        Ok(client)
    }

    fn move_layer(
        &self,
        client: &Client<'_>,
        index: usize,
        from: Option<&str>,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), RegistryError> {
        let (layer, diff_id) = (&self.manifest.layers[index], self.diff_ids[index]);
        let blob = Blob { digest: layer.digest, size: layer.size };
        let open = || match self.store.open_blob(blob) {
            Ok(file) => Ok(Box::new(file) as Box<dyn Read>),
            Err(error) => Err(std::io::Error::other(error)),
        };
        let sent = |done| (self.told)(diff_id, PushEvent::Pushing { done, size: blob.size });
        let event = match client.push_blob(blob, from, &open, &sent, stopped)? {
            Moved::Existed => PushEvent::Exists,
            Moved::Mounted(from) => PushEvent::Mounted(from),
            Moved::Sent => PushEvent::Pushed,
        };
        (self.told)(diff_id, event);
        Ok(())
    }
}
