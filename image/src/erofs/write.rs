//! Writes a planned tree as EROFS: the superblock, and the metadata from a given block on.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::dirents::{self, Dirent};
use super::format::{
    BLOCK, Inode, LAYOUT_CHUNKED, LAYOUT_INLINE, LAYOUT_PLAIN, NULL_ADDRESS, SUPER_OFFSET, SuperBlock,
    encode_device, type_of,
};
use super::plan::{Place, Plan, Tail, marked_xattrs, sorted_names};
use super::sink::Sink;
use super::{EXTENT_ALIGN, xattrs};
use crate::tree::{Blocks, Content, FileData, NodeId, Tree};

/// Why a file system cannot be written.
#[derive(Debug)]
pub(crate) enum WriteError {
    Io(io::Error),
    /// 32-bit block addresses do not reach.
    Full,
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A tree on its way to a file.
pub(crate) struct Writer<'a> {
    tree: &'a Tree,
    plan: Plan,
    meta_block: u32,
}

impl<'a> Writer<'a> {
    /// Plans the metadata of `tree`, to begin at `meta_block` of its file.
    pub(crate) fn new(tree: &'a Tree, meta_block: u32) -> Self {
        Self { tree, plan: Plan::new(tree), meta_block }
    }

    /// Inodes of the file system.
    pub(crate) fn inodes(&self) -> u64 {
        self.plan.order.len() as u64
    }

    /// Length of the file in bytes, padded.
    pub(crate) fn file_bytes(&self) -> u64 {
        let blocks = u64::from(self.meta_block) + self.plan.inode_blocks + self.plan.data_blocks;
        (blocks * BLOCK as u64).next_multiple_of(EXTENT_ALIGN)
    }

    /// Writes the metadata and, last, the superblock. `bases` holds the first block of each layer on a disk of
    /// `disk_bytes` bytes.
    pub(crate) fn write(&self, out: &File, bases: &[u32], disk_bytes: u64) -> Result<(), WriteError> {
        let blocks = u32::try_from(disk_bytes / BLOCK as u64).map_err(|_| WriteError::Full)?;
        out.set_len(self.file_bytes())?;
        let begin = u64::from(self.meta_block) * BLOCK as u64;
        let mut sink = Sink::new(out, begin);
        for (number, &id) in (1..).zip(&self.plan.order) {
            if let Some(place) = self.plan.place_of(id) {
                sink.seek(begin + place.offset)?;
                self.write_inode(&mut sink, id, place, number, bases)?;
            }
        }
        sink.seek(begin + self.plan.inode_blocks * BLOCK as u64)?;
        for &id in &self.plan.order {
            self.write_blocks(&mut sink, id)?;
        }
        sink.flush()?;
        let super_block = SuperBlock { meta_block: self.meta_block, inodes: self.inodes(), blocks };
        out.write_all_at(&super_block.encode(), SUPER_OFFSET as u64)?;
        Ok(())
    }

    fn write_inode(
        &self,
        sink: &mut Sink<'_>,
        id: NodeId,
        place: &Place,
        ino: u32,
        bases: &[u32],
    ) -> Result<(), WriteError> {
        let node = self.tree.node(id);
        let attributes = &node.attributes;
        let (layout, data, size) = match (&node.content, place.tail) {
            (Content::File(file), _) => {
                let (layout, data) = file_data(file, bases)?;
                (layout, data, file.size)
            }
            (&Content::Device { major, minor, .. }, _) => (LAYOUT_PLAIN, encode_device(major, minor), 0),
            (_, Tail::Inline { blocks_from, .. }) => {
                (LAYOUT_INLINE, self.data_block(blocks_from)?, place.size)
            }
            (_, Tail::Blocks { blocks_from }) => (LAYOUT_PLAIN, self.data_block(blocks_from)?, place.size),
            (_, Tail::None | Tail::Map(_)) => (LAYOUT_PLAIN, 0, 0),
        };
        let inode = Inode {
            layout,
            xattr_bytes: place.xattr_bytes,
            mode: type_of(&node.content).0 | attributes.mode,
            size,
            data,
            ino,
            uid: attributes.uid,
            gid: attributes.gid,
            mtime_seconds: attributes.mtime.seconds,
            mtime_nanos: attributes.mtime.nanos,
            links: place.links,
        };
        sink.put(&inode.encode())?;
        sink.put(&xattrs::encode(marked_xattrs(node)))?;
        if let Content::File(FileData { layer, blocks: Blocks::Chunked { bits, runs }, .. }) = &node.content {
            let base = base_of(bases, *layer)?;
            for run in runs {
                for chunk in 0..run.chunks {
                    let address = match run.block {
                        None => NULL_ADDRESS,
                        Some(block) => address(base, u64::from(block) + (u64::from(chunk) << bits))?,
                    };
                    sink.put(&address.to_le_bytes())?;
                }
            }
        }
        if let Tail::Inline { bytes, .. } = place.tail {
            let data = self.own_data(id);
            sink.put(&data[data.len() - bytes..])?;
        }
        Ok(())
    }

    /// Writes the whole blocks of a directory or a link.
    fn write_blocks(&self, sink: &mut Sink<'_>, id: NodeId) -> Result<(), WriteError> {
        let Some(place) = self.plan.place_of(id) else { return Ok(()) };
        let whole = match place.tail {
            Tail::Inline { bytes, .. } if place.size > bytes as u64 => bytes,
            Tail::Blocks { .. } => 0,
            _ => return Ok(()),
        };
        let mut data = self.own_data(id);
        data.truncate(data.len() - whole);
        data.resize(data.len().next_multiple_of(BLOCK), 0);
        sink.put(&data)?;
        Ok(())
    }

    /// The data of a directory or a link.
    fn own_data(&self, id: NodeId) -> Vec<u8> {
        match &self.tree.node(id).content {
            Content::Symlink(target) => target.to_vec(),
            Content::Directory(_) => {
                let names = sorted_names(self.tree, id);
                let entries: Vec<Dirent<'_>> = names
                    .iter()
                    .map(|&(name, child)| Dirent {
                        name,
                        nid: self.plan.place_of(child).map_or(0, Place::nid),
                        kind: type_of(&self.tree.node(child).content).1,
                    })
                    .collect();
                dirents::encode(&entries)
            }
            _ => Vec::new(),
        }
    }

    /// The address of a block of the metadata's own data.
    fn data_block(&self, index: u64) -> Result<u32, WriteError> {
        address(self.meta_block, self.plan.inode_blocks + index)
    }
}

fn address(base: u32, block: u64) -> Result<u32, WriteError> {
    let address = u64::from(base).checked_add(block).and_then(|address| u32::try_from(address).ok());
    address.filter(|&address| address != NULL_ADDRESS).ok_or(WriteError::Full)
}

fn base_of(bases: &[u32], layer: u16) -> Result<u32, WriteError> {
    bases.get(usize::from(layer)).copied().ok_or(WriteError::Full)
}

/// Layout and data field of a file's inode.
fn file_data(file: &FileData, bases: &[u32]) -> Result<(u16, u32), WriteError> {
    Ok(match &file.blocks {
        Blocks::Contiguous(_) if file.size == 0 => (LAYOUT_PLAIN, 0),
        Blocks::Contiguous(block) => (LAYOUT_PLAIN, address(base_of(bases, file.layer)?, u64::from(*block))?),
        Blocks::Chunked { bits, .. } => (LAYOUT_CHUNKED, u32::from(*bits)),
    })
}
