//! EROFS files: a layer's archive or a directory becomes one plain file system ([`convert_layer`],
//! [`convert_directory`]), and `merge` reads layers back and writes an image's merged metadata.
//!
//! The format is the one that docs/image-format.md describes: 4 KiB blocks, extended inodes, file data never
//! inline, files with holes chunk-based. Called by the pull pipeline and by `merge`.

mod chunks;
mod convert;
mod data;
mod dirents;
mod format;
mod plan;
pub(crate) mod read;
mod sink;
mod window;
pub(crate) mod write;
mod xattrs;

pub use convert::{ConvertError, LayerSummary, convert_directory, convert_layer};

/// Version of what [`convert_layer`] and `merge` write; part of the key of every stored file, so that a change of
/// the format or of a rule never meets files of an older one.
pub const CONVERTER_VERSION: u32 = 1;

/// Bytes of a block.
pub const BLOCK_SIZE: u64 = 4096;

/// Every layer and every merged-metadata file is padded to a multiple of this many bytes.
pub const EXTENT_ALIGN: u64 = 2 << 20;
