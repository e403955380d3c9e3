//! Files with holes: the chunk size that costs least, and which chunks hold data.

use super::format::{BLOCK, BLOCK_BITS, CHUNK_BITS_MAX};
use crate::extents::Extent;

/// Chunks of a file with holes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChunkPlan {
    /// log2 of blocks a chunk.
    pub(super) bits: u8,
    /// Runs of consecutive chunks that hold data: index of the first, number.
    pub(super) data: Vec<(u64, u64)>,
    /// Chunks of the file.
    pub(super) total: u64,
}

/// Runs of chunks that `extents` (in order, apart) touch.
fn touched(extents: &[Extent], chunk_shift: u32) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for extent in extents.iter().filter(|extent| extent.length > 0) {
        let first = extent.offset >> chunk_shift;
        let last = (extent.offset + extent.length - 1) >> chunk_shift;
        match runs.last_mut() {
            Some((start, count)) if first <= *start + *count => *count = last + 1 - *start,
            _ => runs.push((first, last + 1 - first)),
        }
    }
    runs
}

impl ChunkPlan {
    /// Weighs the map (4 bytes a chunk) against the addresses that half-empty chunks take: small chunks for files with
    /// many small holes, large ones for a terabyte of nothing.
    pub(super) fn new(size: u64, extents: &[Extent]) -> Self {
        let plans = (0..=CHUNK_BITS_MAX).map(|bits| {
            let shift = u32::from(BLOCK_BITS + bits);
            let (data, total) = (touched(extents, shift), size.div_ceil(1 << shift));
            let held: u64 = data.iter().map(|run| run.1).sum();
            let cost = u128::from(total) * 4 + (u128::from(held) << shift);
            (cost, Self { bits, data, total })
        });
        let best = plans.min_by_key(|(cost, _)| *cost).map(|(_, plan)| plan);
        best.unwrap_or(Self { bits: 0, data: Vec::new(), total: 0 })
    }

    /// Bytes of a chunk.
    pub(super) fn chunk_bytes(&self) -> u64 {
        (BLOCK as u64) << self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terabyte_of_nothing_needs_one_chunk() {
        let plan = ChunkPlan::new(1 << 40, &[]);
        assert_eq!(plan.total, 1);
        assert!(plan.data.is_empty());
    }

    #[test]
    fn the_map_and_the_padding_are_balanced() {
        let extents = [Extent { offset: (1 << 40) - 4096, length: 4096 }];
        let plan = ChunkPlan::new(1 << 40, &extents);
        assert!(plan.total * 4 + plan.chunk_bytes() <= 4 << 20, "{plan:?}");
        assert_eq!(plan.data, [(plan.total - 1, 1)]);
    }

    #[test]
    fn small_holes_stay_holes() {
        let extents: Vec<_> = (0..1000).map(|n| Extent { offset: n * 8192, length: 4096 }).collect();
        let plan = ChunkPlan::new(8_192_000, &extents);
        assert_eq!((plan.bits, plan.total, plan.data.len()), (0, 2000, 1000));
        let adjacent = [Extent { offset: 0, length: 100 }, Extent { offset: 200, length: 100 }];
        assert_eq!(ChunkPlan::new(300, &adjacent).data, [(0, 1)]);
    }
}
