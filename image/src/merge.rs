//! Merges the layers of an image into its metadata EROFS, the first extent of the disk that a guest mounts.
//! Called by the pull pipeline once all layers of an image are in the store; docs/image-format.md gives the rules.

mod apply;

use std::fs::File;
use std::io;

use crate::erofs::BLOCK_SIZE;
use crate::erofs::read::{ReadError, read_layer};
use crate::erofs::write::{WriteError, Writer};
use crate::limits::Limits;
use crate::tree::{Tree, TreeError};

/// What a merge made, and where the parts of the composite disk lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeSummary {
    /// Length of the metadata file in bytes, a multiple of [`crate::erofs::EXTENT_ALIGN`].
    pub meta_bytes: u64,
    /// Length of the composite disk `[meta][layer 0][layer 1]…` in bytes.
    pub disk_bytes: u64,
    /// Inodes of the merged tree.
    pub entries: u64,
}

/// Why layers could not be merged. Layers are counted from 0, the bottom one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A layer's file cannot be read.
    #[error("cannot read the file of layer {layer}")]
    ReadLayer {
        /// Which.
        layer: usize,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// An entry of a layer does not fit what is below it.
    #[error("cannot apply layer {layer}")]
    Apply {
        /// Which.
        layer: usize,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// A hard link to a file that neither its layer nor a lower one has.
    #[error("layer {layer} has a hard link to {target:?}, which does not exist")]
    MissingLinkTarget {
        /// Which.
        layer: usize,
        /// The missing file.
        target: String,
    },
    /// More layers than allowed.
    #[error("{count} layers, more than {limit}")]
    TooManyLayers {
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The metadata file could not be written.
    #[error("cannot write the image's metadata file")]
    Write(#[source] io::Error),
    /// More data than EROFS can address with 4 KiB blocks.
    #[error("the image's disk is larger than 16 TiB")]
    TooLarge,
}

impl From<WriteError> for MergeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io(source) => Self::Write(source),
            WriteError::Full => Self::TooLarge,
        }
    }
}

/// The metadata's first block: block 0 holds the superblock.
const META_BLOCK: u32 = 1;

/// Merges `layers`, the bottom one first, into `out`: a fresh, empty file, open for reading and writing.
///
/// The result mounts only as the first extent of the disk `[meta][layer 0][layer 1]…`, each layer with its whole
/// length, in the order given here. Equal layers make equal bytes.
///
/// # Errors
/// A layer file that is not one of [`crate::erofs::convert_layer`]'s, a hard link to a file that no layer has, a limit
/// that is passed, a failed read or write.
pub fn merge_layers(layers: &[&File], out: &File, limits: &Limits) -> Result<MergeSummary, MergeError> {
    let too_many = || MergeError::TooManyLayers { count: layers.len(), limit: limits.layers };
    if layers.len() > limits.layers {
        return Err(too_many());
    }
    let mut merged = Tree::new(limits);
    let mut lengths = Vec::with_capacity(layers.len());
    for (layer, file) in layers.iter().enumerate() {
        let failed = |source| MergeError::ReadLayer { layer, source };
        let number = u16::try_from(layer).map_err(|_| too_many())?;
        let upper = read_layer(file, number, limits).map_err(failed)?;
        let metadata =
            file.metadata().map_err(|source| failed(ReadError::Read { offset: 0, length: 0, source }))?;
        lengths.push(metadata.len());
        apply::apply(&mut merged, &upper, layer)?;
    }
    apply::settle(&mut merged);

    let writer = Writer::new(&merged, META_BLOCK);
    let meta_bytes = writer.file_bytes();
    let mut disk_bytes = meta_bytes;
    let mut bases = Vec::with_capacity(lengths.len());
    for length in lengths {
        bases.push(u32::try_from(disk_bytes / BLOCK_SIZE).map_err(|_| MergeError::TooLarge)?);
        disk_bytes = disk_bytes.checked_add(length).ok_or(MergeError::TooLarge)?;
    }
    writer.write(out, &bases, disk_bytes)?;
    Ok(MergeSummary { meta_bytes, disk_bytes, entries: writer.inodes() })
}
