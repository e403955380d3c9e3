//! From a layer's archive, or an unpacked directory, to its EROFS file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::limits::Limits;

/// What a conversion made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSummary {
    /// Length of the EROFS file, a multiple of [`super::EXTENT_ALIGN`].
    pub file_bytes: u64,
    /// Nodes of the layer, its root and whiteouts included.
    pub entries: u64,
    /// Extended attributes left out: namespaces that EROFS cannot hold, malformed ACLs, overlayfs' own markers.
    pub dropped_xattrs: u64,
}

/// Why a layer could not be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The archive's stream failed.
    #[error("cannot read the layer's archive")]
    ReadArchive(#[source] io::Error),
    /// The EROFS file could not be written.
    #[error("cannot write the layer's EROFS file")]
    Write(#[source] io::Error),
}

/// Converts the uncompressed tar stream of a layer into an EROFS file.
///
/// `out` is a fresh, empty file, open for reading and writing; it ends padded to [`super::EXTENT_ALIGN`]. The stream
/// is read to its end, whatever follows the archive's trailer, so that a digest taken on the way covers all of it.
/// The same stream makes the same bytes.
///
/// # Errors
/// A malformed archive, an entry outside the root, a limit that is passed, a failed read or write.
pub fn convert_layer(_tar: &mut dyn Read, _out: &File, _limits: &Limits) -> Result<LayerSummary, ConvertError> {
    Err(ConvertError::Write(io::ErrorKind::Unsupported.into()))
}

/// Converts a directory tree (the `rootfs` of an unpacked bundle) into the EROFS file of a single layer.
///
/// # Errors
/// As [`convert_layer`], and a file of the tree that cannot be read.
pub fn convert_directory(_dir: &Path, _out: &File, _limits: &Limits) -> Result<LayerSummary, ConvertError> {
    Err(ConvertError::Write(io::ErrorKind::Unsupported.into()))
}
