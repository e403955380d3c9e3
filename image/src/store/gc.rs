//! Garbage collection: what no name and no pod needs goes, with all that killed processes left.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use super::root::{Root, root_name};
use super::{Store, StoreError, layer_name, meta_name};

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
        if all {
            let _lease = self.lease()?;
            let used: HashSet<_> =
                self.roots()?.into_iter().filter(Root::is_live).flat_map(|root| root.images).collect();
            for tag in self.tags()?.into_iter().filter(|tag| !used.contains(&tag.image)) {
                self.remove_tag(&tag.reference)?;
            }
        }
        Ok(self.collect(true)?.unwrap_or_default())
    }

    /// Bytes of disk that all layers and metadata take.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn usage(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for dir in ["layers", "meta"].map(|dir| self.dir(dir)) {
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
        for dir in ["layers", "meta", "images", "manifests", "roots", "tmp", "locks"] {
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
            keep.insert(format!("images/{}.json", tag.image.hex()));
            keep.extend(tag.manifest.map(|digest| format!("manifests/{}.json", digest.hex())));
            // A damaged configuration keeps no layers: the next pull makes them again.
            if let Ok(Some(config)) = self.config(tag.image) {
                keep.extend(config.rootfs.diff_ids.iter().map(|diff_id| layer_name(*diff_id)));
                keep.insert(meta_name(&config.rootfs.diff_ids));
            }
        }
        for root in self.roots()?.into_iter().filter(Root::is_live) {
            keep.insert(format!("roots/{}", root_name(&root.pod)));
            keep.extend(root.images.iter().map(|id| format!("images/{}.json", id.hex())));
            keep.extend(root.manifests.iter().map(|digest| format!("manifests/{}.json", digest.hex())));
            keep.extend(root.files);
        }
        Ok(keep)
    }
}

/// The names in a directory of the store.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let read = || fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>();
    let names = read().map_err(StoreError::io("list", dir))?;
    // The store writes no other names than UTF-8: what has one is not the store's.
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}
