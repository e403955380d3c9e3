//! Layers as they were transferred, kept where an engine has to give them away again: a push or a save moves the very
//! bytes that came, so that manifests keep their digests.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use super::{Store, StoreError};
use crate::digest::{Digest, HashingReader};

/// A blob of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    /// The digest of its bytes, which is its name.
    pub(crate) digest: Digest,
    /// Their count.
    pub(crate) size: u64,
}

impl Store {
    pub(crate) fn blob_path(&self, digest: Digest) -> PathBuf {
        self.root().join(blob_name(digest))
    }

    /// A blob, if it is there and may be whole: one of another length than `size` counts as missing.
    pub(crate) fn blob(&self, digest: Digest, size: Option<u64>) -> Result<Option<Blob>, StoreError> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(found) if found.is_file() && size.is_none_or(|size| size == found.len()) => {
                Ok(Some(Blob { digest, size: found.len() }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("examine", &path)(error)),
        }
    }

    /// Opens a blob; who reads it to the end learns whether it is whole.
    pub(crate) fn open_blob(&self, blob: Blob) -> Result<BlobFile, StoreError> {
        let path = self.blob_path(blob.digest);
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        Ok(BlobFile { bytes: HashingReader::new(file), blob, path })
    }
}

/// The name of a blob's file, relative to the store.
pub(super) fn blob_name(digest: Digest) -> String {
    format!("blobs/{}", digest.hex())
}

/// Reads a blob and compares it with its name at the end. A damaged one is removed: it counts as missing then, and the
/// image's next pull brings it anew.
pub(crate) struct BlobFile {
    bytes: HashingReader<File>,
    blob: Blob,
    path: PathBuf,
}

impl Read for BlobFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.blob.size - self.bytes.len()).unwrap_or(usize::MAX).min(buf.len());
        let count = self.bytes.read(&mut buf[..left])?;
        let len = self.bytes.len();
        let short = count == 0 && left > 0;
        if short || len == self.blob.size && count > 0 && self.bytes.digest() != self.blob.digest {
            // Whether or not it can be removed, it is not used.
            let _ = fs::remove_file(&self.path);
            return Err(io::Error::other(StoreError::Damaged(self.path.clone())));
        }
        Ok(count)
    }
}
