//! Images of the store as one archive: an OCI image layout with a `manifest.json`, as `docker save` has written it since
//! version 25. Layers go out byte for byte as they once came.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};

use serde_json::{Value, json};
use tar::write::{Header, TRAILER, padding};
use tar::{Kind, Timestamp};

use crate::archive::blob_name;
use crate::digest::Digest;
use crate::layout::{FULL_NAME, REF_NAME};
use crate::manifest::{self, Manifest, OCI_INDEX};
use crate::reference::Reference;
use crate::store::{Blob, CatalogError, Lease, Store, StoreError, StoredImage};

/// Images that one archive may have.
const MAX_IMAGES: usize = 1000;

/// Bytes that are copied at one time.
const CHUNK: usize = 128 << 10;

/// Why images were not saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
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
    /// More images than an archive takes.
    #[error("over {MAX_IMAGES} images are too many for one archive")]
    TooMany,
    /// A layer cannot be read.
    #[error("cannot read the blob {0}")]
    Read(Digest, #[source] io::Error),
    /// Nobody takes the archive, or its disk is full.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

/// An image and its documents.
struct Item {
    image: StoredImage,
    /// The names it has in the archive.
    tags: Vec<Reference>,
    digest: Digest,
    bytes: Vec<u8>,
    manifest: Manifest,
}

/// An archive that can be written: every image in it was found, and stays while this lives.
pub struct Archive<'a> {
    store: &'a Store,
    items: Vec<Item>,
    _lease: Lease,
}

impl<'a> Archive<'a> {
    /// Finds the images of some names and ids. A name without tag means all tags of its repository; an id brings no name
    /// along.
    ///
    /// # Errors
    /// An unknown image, or one without blobs.
    pub fn new(store: &'a Store, names: &[String]) -> Result<Self, SaveError> {
        let lease = store.lease()?;
        let mut wanted: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        let mut order = Vec::new();
        for text in names {
            for (id, tag) in find(store, text)? {
                let tags = wanted.entry(id).or_insert_with(|| {
                    order.push(id);
                    Vec::new()
                });
                tags.extend(tag.filter(|tag| !tags.contains(tag)));
            }
        }
        if order.len() > MAX_IMAGES {
            return Err(SaveError::TooMany);
        }
        let items = order.into_iter().map(|id| item(store, id, wanted.remove(&id).unwrap_or_default()));
        Ok(Self { store, items: items.collect::<Result<_, _>>()?, _lease: lease })
    }

    /// The images' ids.
    #[must_use]
    pub fn ids(&self) -> Vec<Digest> {
        self.items.iter().map(|item| item.image.id).collect()
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// A blob that cannot be read or is damaged, and what `out` says.
    pub fn write(&self, out: &mut dyn Write) -> Result<(), SaveError> {
        directory(out, "blobs/")?;
        directory(out, "blobs/sha256/")?;
        let mut written = HashSet::new();
        for item in &self.items {
            for layer in &item.manifest.layers {
                if written.insert(layer.digest) {
                    self.layer(out, Blob { digest: layer.digest, size: layer.size })?;
                }
            }
            for (digest, bytes) in [(item.image.id, &item.image.json), (item.digest, &item.bytes)] {
                if written.insert(digest) {
                    file(out, &blob_name(digest), bytes)?;
                }
            }
        }
        file(out, "index.json", self.index().to_string().as_bytes())?;
        file(out, "manifest.json", self.manifests().to_string().as_bytes())?;
        file(out, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        out.write_all(&TRAILER).and_then(|()| out.flush()).map_err(SaveError::Write)
    }

    fn layer(&self, out: &mut dyn Write, blob: Blob) -> Result<(), SaveError> {
        let mut from = self.store.open_blob(blob)?;
        header(out, &blob_name(blob.digest), Kind::File, blob.size)?;
        let mut buf = vec![0; CHUNK];
        loop {
            let count = from.read(&mut buf).map_err(|error| SaveError::Read(blob.digest, error))?;
            if count == 0 {
                break;
            }
            out.write_all(&buf[..count]).map_err(SaveError::Write)?;
        }
        pad(out, blob.size)
    }

    /// The layout's index: a descriptor for each name.
    fn index(&self) -> Value {
        let mut entries = Vec::new();
        for item in &self.items {
            let entry = json!({
                "mediaType": manifest::media_type(&item.bytes),
                "digest": item.digest,
                "size": item.bytes.len(),
            });
            let named = |tag: &Reference| {
                let mut entry = entry.clone();
                entry["annotations"] = json!({FULL_NAME: tag.to_string(), REF_NAME: tag.wanted()});
                entry
            };
            entries.extend(item.tags.iter().map(named));
            entries.extend(item.tags.is_empty().then_some(entry));
        }
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    }

    fn manifests(&self) -> Value {
        let item = |item: &Item| {
            json!({
                "Config": blob_name(item.image.id),
                "RepoTags": item.tags.iter().map(Reference::familiar).collect::<Vec<_>>(),
                "Layers": item.manifest.layers.iter().map(|layer| blob_name(layer.digest)).collect::<Vec<_>>(),
            })
        };
        self.items.iter().map(item).collect()
    }
}

/// The images that a text means, and the name each has by it.
fn find(store: &Store, text: &str) -> Result<Vec<(Digest, Option<Reference>)>, SaveError> {
    let repository = text.parse::<Reference>().ok().filter(|_| is_repository(text));
    if let Some(repository) = repository {
        let same = |tag: &Reference| tag.domain() == repository.domain() && tag.path() == repository.path();
        let images = store.images()?;
        let tags = images.iter().flat_map(|image| image.tags.iter().map(move |tag| (image.id, tag)));
        let found: Vec<_> =
            tags.filter(|(_, tag)| same(tag)).map(|(id, tag)| (id, Some(tag.clone()))).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let image = store.image(text)?;
    let tag =
        text.parse::<Reference>().ok().filter(|name| name.digest().is_none() && image.tags.contains(name));
    Ok(vec![(image.id, tag)])
}

/// Whether a text has neither tag nor digest.
fn is_repository(text: &str) -> bool {
    !text.contains('@') && !text.rsplit('/').next().unwrap_or(text).contains(':')
}

fn item(store: &Store, id: Digest, tags: Vec<Reference>) -> Result<Item, SaveError> {
    let image = store.image(&id.to_string())?;
    let no_blobs = || SaveError::NoBlobs(image.tags.first().map_or_else(|| id.short(), Reference::familiar));
    let digest = store.whole_manifest(id)?.ok_or_else(no_blobs)?;
    let bytes = store.document("manifests", digest)?.ok_or_else(no_blobs)?;
    let manifest = store.manifest(digest)?.ok_or_else(no_blobs)?;
    Ok(Item { image, tags, digest, bytes, manifest })
}

fn directory(out: &mut dyn Write, name: &str) -> Result<(), SaveError> {
    header(out, name, Kind::Directory, 0)
}

fn file(out: &mut dyn Write, name: &str, bytes: &[u8]) -> Result<(), SaveError> {
    let size = bytes.len() as u64;
    header(out, name, Kind::File, size)?;
    out.write_all(bytes).map_err(SaveError::Write)?;
    pad(out, size)
}

fn header(out: &mut dyn Write, name: &str, kind: Kind, size: u64) -> Result<(), SaveError> {
    let mut blocks = Vec::with_capacity(512);
    let mode = if name.ends_with('/') { 0o755 } else { 0o644 };
    let (mtime, path) = (Timestamp::default(), name.as_bytes());
    let own =
        Header { kind, path, link: b"", mode, uid: 0, gid: 0, size, mtime, device: (0, 0), xattrs: &[] };
    own.append(&mut blocks);
    out.write_all(&blocks).map_err(SaveError::Write)
}

fn pad(out: &mut dyn Write, size: u64) -> Result<(), SaveError> {
    out.write_all(&[0; 512][..padding(size)]).map_err(SaveError::Write)
}
