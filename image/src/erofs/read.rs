//! Reads a layer's file back into a tree. The files are this crate's own, but a damaged store must end in an error:
//! every address, length and count is checked.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use super::dirents;
use super::format::{
    BLOCK, BLOCK_BITS, CHUNK_BITS_MAX, INODE_SIZE, Inode, LAYOUT_CHUNKED, LAYOUT_INLINE, LAYOUT_PLAIN,
    NULL_ADDRESS, ROOT_NID, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, SLOT,
    SUPER_OFFSET, SUPER_SIZE, SuperBlock, decode_device,
};
use super::window::Window;
use super::{EXTENT_ALIGN, xattrs};
use crate::limits::Limits;
use crate::tree::path::SYMLINK_MAX;
use crate::tree::{
    Attributes, Blocks, Bytes, ChunkRun, Content, FileData, Node, NodeId, Timestamp, Tree, TreeError, xattr,
};

/// Why a layer's file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file failed.
    #[error("cannot read {length} bytes at {offset}")]
    Read {
        /// Where, in bytes.
        offset: u64,
        /// How many.
        length: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its beginning or its length is not a layer's.
    #[error("it is no layer of this format version")]
    NotALayer,
    /// A structure that the writer does not make.
    #[error("the inode {nid} is damaged: {problem}")]
    Damaged {
        /// The inode's number.
        nid: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// It holds more than allowed.
    #[error("cannot take an entry of the layer")]
    Entry(#[from] TreeError),
}

/// Reads the layer in `file`; its files' data is said to lie in layer number `layer`.
pub(crate) fn read_layer(file: &File, layer: u16, limits: &Limits) -> Result<Tree, ReadError> {
    let length = file.metadata().map_err(|source| ReadError::Read { offset: 0, length: 0, source })?.len();
    if length == 0 || length % EXTENT_ALIGN != 0 {
        return Err(ReadError::NotALayer);
    }
    let mut window = Window::new(file, length);
    let bytes = window.get(SUPER_OFFSET as u64, SUPER_SIZE)?;
    let super_block = bytes.first_chunk().and_then(SuperBlock::decode).ok_or(ReadError::NotALayer)?;
    if u64::from(super_block.blocks) != length >> BLOCK_BITS || super_block.meta_block >= super_block.blocks {
        return Err(ReadError::NotALayer);
    }
    let mut reader = Reader {
        directories: Window::new(file, length),
        inodes: window,
        super_block,
        layer,
        tree: Tree::new(limits),
        seen: HashMap::new(),
    };
    reader.read()?;
    Ok(reader.tree)
}

struct Reader<'a> {
    inodes: Window<'a>,
    directories: Window<'a>,
    super_block: SuperBlock,
    layer: u16,
    tree: Tree,
    /// Nodes by inode number, for hard links.
    seen: HashMap<u64, NodeId>,
}

/// An inode as read, with its attributes and where its tail lies.
struct Found {
    nid: u64,
    inode: Inode,
    attributes: Attributes,
    tail: u64,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), ReadError> {
        let root = self.inode(u64::from(ROOT_NID))?;
        if root.inode.mode & S_IFMT != S_IFDIR {
            return Err(damaged(root.nid, "the root is no directory"));
        }
        self.seen.insert(root.nid, NodeId::ROOT);
        self.mark_directory(NodeId::ROOT, &root);
        let mut queue = vec![(NodeId::ROOT, root)];
        while let Some((id, found)) = queue.pop() {
            for (name, nid) in self.names(&found)? {
                if let Some(&known) = self.seen.get(&nid) {
                    if self.tree.directory(known).is_some() {
                        return Err(damaged(nid, "a directory has two names"));
                    }
                    self.tree.bind(id, &name, known)?;
                    continue;
                }
                let child = self.inode(nid)?;
                if child.inode.mode & S_IFMT == S_IFDIR {
                    let known = self.tree.add_directory(id, &name, Attributes::default(), false)?;
                    self.mark_directory(known, &child);
                    self.seen.insert(nid, known);
                    queue.push((known, child));
                } else {
                    let content = self.content(&child)?;
                    let known = self.tree.add(Node { attributes: child.attributes, content })?;
                    self.tree.bind(id, &name, known)?;
                    self.seen.insert(nid, known);
                }
            }
        }
        Ok(())
    }

    /// Gives a directory the attributes of its inode, and turns marks into what they mean.
    fn mark_directory(&mut self, id: NodeId, found: &Found) {
        let mut attributes = found.attributes.clone();
        let implicit = attributes.xattrs.remove(xattr::IMPLICIT).is_some();
        let opaque = attributes.xattrs.remove(xattr::OPAQUE).is_some();
        self.tree.node_mut(id).attributes = attributes;
        if let Some(directory) = self.tree.directory_mut(id) {
            directory.implicit = implicit;
            directory.opaque = opaque;
        }
    }

    /// Byte offset of a block of the file.
    fn block_offset(&self, nid: u64, block: u64) -> Result<u64, ReadError> {
        if block >= u64::from(self.super_block.blocks) {
            return Err(damaged(nid, "a block lies outside the file"));
        }
        Ok(block << BLOCK_BITS)
    }

    fn inode(&mut self, nid: u64) -> Result<Found, ReadError> {
        let meta = u64::from(self.super_block.meta_block) << BLOCK_BITS;
        let offset = nid.checked_mul(SLOT).and_then(|bytes| bytes.checked_add(meta));
        let offset = offset.ok_or(damaged(nid, "the inode lies outside the file"))?;
        let bytes = self.inodes.get(offset, INODE_SIZE)?;
        let inode = bytes
            .first_chunk()
            .and_then(Inode::decode)
            .ok_or(damaged(nid, "the inode is of another kind"))?;
        let mut attributes = Attributes {
            mode: inode.mode & 0o7777,
            uid: inode.uid,
            gid: inode.gid,
            mtime: Timestamp { seconds: inode.mtime_seconds, nanos: inode.mtime_nanos },
            ..Attributes::default()
        };
        let xattr_offset = offset + INODE_SIZE as u64;
        if inode.xattr_bytes > 0 {
            let bytes = self.inodes.get(xattr_offset, inode.xattr_bytes)?;
            attributes.xattrs =
                xattrs::decode(bytes).ok_or(damaged(nid, "the extended attributes are damaged"))?;
        }
        Ok(Found { nid, inode, attributes, tail: xattr_offset + inode.xattr_bytes as u64 })
    }

    fn content(&mut self, found: &Found) -> Result<Content, ReadError> {
        let inode = &found.inode;
        Ok(match inode.mode & S_IFMT {
            S_IFREG => match found.attributes.xattrs.get(xattr::LOWER_LINK) {
                Some(target) => Content::LowerLink(target.clone()),
                None => Content::File(self.file(found)?),
            },
            S_IFLNK => {
                if inode.size == 0 || inode.size > SYMLINK_MAX as u64 {
                    return Err(damaged(found.nid, "the link's length is impossible"));
                }
                let (offset, length) = self.piece(found, 0)?;
                Content::Symlink(self.inodes.get(offset, length)?.into())
            }
            S_IFCHR if inode.data == 0 => Content::Whiteout,
            kind @ (S_IFCHR | S_IFBLK) => {
                let (major, minor) = decode_device(inode.data);
                Content::Device { block: kind == S_IFBLK, major, minor }
            }
            S_IFIFO => Content::Fifo,
            S_IFSOCK => Content::Socket,
            _ => return Err(damaged(found.nid, "the type is unknown")),
        })
    }

    fn file(&mut self, found: &Found) -> Result<FileData, ReadError> {
        let (nid, inode) = (found.nid, &found.inode);
        if inode.size > self.tree.limits().file_bytes {
            return Err(damaged(nid, "the file is too large"));
        }
        let blocks = inode.size.div_ceil(BLOCK as u64);
        let blocks = match inode.layout {
            LAYOUT_PLAIN => {
                if blocks > 0 {
                    self.block_offset(nid, u64::from(inode.data) + blocks - 1)?;
                }
                Blocks::Contiguous(inode.data)
            }
            LAYOUT_CHUNKED => self.chunks(found, blocks)?,
            _ => return Err(damaged(nid, "the file's layout is unknown")),
        };
        Ok(FileData { size: inode.size, layer: self.layer, blocks })
    }

    /// Reads a map of chunk addresses into runs.
    fn chunks(&mut self, found: &Found, blocks: u64) -> Result<Blocks, ReadError> {
        let nid = found.nid;
        let bits = u8::try_from(found.inode.data).ok().filter(|&bits| bits <= CHUNK_BITS_MAX);
        let bits = bits.ok_or(damaged(nid, "the chunk format is unknown"))?;
        let total = blocks.div_ceil(1 << bits);
        let mut runs: Vec<ChunkRun> = Vec::new();
        for index in 0..total {
            let bytes = self.inodes.get(found.tail + index * 4, 4)?;
            let address = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let block = (address != NULL_ADDRESS).then_some(address);
            if let Some(block) = block {
                let used = (blocks - (index << bits)).min(1 << bits);
                self.block_offset(nid, u64::from(block) + used - 1)?;
            }
            let follows = |run: &ChunkRun| match (run.block, block) {
                (None, None) => true,
                (Some(first), Some(block)) => {
                    u64::from(first) + (u64::from(run.chunks) << bits) == u64::from(block)
                }
                _ => false,
            };
            match runs.last_mut() {
                Some(run) if run.chunks < u32::MAX && follows(run) => run.chunks += 1,
                _ => runs.push(ChunkRun { chunks: 1, block }),
            }
            if runs.len() > 2 * self.tree.limits().sparse_extents + 1 {
                return Err(damaged(nid, "the file has too many extents"));
            }
        }
        Ok(Blocks::Chunked { bits, runs: runs.into() })
    }

    /// Where block `index` of a directory's or link's data lies, and how much of it is used.
    fn piece(&self, found: &Found, index: u64) -> Result<(u64, usize), ReadError> {
        let (nid, inode) = (found.nid, &found.inode);
        let used = inode.size.saturating_sub(index << BLOCK_BITS).min(BLOCK as u64);
        let is_inline = inode.layout == LAYOUT_INLINE && used < BLOCK as u64;
        if !is_inline && !matches!(inode.layout, LAYOUT_PLAIN | LAYOUT_INLINE) {
            return Err(damaged(nid, "the data's layout is unknown"));
        }
        let offset =
            if is_inline { found.tail } else { self.block_offset(nid, u64::from(inode.data) + index)? };
        Ok((offset, usize::try_from(used).unwrap_or_default()))
    }

    /// The names of a directory, in order, without `.` and `..`.
    fn names(&mut self, found: &Found) -> Result<Vec<(Bytes, u64)>, ReadError> {
        let nid = found.nid;
        let mut names: Vec<(Bytes, u64)> = Vec::new();
        for index in 0..found.inode.size.div_ceil(BLOCK as u64) {
            let (offset, length) = self.piece(found, index)?;
            let block = self.directories.get(offset, length)?;
            let entries = dirents::decode(block).ok_or(damaged(nid, "a directory block is damaged"))?;
            for entry in entries.into_iter().filter(|entry| entry.name != b"." && entry.name != b"..") {
                if names.last().is_some_and(|(last, _)| **last >= *entry.name) {
                    return Err(damaged(nid, "the names are not in order"));
                }
                names.push((entry.name.into(), entry.nid));
            }
            if names.len() as u64 > self.tree.limits().entries {
                return Err(TreeError::TooManyEntries(self.tree.limits().entries).into());
            }
        }
        Ok(names)
    }
}

fn damaged(nid: u64, problem: &'static str) -> ReadError {
    ReadError::Damaged { nid, problem }
}
