//! An image of the content store, ready to be a pod's disk.

use std::path::PathBuf;

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::store::Lease;
use crate::verity::Verity;

/// An image whose files are all in the content store. They stay there while the handle lives; who needs them
/// longer registers a root ([`crate::Store::add_root`]) before letting go of the handle.
#[derive(Debug)]
pub struct ImageHandle {
    pub(crate) reference: String,
    pub(crate) id: Digest,
    pub(crate) manifest: Option<Digest>,
    pub(crate) config: ImageConfig,
    pub(crate) extents: Vec<Extent>,
    pub(crate) verity: Option<Verity>,
    pub(crate) _lease: Lease,
}

/// A file of the content store, one part of an image's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where the file is.
    pub path: PathBuf,
    /// Its length in bytes, a multiple of [`crate::erofs::EXTENT_ALIGN`].
    pub len: u64,
}

impl ImageHandle {
    /// The image's name in its shortest form, or the source it came from where it has no name.
    #[must_use]
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The image's id: the digest of its configuration.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.id
    }

    /// The digest of the image's manifest, where its source had one.
    #[must_use]
    pub fn manifest_digest(&self) -> Option<Digest> {
        self.manifest
    }

    /// The image's configuration.
    #[must_use]
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The digests of the layers' archives, lowest first.
    #[must_use]
    pub fn diff_ids(&self) -> &[Digest] {
        &self.config.rootfs.diff_ids
    }

    /// The parts of the disk in their order on it: merged metadata, then the layers, lowest first, then
    /// the tree of [`Self::add_verity`].
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The length of the disk in bytes.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.len).sum()
    }
}
