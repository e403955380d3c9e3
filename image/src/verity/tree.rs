//! The tree itself: format 1, SHA-256, blocks of 4096 bytes, no salt, no superblock.
//!
//! Each block has 128 digests, zeros behind the last. The level of the root's block comes first, the one with the data's
//! digests last. A single block of data has no tree: its digest is the root.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::erofs::BLOCK_SIZE;

#[expect(clippy::cast_possible_truncation, reason = "4096")]
const BLOCK: usize = BLOCK_SIZE as usize;
/// Bytes of a digest.
const DIGEST: usize = 32;
/// Digests in a block.
const FAN_OUT: u64 = (BLOCK / DIGEST) as u64;
/// Data are read in pieces of so many blocks.
const PIECE: usize = 64;

/// Blocks of the tree for so many blocks of data.
#[must_use]
pub fn tree_blocks(data_blocks: u64) -> u64 {
    level_sizes(data_blocks).iter().sum()
}

/// Blocks of each level, the data's digests first.
fn level_sizes(data_blocks: u64) -> Vec<u64> {
    std::iter::successors(Some(data_blocks), |below| (*below > 1).then(|| below.div_ceil(FAN_OUT)))
        .skip(1)
        .collect()
}

/// Writes the tree for the first `data_blocks` blocks of `data` to the beginning of `out`, and answers its root. Takes as
/// much memory for terabytes as for a megabyte.
///
/// # Errors
/// There are no data, or fewer than that; what reading and writing say.
pub fn write_tree(mut data: impl Read, data_blocks: u64, out: &File) -> io::Result<Digest> {
    let mut tree = Tree::new(data_blocks, out);
    let mut piece = vec![0; PIECE * BLOCK];
    let mut left = data_blocks;
    while left > 0 {
        let count = left.min(PIECE as u64);
        #[expect(clippy::cast_possible_truncation, reason = "at most PIECE")]
        let piece = &mut piece[..count as usize * BLOCK];
        data.read_exact(piece)?;
        for block in piece.chunks_exact(BLOCK) {
            tree.put(0, Sha256::digest(block).into())?;
        }
        left -= count;
    }
    tree.finish()
}

struct Tree<'a> {
    /// The data's digests first.
    levels: Vec<Level>,
    out: &'a File,
    root: Option<[u8; DIGEST]>,
}

struct Level {
    /// The block that is being filled.
    block: Vec<u8>,
    /// Where it goes, in bytes.
    offset: u64,
}

impl<'a> Tree<'a> {
    fn new(data_blocks: u64, out: &'a File) -> Self {
        let mut offset = 0;
        let mut levels: Vec<_> = level_sizes(data_blocks)
            .into_iter()
            .rev()
            .map(|blocks| {
                let level = Level { block: Vec::with_capacity(BLOCK), offset };
                offset += blocks * BLOCK_SIZE;
                level
            })
            .collect();
        levels.reverse();
        Self { levels, out, root: None }
    }

    /// Adds a digest to a level; what is above the last is the root.
    fn put(&mut self, index: usize, digest: [u8; DIGEST]) -> io::Result<()> {
        let Some(level) = self.levels.get_mut(index) else {
            self.root = Some(digest);
            return Ok(());
        };
        level.block.extend_from_slice(&digest);
        if level.block.len() == BLOCK { self.write(index) } else { Ok(()) }
    }

    /// Writes a level's block, filled up with zeros, and adds its digest to the level above.
    fn write(&mut self, index: usize) -> io::Result<()> {
        let level = &mut self.levels[index];
        level.block.resize(BLOCK, 0);
        self.out.write_all_at(&level.block, level.offset)?;
        let digest = Sha256::digest(&level.block).into();
        level.block.clear();
        level.offset += BLOCK_SIZE;
        self.put(index + 1, digest)
    }

    fn finish(mut self) -> io::Result<Digest> {
        for index in 0..self.levels.len() {
            if !self.levels[index].block.is_empty() {
                self.write(index)?;
            }
        }
        self.root.map(Digest::from_bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
