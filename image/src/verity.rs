//! A hash tree behind an image's disk, with which the guest finds out what the host has changed: dm-verity (Linux'
//! Documentation/admin-guide/device-mapper/verity.rst). For pods whose disks are bound to a measured root.
//!
//! The disk is `[meta][layer 0]…[tree]`. The tree has no superblock: all that one could say is fixed here or stands in
//! launch.json, and the guest believes nothing that the disk says of itself.

mod tree;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::Digest;
use crate::erofs::{BLOCK_SIZE, EXTENT_ALIGN};
use crate::handle::{Extent, ImageHandle};
use crate::progress::{Event, Progress};
use crate::store::{Store, StoreError, TempFile, extent_len};

pub use tree::{tree_blocks, write_tree};

/// After so many bytes it is told how far the hashing is.
const PROGRESS_STEP: u64 = 512 << 20;

/// What a disk is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verity {
    /// The digest at the tree's root.
    pub root: Digest,
    /// Blocks of [`BLOCK_SIZE`] bytes before the tree.
    pub data_blocks: u64,
}

/// Why a disk has no tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerityError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk cannot be read, or the tree not be written.
    #[error("cannot hash the image's disk")]
    Hash(#[source] io::Error),
    /// The caller gave up.
    #[error("cancelled")]
    Cancelled,
}

impl ImageHandle {
    /// Puts the tree behind the image's layers: an extent more. It is taken from the store, or made and kept there under
    /// what it is made of. Does nothing where it is there already.
    ///
    /// # Errors
    /// Each variant; the disk is as it was then.
    pub fn add_verity(
        &mut self,
        store: &Store,
        progress: &dyn Progress,
        cancel: Option<&AtomicBool>,
    ) -> Result<(), VerityError> {
        if self.verity.is_some() {
            return Ok(());
        }
        let path = store.verity_path(self.diff_ids());
        let size = self.disk_bytes();
        let data_blocks = size / BLOCK_SIZE;
        let len = (tree_blocks(data_blocks) * BLOCK_SIZE).next_multiple_of(EXTENT_ALIGN);
        let is_cancelled = || cancel.is_some_and(|flag| flag.load(Ordering::SeqCst));
        let lock = store.entry_lock(&path, || {}, is_cancelled)?.ok_or(VerityError::Cancelled)?;
        if extent_len(&path)? != Some(len) {
            let temp = TempFile::new(store)?;
            let disk =
                Disk { extents: self.extents.iter(), part: None, done: 0, size, progress, is_cancelled };
            let written = write_tree(disk, data_blocks, temp.file()).and_then(|_| temp.file().set_len(len));
            written.map_err(|error| {
                if is_cancelled() { VerityError::Cancelled } else { VerityError::Hash(error) }
            })?;
            temp.persist(&path)?;
        }
        drop(lock);
        let root = root_of(&path).map_err(StoreError::io("read", &path))?;
        self.extents.push(Extent { path, len });
        self.verity = Some(Verity { root, data_blocks });
        Ok(())
    }

    /// What the disk is checked against, where its tree was added.
    #[must_use]
    pub fn verity(&self) -> Option<Verity> {
        self.verity
    }
}

/// The root is the digest of the top block, which comes first. A disk of one block would have none, and extents are longer.
fn root_of(tree: &Path) -> io::Result<Digest> {
    let mut top = Vec::new();
    File::open(tree)?.take(BLOCK_SIZE).read_to_end(&mut top)?;
    Ok(Digest::of(&top))
}

/// The disk's data in their order.
struct Disk<'a, C> {
    extents: std::slice::Iter<'a, Extent>,
    /// What is left of the extent that is being read.
    part: Option<io::Take<File>>,
    /// Bytes that were read, and of how many.
    done: u64,
    size: u64,
    progress: &'a dyn Progress,
    is_cancelled: C,
}

impl<C: Fn() -> bool> Read for Disk<'_, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.is_cancelled)() {
            return Err(io::Error::other("cancelled"));
        }
        loop {
            if let Some(part) = &mut self.part {
                let count = part.read(buffer)?;
                if count > 0 {
                    if self.done / PROGRESS_STEP != (self.done + count as u64) / PROGRESS_STEP
                        || self.done == 0
                    {
                        self.progress.event(Event::Hashing { done: self.done, size: self.size });
                    }
                    self.done += count as u64;
                    return Ok(count);
                }
                // A file that has become shorter must not move what follows.
                if part.limit() > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let Some(extent) = self.extents.next() else { return Ok(0) };
            self.part = Some(File::open(&extent.path)?.take(extent.len));
        }
    }
}
