//! What is known of an image beside its names: its manifest, the repositories that have it under a digest. An image
//! with a record stays without a name, as Docker's untagged images do, until it is deleted.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, TempFile};
use crate::digest::Digest;

/// References by digest that one image is known by; more are not remembered.
const MAX_DIGESTS: usize = 1000;

/// The record of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ImageRecord {
    /// The image's id.
    pub(crate) image: Digest,
    /// The digest of its manifest.
    pub(crate) manifest: Option<Digest>,
    /// The digest of the index it was chosen from, where there was one.
    pub(crate) index: Option<Digest>,
    /// Complete references by digest under which a registry has it.
    pub(crate) digests: Vec<String>,
    /// When it got its last name, in seconds since 1970.
    pub(crate) tagged: Option<u64>,
}

impl ImageRecord {
    /// The record of an image of which nothing is known.
    pub(crate) fn new(image: Digest) -> Self {
        Self { image, manifest: None, index: None, digests: Vec::new(), tagged: None }
    }

    /// Remembers a reference by digest.
    pub(crate) fn add_digest(&mut self, reference: String) {
        if !self.digests.contains(&reference) && self.digests.len() < MAX_DIGESTS {
            self.digests.push(reference);
        }
    }

    /// Remembers that the image has got a name now.
    pub(crate) fn touch(&mut self) {
        self.tagged = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
    }
}

impl Store {
    /// Changes the record of an image, making it where there is none.
    pub(crate) fn change_record(
        &self,
        image: Digest,
        change: impl FnOnce(&mut ImageRecord),
    ) -> Result<(), StoreError> {
        let path = self.record_path(image);
        // Never stopped, so always taken.
        let _lock = self.entry_lock(&path, || {}, || false)?;
        let before = self.record(image)?;
        let mut record = before.clone().unwrap_or_else(|| ImageRecord::new(image));
        change(&mut record);
        if before.as_ref() == Some(&record) {
            return Ok(());
        }
        let json =
            serde_json::to_vec(&record).map_err(|error| StoreError::io("write", &path)(error.into()))?;
        TempFile::write(self, &json)?.persist(&path)
    }

    /// The record of an image; a damaged one counts as missing.
    pub(crate) fn record(&self, image: Digest) -> Result<Option<ImageRecord>, StoreError> {
        let path = self.record_path(image);
        match super::read_bounded(&path) {
            Ok(bytes) => {
                Ok(serde_json::from_slice(&bytes).ok().filter(|record: &ImageRecord| record.image == image))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    /// The digest of an image's manifest, if all blobs that it names are in the store.
    pub(crate) fn whole_manifest(&self, image: Digest) -> Result<Option<Digest>, StoreError> {
        let Some(digest) = self.record(image)?.and_then(|record| record.manifest) else { return Ok(None) };
        let Some(manifest) = self.manifest(digest)? else { return Ok(None) };
        for layer in &manifest.layers {
            if self.blob(layer.digest, Some(layer.size))?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(digest))
    }

    /// All records.
    pub(crate) fn records(&self) -> Result<Vec<ImageRecord>, StoreError> {
        let names = super::gc::names(&self.dir("records"))?;
        let ids = names.iter().filter_map(|name| Digest::from_hex(name.strip_suffix(".json")?).ok());
        let read = ids.map(|id| self.record(id));
        Ok(read.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    pub(crate) fn remove_record(&self, image: Digest) -> Result<(), StoreError> {
        let path = self.record_path(image);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn record_path(&self, image: Digest) -> PathBuf {
        self.dir("records").join(format!("{}.json", image.hex()))
    }
}
