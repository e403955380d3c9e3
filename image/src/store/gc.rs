//! Garbage collection: what no name and no pod needs goes, with all that killed processes left.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use super::blob::blob_name;
use super::root::{Root, root_name};
use super::{Store, StoreError, layer_name, meta_name, verity_name};
use crate::digest::Digest;

/// The directories in which only what is marked stays.
const COLLECTED: [&str; 10] =
    ["layers", "meta", "verity", "images", "manifests", "roots", "records", "blobs", "tmp", "locks"];

/// What a garbage collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    /// Images.
    pub images: usize,
    /// Layers.
    pub layers: usize,
    /// Bytes of disk that are free again.
    pub bytes: u64,
}

impl Store {
    /// Removes what no name and no pod needs; with `all`, names that no pod needs count as nothing. Waits until
    /// nobody is at work in the store.
    ///
    /// # Errors
    /// The store cannot be read, or a file not be removed.
    pub fn prune(&self, all: bool) -> Result<Pruned, StoreError> {
        let lease = self.lease()?;
        let used: HashSet<_> =
            self.roots()?.into_iter().filter(Root::is_live).flat_map(|root| root.images).collect();
        let mut named = HashSet::new();
        for tag in self.tags()? {
            if all && !used.contains(&tag.image) {
                self.remove_tag(&tag.reference)?;
            } else {
                named.insert(tag.image);
            }
        }
        let unneeded = |image: &Digest| !used.contains(image) && !named.contains(image);
        for image in self.records()?.into_iter().map(|record| record.image).filter(unneeded) {
            self.remove_record(image)?;
        }
        drop(lease);
        Ok(self.collect(true)?.unwrap_or_default())
    }

    /// Removes what nothing needs, if nobody is at work in the store just now.
    ///
    /// # Errors
    /// The store cannot be read, or a file not be removed.
    pub fn sweep(&self) -> Result<Pruned, StoreError> {
        Ok(self.collect(false)?.unwrap_or_default())
    }

    /// Bytes of disk that all layers, metadata and blobs take.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn usage(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for dir in ["layers", "meta", "verity", "blobs"].map(|dir| self.dir(dir)) {
            let files = names(&dir)?.into_iter().filter_map(|name| fs::metadata(dir.join(name)).ok());
            bytes += files.map(|found| found.blocks() * 512).sum::<u64>();
        }
        Ok(bytes)
    }

    /// Collects; `None` where somebody is at work and `wait` is not wanted.
    pub(super) fn collect(&self, wait: bool) -> Result<Option<Pruned>, StoreError> {
        let Some(_exclusive) = self.exclusive(wait)? else { return Ok(None) };
        let keep = self.mark()?;
        let mut pruned = Pruned::default();
        for dir in COLLECTED {
            for name in names(&self.dir(dir))? {
                let entry = format!("{dir}/{name}");
                if keep.contains(&entry) {
                    continue;
                }
                let path = self.root.join(&entry);
                pruned.bytes += fs::metadata(&path).map_or(0, |found| found.blocks() * 512);
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
                pruned.images += usize::from(dir == "images");
                pruned.layers += usize::from(dir == "layers");
            }
        }
        Ok(Some(pruned))
    }

    /// The files that a name or a living pod needs, relative to the store.
    fn mark(&self) -> Result<HashSet<String>, StoreError> {
        let mut keep = HashSet::new();
        for tag in self.tags()? {
            self.mark_image(&mut keep, tag.image);
            keep.extend(tag.manifest.into_iter().chain(tag.index).map(manifest_name));
        }
        for record in self.records()? {
            self.mark_image(&mut keep, record.image);
            keep.insert(format!("records/{}.json", record.image.hex()));
            keep.extend(record.manifest.into_iter().chain(record.index).map(manifest_name));
            let manifest = record.manifest.map(|digest| self.manifest(digest)).transpose()?.flatten();
            let layers = manifest.iter().flat_map(|manifest| &manifest.layers);
            keep.extend(layers.map(|layer| blob_name(layer.digest)));
        }
        for root in self.roots()?.into_iter().filter(Root::is_live) {
            keep.insert(format!("roots/{}", root_name(&root.pod)));
            keep.extend(root.images.iter().map(|id| format!("images/{}.json", id.hex())));
            keep.extend(root.manifests.into_iter().map(manifest_name));
            keep.extend(root.files);
        }
        Ok(keep)
    }

    fn mark_image(&self, keep: &mut HashSet<String>, image: Digest) {
        keep.insert(format!("images/{}.json", image.hex()));
        // A damaged configuration keeps no layers: the next pull makes them again.
        if let Ok(Some(config)) = self.config(image) {
            keep.extend(config.rootfs.diff_ids.iter().map(|diff_id| layer_name(*diff_id)));
            keep.insert(meta_name(&config.rootfs.diff_ids));
            keep.insert(verity_name(&config.rootfs.diff_ids));
        }
    }
}

fn manifest_name(digest: Digest) -> String {
    format!("manifests/{}.json", digest.hex())
}

/// The names in a directory of the store.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let read = || fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>();
    let names = read().map_err(StoreError::io("list", dir))?;
    // The store writes no other names than UTF-8: what has one is not the store's.
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}
