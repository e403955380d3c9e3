//! How full a writable disk is, read from its superblock (ext4, "The Super Block") without a mount. What it says was
//! written by a guest: it counts for figures that are shown, and for nothing else.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where the superblock is, in bytes.
const AT: u64 = 1024;

const MAGIC: u16 = 0xef53;

/// The incompatible feature that gives counts of blocks their upper halves.
const WIDE: u32 = 0x80;

/// The largest exponent of a block's size: 64 KiB.
const MAX_SHIFT: u32 = 6;

/// Bytes that files and directories take on a disk, as of its last flush: what is used less what an empty disk uses.
///
/// # Errors
/// Either file is not readable, or has no file system.
pub(super) fn written(disk: &Path, empty: &Path) -> io::Result<u64> {
    Ok(used(disk)?.saturating_sub(used(empty)?))
}

/// Bytes in use, the file system's own tables among them; at most the length of the disk.
fn used(disk: &Path) -> io::Result<u64> {
    let file = File::open(disk)?;
    let mut block = [0; 1024];
    file.read_exact_at(&mut block, AT)?;
    let used =
        parse(&block).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no ext4 file system"))?;
    Ok(used.min(file.metadata()?.len()))
}

fn parse(block: &[u8; 1024]) -> Option<u64> {
    let half = |at: usize| Some(u16::from_le_bytes(block.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(block.get(at..at + 4)?.try_into().ok()?));
    let is_wide = word(0x60)? & WIDE != 0;
    let count = |low: usize, high: usize| {
        let high = if is_wide { word(high)? } else { 0 };
        Some(u64::from(high) << 32 | u64::from(word(low)?))
    };
    let shift = word(0x18)?;
    if half(0x38)? != MAGIC || shift > MAX_SHIFT {
        return None;
    }
    let blocks = count(0x04, 0x150)?.saturating_sub(count(0x0c, 0x158)?);
    Some(blocks.saturating_mul(1024 << shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(words: &[(usize, u32)]) -> [u8; 1024] {
        let mut block = [0; 1024];
        for (at, word) in words {
            block[*at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        block
    }

    #[test]
    fn what_is_not_free_is_used() {
        let magic = (0x38, u32::from(MAGIC));
        assert_eq!(parse(&block(&[magic, (0x04, 100), (0x0c, 60), (0x18, 2)])), Some(40 * 4096));
        // Upper halves count only where the feature says so.
        let wide = [(0x04, 0), (0x150, 1), (0x0c, 1), (0x18, 0)];
        assert_eq!(
            parse(&block(&[&[magic, (0x60, WIDE)], &wide[..]].concat())),
            Some(u64::from(u32::MAX) * 1024)
        );
        assert_eq!(parse(&block(&[&[magic], &wide[..]].concat())), Some(0));
    }

    #[test]
    fn nonsense_is_no_file_system() {
        assert_eq!(parse(&[0; 1024]), None);
        assert_eq!(parse(&[0xff; 1024]), None);
        let magic = (0x38, u32::from(MAGIC));
        assert_eq!(parse(&block(&[magic, (0x18, 7)])), None);
        let most = [magic, (0x60, WIDE), (0x04, u32::MAX), (0x150, u32::MAX), (0x18, 6)];
        assert_eq!(parse(&block(&most)), Some(u64::MAX));
    }
}
