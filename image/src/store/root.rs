//! Roots of the garbage collection: which pod directory needs which files of the store.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, TempFile};
use crate::digest::Digest;
use crate::handle::ImageHandle;

/// A pod directory and what it needs. File names are kept, not derived: a pod outlives a change of the
/// converter's version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Root {
    pub(super) pod: PathBuf,
    pub(super) images: Vec<Digest>,
    pub(super) manifests: Vec<Digest>,
    pub(super) files: Vec<String>,
}

impl Root {
    /// Whether the pod is still there.
    pub(super) fn is_live(&self) -> bool {
        // Only a plain "no such file" frees the files: a directory that is unreadable now may come back.
        !matches!(fs::metadata(self.pod.join("pod.json")),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory))
    }
}

impl Store {
    /// Keeps the files of some images for a pod, for as long as `pod.json` is in its directory.
    ///
    /// The images' handles must live until `pod.json` is in place.
    ///
    /// # Errors
    /// The path is relative or not UTF-8, or the record cannot be written.
    pub fn add_root(&self, pod: &Path, images: &[&ImageHandle]) -> Result<(), StoreError> {
        if !pod.is_absolute() || pod.to_str().is_none() {
            return Err(StoreError::PodPath(pod.to_owned()));
        }
        let file = |path: &Path| path.strip_prefix(&self.root).ok()?.to_str().map(str::to_owned);
        let extents = images.iter().flat_map(|image| image.extents());
        let root = Root {
            pod: pod.to_owned(),
            images: images.iter().map(|image| image.id).collect(),
            manifests: images.iter().filter_map(|image| image.manifest).collect(),
            files: extents.filter_map(|extent| file(&extent.path)).collect(),
        };
        let path = self.root_path(pod);
        let json = serde_json::to_vec(&root).map_err(|error| StoreError::io("write", &path)(error.into()))?;
        TempFile::write(self, &json)?.persist(&path)
    }

    /// Frees what a pod kept. Also done by the garbage collection once the pod's directory is gone.
    ///
    /// # Errors
    /// The record is there but cannot be removed.
    pub fn remove_root(&self, pod: &Path) -> Result<(), StoreError> {
        let path = self.root_path(pod);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The directories of all pods for which files are kept, whatever images they have and whether those are whole.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn pods(&self) -> Result<Vec<PathBuf>, StoreError> {
        let _lease = self.lease()?;
        Ok(self.roots()?.into_iter().filter(Root::is_live).map(|root| root.pod).collect())
    }

    pub(super) fn roots(&self) -> Result<Vec<Root>, StoreError> {
        let dir = self.dir("roots");
        let mut roots = Vec::new();
        for path in super::gc::names(&dir)?.into_iter().map(|name| dir.join(name)) {
            match super::read_bounded(&path) {
                Ok(bytes) => {
                    roots.push(serde_json::from_slice(&bytes).map_err(|_| StoreError::Damaged(path))?);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("read", &path)(error)),
            }
        }
        Ok(roots)
    }

    fn root_path(&self, pod: &Path) -> PathBuf {
        self.dir("roots").join(root_name(pod))
    }
}

/// The file name of a pod's record.
pub(super) fn root_name(pod: &Path) -> String {
    format!("{}.json", Digest::of(pod.as_os_str().as_encoded_bytes()).hex())
}
