//! What an image may cost: the bounds that the tar reader, the file tree, the EROFS reader and the merge hold
//! against hostile input. Every count that an archive chooses is checked against one of them before memory or
//! disk is spent on it.

/// An archive may grow to this many bytes whatever its ratio: small archives of zeros are harmless.
pub(crate) const RATIO_FLOOR: u64 = 64 << 20;

/// Bounds on one layer, and through [`Limits::entries`] and [`Limits::metadata_bytes`] on a merged image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Uncompressed size of a layer's archive, and of the blocks that its files' data fills, in bytes.
    pub layer_bytes: u64,
    /// How many times larger than its compressed form an archive may be, once it is past 64 MiB.
    pub ratio: u64,
    /// Files, directories and other nodes of a layer or of a merged image.
    pub entries: u64,
    /// Length of a path or of a link's target in an archive, in bytes.
    pub path_bytes: usize,
    /// Directories between the root and the deepest entry.
    pub depth: usize,
    /// Logical size of one file, holes included, in bytes. EROFS with 4 KiB blocks ends at 16 TiB.
    pub file_bytes: u64,
    /// Data extents of one sparse file.
    pub sparse_extents: usize,
    /// Size of one pax extended header, in bytes.
    pub pax_bytes: u64,
    /// Names, link targets, extended attributes and sparse maps held in memory, in bytes, nodes included: of all layers
    /// of an image that are converted at one time together, and of a merged image. While a layer is merged into what is
    /// below it, both are held: twice as much is the most that an image can take of the host.
    pub metadata_bytes: u64,
    /// Layers of an image.
    pub layers: usize,
}

impl Limits {
    /// Those that the tar reader holds.
    pub(crate) fn tar(&self) -> tar::Limits {
        tar::Limits {
            archive_bytes: self.layer_bytes,
            file_bytes: self.file_bytes,
            sparse_extents: self.sparse_extents,
            pax_bytes: self.pax_bytes,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layer_bytes: 64 << 30,
            ratio: 1000,
            entries: 4_000_000,
            path_bytes: 4096,
            depth: 1024,
            file_bytes: 15 << 40,
            sparse_extents: 1 << 20,
            pax_bytes: 1 << 20,
            metadata_bytes: 1 << 30,
            layers: 256,
        }
    }
}
