//! Where each inode of a tree lies: a breadth-first row of inodes, with small directories and links' targets behind
//! their inodes, then the blocks of larger ones.

use std::collections::VecDeque;

use super::dirents;
use super::format::{BLOCK, INODE_SIZE, ROOT_NID, SLOT};
use super::xattrs;
use crate::tree::{Blocks, Content, Node, NodeId, Tree, xattr};

/// Longer ends of directories and longer targets get blocks of their own: behind an inode they must not cross a
/// block's end, and would leave large gaps there.
const INLINE_MAX: u64 = 2048;

/// What follows an inode and its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing: all data is elsewhere, or there is none.
    None,
    /// The last bytes of a directory or link, which has whole blocks from this one of the metadata's data on.
    Inline { bytes: usize, blocks_from: u64 },
    /// Nothing: data of the metadata's own, from this block of it on.
    Blocks { blocks_from: u64 },
    /// A map of chunk addresses of this many bytes.
    Map(u64),
}

/// One inode's place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Bytes from the metadata's beginning.
    pub(super) offset: u64,
    pub(super) xattr_bytes: usize,
    /// Bytes of the data of a directory or a link.
    pub(super) size: u64,
    pub(super) tail: Tail,
    pub(super) links: u32,
}

impl Place {
    /// The inode's number.
    pub(super) fn nid(&self) -> u64 {
        self.offset / SLOT
    }
}

/// The places of all inodes that names lead to.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order of their places.
    pub(super) order: Vec<NodeId>,
    places: Vec<Option<Place>>,
    /// Blocks of inodes.
    pub(super) inode_blocks: u64,
    /// Blocks of directories and links behind them.
    pub(super) data_blocks: u64,
}

/// A node's attributes with the marks that a layer's file needs.
pub(super) fn marked_xattrs(node: &Node) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut marks: Vec<(&[u8], &[u8])> = Vec::new();
    match &node.content {
        Content::Directory(directory) => {
            if directory.implicit {
                marks.push((xattr::IMPLICIT, b"y"));
            }
            if directory.opaque {
                marks.push((xattr::OPAQUE, b"y"));
            }
        }
        Content::LowerLink(target) => marks.push((xattr::LOWER_LINK, target)),
        _ => {}
    }
    node.attributes.xattrs.iter().map(|(name, value)| (&**name, &**value)).chain(marks)
}

/// The names of a directory in their order on disk, with `.` and `..`.
pub(super) fn sorted_names(tree: &Tree, id: NodeId) -> Vec<(&[u8], NodeId)> {
    let Some(directory) = tree.directory(id) else { return Vec::new() };
    let dots: [(&[u8], NodeId); 2] = [(b".", id), (b"..", directory.parent)];
    let mut names: Vec<_> = directory.children.iter().map(|(name, &child)| (&**name, child)).collect();
    for dot in dots {
        let at = names.partition_point(|(name, _)| *name < dot.0);
        names.insert(at, dot);
    }
    names
}

/// The first slot from `end` on where neither an inode nor the `inline` bytes behind its `head` cross a block's end.
fn first_fit(end: u64, head: u64, inline: u64) -> u64 {
    let block = BLOCK as u64;
    let crosses = |at: u64, length: u64| at % block + length > block;
    let mut offset = end.next_multiple_of(SLOT);
    // Each step may undo what the other did, but no more than once: the tail ends up at a block's beginning.
    loop {
        if crosses(offset, INODE_SIZE as u64) {
            offset = offset.next_multiple_of(block);
        } else if crosses(offset + head, inline) {
            // The first slot from which on the tail begins a block, or shortly after.
            offset = ((offset + head).next_multiple_of(block) - head).next_multiple_of(SLOT);
        } else {
            return offset;
        }
    }
}

impl Plan {
    /// Places every inode of `tree`.
    pub(super) fn new(tree: &Tree) -> Self {
        let mut plan =
            Self { order: Vec::new(), places: vec![None; tree.len()], inode_blocks: 0, data_blocks: 0 };
        let mut end = u64::from(ROOT_NID) * SLOT;
        plan.place(tree, NodeId::ROOT, &mut end);
        let mut queue = VecDeque::from([NodeId::ROOT]);
        while let Some(id) = queue.pop_front() {
            let Some(directory) = tree.directory(id) else { continue };
            for &child in directory.children.values() {
                if let Some(place) = &mut plan.places[child.index()] {
                    place.links = place.links.saturating_add(1);
                    continue;
                }
                plan.place(tree, child, &mut end);
                if tree.directory(child).is_some() {
                    if let Some(place) = &mut plan.places[id.index()] {
                        place.links = place.links.saturating_add(1);
                    }
                    queue.push_back(child);
                }
            }
        }
        plan.inode_blocks = end.div_ceil(BLOCK as u64);
        plan
    }

    /// The place of a node that names lead to.
    pub(super) fn place_of(&self, id: NodeId) -> Option<&Place> {
        self.places[id.index()].as_ref()
    }

    fn place(&mut self, tree: &Tree, id: NodeId, end: &mut u64) {
        let node = tree.node(id);
        let xattr_bytes = xattrs::measure(marked_xattrs(node));
        let head = (INODE_SIZE + xattr_bytes) as u64;
        let (size, links) = match &node.content {
            Content::Directory(_) => {
                (dirents::measure(sorted_names(tree, id).iter().map(|(name, _)| name.len())), 2)
            }
            Content::Symlink(target) => (target.len() as u64, 1),
            _ => (0, 1),
        };
        let tail = self.tail(node, size);
        let inline = match tail {
            Tail::Inline { bytes, .. } => bytes as u64,
            _ => 0,
        };
        let offset = first_fit(*end, head, inline);
        *end = offset
            + head
            + match tail {
                Tail::None | Tail::Blocks { .. } => 0,
                Tail::Inline { bytes, .. } => bytes as u64,
                Tail::Map(bytes) => bytes,
            };
        self.order.push(id);
        self.places[id.index()] = Some(Place { offset, xattr_bytes, size, tail, links });
    }

    /// Decides where a node's data goes, and takes blocks for it.
    fn tail(&mut self, node: &Node, size: u64) -> Tail {
        if let Content::File(file) = &node.content
            && let Blocks::Chunked { runs, .. } = &file.blocks
        {
            return Tail::Map(runs.iter().map(|run| u64::from(run.chunks) * 4).sum());
        }
        if size == 0 {
            return Tail::None;
        }
        let blocks_from = self.data_blocks;
        let bytes = size % BLOCK as u64;
        if bytes > 0 && bytes <= INLINE_MAX {
            self.data_blocks += size / BLOCK as u64;
            return Tail::Inline { bytes: usize::try_from(bytes).unwrap_or_default(), blocks_from };
        }
        self.data_blocks += size.div_ceil(BLOCK as u64);
        Tail::Blocks { blocks_from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_crosses_a_block() {
        let block = BLOCK as u64;
        let heads = || (64..2 * block).step_by(4);
        for end in (0..block).step_by(28) {
            for (head, inline) in heads().flat_map(|head| [0, 1, 2040, INLINE_MAX].map(|tail| (head, tail))) {
                let offset = first_fit(end, head, inline);
                assert!(offset >= end && offset.is_multiple_of(SLOT) && offset < end + 2 * block);
                assert!(offset % block + INODE_SIZE as u64 <= block, "the inode at {end}, {head}, {inline}");
                assert!((offset + head) % block + inline <= block, "the tail at {end}, {head}, {inline}");
            }
        }
    }
}
