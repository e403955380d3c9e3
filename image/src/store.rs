//! The content store: converted layers, merged metadata, configurations, manifests, names and roots under one
//! directory. Nothing in it is named by text from an image, only by digests.
//!
//! ```text
//! layers/<diff_id>-v<N>.erofs   meta/<chain id>-v<N>.erofs   verity/<chain id>-v<N>.tree
//! images/<id>.json   manifests/<digest>.json
//! tags/<hash of the name>.json  roots/<hash of the path>.json  records/<id>.json  blobs/<digest>
//! tmp/  locks/  lock
//! ```
//!
//! Every file is written to `tmp/` and renamed into place, so what has a name is whole.

mod blob;
mod catalog;
mod delete;
mod gc;
mod lock;
mod record;
mod root;
mod tag;
mod temp;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use catalog::{CatalogError, ManifestInfo, StoredImage};
pub use delete::{Removed, Use};
pub use gc::Pruned;
pub use lock::Lease;
pub use tag::ImageSummary;

pub(crate) use blob::Blob;
pub(crate) use record::ImageRecord;
pub(crate) use tag::TagRecord;
pub(crate) use temp::TempFile;

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::erofs::{CONVERTER_VERSION, EXTENT_ALIGN};
use crate::handle::{Extent, ImageHandle};
use crate::manifest::{self, Document, MAX_DOCUMENT, Manifest};

const DIRS: [&str; 11] =
    ["layers", "meta", "verity", "images", "manifests", "tags", "roots", "records", "blobs", "tmp", "locks"];

/// A content store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory could not be made, read, renamed or removed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What failed.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the store does not hold what its name says.
    #[error("{} is damaged: remove it and try again", .0.display())]
    Damaged(PathBuf),
    /// No image of that name or id.
    #[error("no such image: {0}")]
    NoImage(String),
    /// More than one image has an id that starts so.
    #[error("image id {0} is ambiguous")]
    Ambiguous(String),
    /// An image that pods still use.
    #[error("image {name} is used by the pod {}: remove that first", pod.display())]
    InUse {
        /// The image.
        name: String,
        /// The first of the pods.
        pod: PathBuf,
    },
    /// A pod directory whose path is not UTF-8.
    #[error("the path {} is not UTF-8", .0.display())]
    PodPath(PathBuf),
}

impl StoreError {
    /// Names the action and the path of a failed call.
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

impl Store {
    /// Opens the store under `root`, making what is missing.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for dir in DIRS.iter().map(|dir| root.join(dir)) {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.map_err(StoreError::io("create the directory", &dir))?;
        }
        let root = root.canonicalize().map_err(StoreError::io("resolve", root))?;
        Ok(Self { root })
    }

    /// The store's directory, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn layer_path(&self, diff_id: Digest) -> PathBuf {
        self.root.join(layer_name(diff_id))
    }

    pub(crate) fn meta_path(&self, diff_ids: &[Digest]) -> PathBuf {
        self.root.join(meta_name(diff_ids))
    }

    pub(crate) fn verity_path(&self, diff_ids: &[Digest]) -> PathBuf {
        self.root.join(verity_name(diff_ids))
    }

    /// Keeps a manifest or configuration under its digest.
    pub(crate) fn put_document(&self, dir: &str, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let path = self.dir(dir).join(format!("{}.json", digest.hex()));
        if self.document(dir, digest)?.is_none() {
            TempFile::write(self, bytes)?.persist(&path)?;
        }
        Ok(digest)
    }

    /// Reads a manifest or configuration back, if it is there and whole; a damaged one is made anew like a
    /// missing one.
    pub(crate) fn document(&self, dir: &str, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.dir(dir).join(format!("{}.json", digest.hex()));
        match read_bounded(&path) {
            Ok(bytes) => Ok((Digest::of(&bytes) == digest).then_some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    /// The handle of an image whose files are all there; `None` where one is missing.
    pub(crate) fn handle(
        &self,
        reference: String,
        id: Digest,
        manifest: Option<Digest>,
        lease: Lease,
    ) -> Result<Option<ImageHandle>, StoreError> {
        let Some(config) = self.config(id)? else { return Ok(None) };
        let diff_ids = &config.rootfs.diff_ids;
        let layers = diff_ids.iter().map(|diff_id| self.layer_path(*diff_id));
        let mut extents = Vec::with_capacity(diff_ids.len() + 1);
        for path in std::iter::once(self.meta_path(diff_ids)).chain(layers) {
            let Some(len) = extent_len(&path)? else { return Ok(None) };
            extents.push(Extent { path, len });
        }
        Ok(Some(ImageHandle { reference, id, manifest, config, extents, verity: None, _lease: lease }))
    }

    /// An image's manifest; `None` where it is missing, damaged or none.
    pub(crate) fn manifest(&self, digest: Digest) -> Result<Option<Manifest>, StoreError> {
        let bytes = self.document("manifests", digest)?;
        Ok(match bytes.as_deref().map(manifest::parse) {
            Some(Ok(Document::Manifest(manifest))) => Some(*manifest),
            _ => None,
        })
    }

    pub(crate) fn config(&self, id: Digest) -> Result<Option<ImageConfig>, StoreError> {
        let Some(bytes) = self.document("images", id)? else { return Ok(None) };
        let damaged = |_| StoreError::Damaged(self.dir("images").join(format!("{}.json", id.hex())));
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }
}

/// The length of a layer or metadata file, if it is there and may be whole.
pub(crate) fn extent_len(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() && found.len() > 0 && found.len().is_multiple_of(EXTENT_ALIGN) => {
            Ok(Some(found.len()))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("examine", path)(error)),
    }
}

fn layer_name(diff_id: Digest) -> String {
    format!("layers/{}-v{CONVERTER_VERSION}.erofs", diff_id.hex())
}

fn meta_name(diff_ids: &[Digest]) -> String {
    format!("meta/{}-v{CONVERTER_VERSION}.erofs", chain_of(diff_ids).hex())
}

fn verity_name(diff_ids: &[Digest]) -> String {
    format!("verity/{}-v{CONVERTER_VERSION}.tree", chain_of(diff_ids).hex())
}

fn chain_of(diff_ids: &[Digest]) -> Digest {
    let chain = diff_ids.iter().fold(None, |parent, diff_id| Some(Digest::chain(parent, *diff_id)));
    chain.unwrap_or_else(|| Digest::of(b""))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_DOCUMENT).read_to_end(&mut bytes)?;
    Ok(bytes)
}
