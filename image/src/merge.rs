//! Merges the layers of an image into its metadata EROFS, the first extent of the disk that a guest mounts.
//! Called by the pull pipeline once all layers of an image are in the store; docs/image-format.md gives the rules.

use std::fs::File;
use std::io;

use crate::limits::Limits;

/// What a merge made, and where the parts of the composite disk lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeSummary {
    /// Length of the metadata file in bytes, a multiple of [`crate::erofs::EXTENT_ALIGN`].
    pub meta_bytes: u64,
    /// Length of the composite disk `[meta][layer 0][layer 1]…` in bytes.
    pub disk_bytes: u64,
    /// Nodes of the merged tree.
    pub entries: u64,
}

/// Why layers could not be merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The metadata file could not be written.
    #[error("cannot write the image's metadata file")]
    Write(#[source] io::Error),
}

/// Merges `layers`, the bottom one first, into `out`: a fresh, empty file, open for reading and writing.
///
/// The result mounts only as the first extent of the disk `[meta][layer 0][layer 1]…`, each layer with its whole
/// length, in the order given here.
///
/// # Errors
/// A layer file that is not one of [`crate::erofs::convert_layer`]'s, a hard link to a file that no layer has, a limit
/// that is passed, a failed read or write.
pub fn merge_layers(_layers: &[&File], _out: &File, _limits: &Limits) -> Result<MergeSummary, MergeError> {
    Err(MergeError::Write(io::ErrorKind::Unsupported.into()))
}
