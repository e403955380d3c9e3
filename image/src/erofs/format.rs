//! The on-disk structures of EROFS that are used here (fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst of
//! Linux 6.12), as little-endian bytes.

use crate::tree::Content;

/// log2 of the block size.
pub(super) const BLOCK_BITS: u8 = 12;
/// Bytes of a block, for sizes in memory.
pub(super) const BLOCK: usize = 1 << BLOCK_BITS;
/// An inode's number counts slots of this many bytes from the metadata's first block.
pub(super) const SLOT: u64 = 32;

/// Where the superblock lies in block 0.
pub(super) const SUPER_OFFSET: usize = 1024;
pub(super) const SUPER_SIZE: usize = 128;
const MAGIC: u32 = 0xe0f5_e1e2;
/// Inodes have their own modification times.
const COMPAT_MTIME: u32 = 0x2;
/// Some inodes are chunk-based.
pub(super) const INCOMPAT_CHUNKED_FILE: u32 = 0x4;
/// Never varies, so that equal trees make equal bytes.
const UUID: [u8; 16] = *b"cradle-erofs-v01";

/// The root's slot: inode numbers begin at 2, because some programs take 0 for "no file".
pub(super) const ROOT_NID: u16 = 2;

pub(super) const INODE_SIZE: usize = 64;
pub(super) const DIRENT_SIZE: usize = 12;
pub(super) const XATTR_HEADER: usize = 12;
pub(super) const XATTR_ENTRY: usize = 4;

const EXTENDED: u16 = 1;
pub(super) const LAYOUT_PLAIN: u16 = 0;
pub(super) const LAYOUT_INLINE: u16 = 2;
pub(super) const LAYOUT_CHUNKED: u16 = 4;
/// The largest log2 of blocks a chunk.
pub(super) const CHUNK_BITS_MAX: u8 = 31;
/// The address of a chunk that is a hole.
pub(super) const NULL_ADDRESS: u32 = u32::MAX;

pub(super) const S_IFMT: u16 = 0o170_000;
pub(super) const S_IFSOCK: u16 = 0o140_000;
pub(super) const S_IFLNK: u16 = 0o120_000;
pub(super) const S_IFREG: u16 = 0o100_000;
pub(super) const S_IFBLK: u16 = 0o060_000;
pub(super) const S_IFDIR: u16 = 0o040_000;
pub(super) const S_IFCHR: u16 = 0o020_000;
pub(super) const S_IFIFO: u16 = 0o010_000;

/// The fields of a superblock that vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SuperBlock {
    /// First block of the inodes.
    pub(super) meta_block: u32,
    pub(super) inodes: u64,
    /// Blocks of the whole disk.
    pub(super) blocks: u32,
}

impl SuperBlock {
    pub(super) fn encode(&self) -> [u8; SUPER_SIZE] {
        let mut bytes = [0; SUPER_SIZE];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..12].copy_from_slice(&COMPAT_MTIME.to_le_bytes());
        bytes[12] = BLOCK_BITS;
        bytes[14..16].copy_from_slice(&ROOT_NID.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.inodes.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.meta_block.to_le_bytes());
        bytes[48..64].copy_from_slice(&UUID);
        bytes[80..84].copy_from_slice(&INCOMPAT_CHUNKED_FILE.to_le_bytes());
        bytes
    }

    /// Reads back what [`SuperBlock::encode`] wrote; `None` for anything else.
    pub(super) fn decode(bytes: &[u8; SUPER_SIZE]) -> Option<Self> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let inodes = u64::from(u32_at(16)) | u64::from(u32_at(20)) << 32;
        let read = Self { meta_block: u32_at(40), inodes, blocks: u32_at(36) };
        (read.encode() == *bytes).then_some(read)
    }
}

/// An extended inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) layout: u16,
    /// Bytes of the attributes behind the inode, header included; a multiple of 4.
    pub(super) xattr_bytes: usize,
    pub(super) mode: u16,
    pub(super) size: u64,
    /// Block address, device number or chunk format, by type and layout.
    pub(super) data: u32,
    pub(super) ino: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime_seconds: i64,
    pub(super) mtime_nanos: u32,
    pub(super) links: u32,
}

impl Inode {
    pub(super) fn encode(&self) -> [u8; INODE_SIZE] {
        let mut bytes = [0; INODE_SIZE];
        let units = match self.xattr_bytes {
            0 => 0,
            xattr_bytes => (xattr_bytes - XATTR_HEADER) / 4 + 1,
        };
        bytes[0..2].copy_from_slice(&(EXTENDED | self.layout << 1).to_le_bytes());
        bytes[2..4].copy_from_slice(&u16::try_from(units).unwrap_or(u16::MAX).to_le_bytes());
        bytes[4..6].copy_from_slice(&self.mode.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.size.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.data.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.ino.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.uid.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.gid.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.mtime_seconds.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.mtime_nanos.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.links.to_le_bytes());
        bytes
    }

    /// Reads an extended inode; `None` for any other version.
    pub(super) fn decode(bytes: &[u8; INODE_SIZE]) -> Option<Self> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let (format, units) = (u16_at(0), usize::from(u16_at(2)));
        (format & EXTENDED != 0 && format < 16).then(|| Self {
            layout: format >> 1,
            xattr_bytes: if units == 0 { 0 } else { XATTR_HEADER + (units - 1) * 4 },
            mode: u16_at(4),
            size: u64_at(8),
            data: u32_at(16),
            ino: u32_at(20),
            uid: u32_at(24),
            gid: u32_at(28),
            mtime_seconds: u64_at(32).cast_signed(),
            mtime_nanos: u32_at(40),
            links: u32_at(44),
        })
    }
}

/// The type bits of a node's mode, and the type of its directory entries.
pub(super) fn type_of(content: &Content) -> (u16, u8) {
    match content {
        Content::File(_) | Content::LowerLink(_) => (S_IFREG, 1),
        Content::Directory(_) => (S_IFDIR, 2),
        Content::Device { block: false, .. } | Content::Whiteout => (S_IFCHR, 3),
        Content::Device { block: true, .. } => (S_IFBLK, 4),
        Content::Fifo => (S_IFIFO, 5),
        Content::Socket => (S_IFSOCK, 6),
        Content::Symlink(_) => (S_IFLNK, 7),
    }
}

/// Linux's 32-bit form of a device number.
pub(super) fn encode_device(major: u32, minor: u32) -> u32 {
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}

/// Major and minor number of Linux's 32-bit form.
pub(super) fn decode_device(device: u32) -> (u32, u32) {
    (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_survive_their_bytes() {
        let inode = Inode {
            layout: LAYOUT_CHUNKED,
            xattr_bytes: 40,
            mode: S_IFREG | 0o4755,
            size: 1 << 40,
            data: 9,
            ino: 7,
            uid: 4_000_000_000,
            gid: 3,
            mtime_seconds: -2,
            mtime_nanos: 500_000_000,
            links: 3,
        };
        assert_eq!(Inode::decode(&inode.encode()), Some(inode));
        let block = SuperBlock { meta_block: 77, inodes: 1 << 33, blocks: 512 };
        assert_eq!(SuperBlock::decode(&block.encode()), Some(block));
        for (major, minor) in [(1, 3), (7, 0), (4095, 0xf_ffff), (259, 300)] {
            assert_eq!(decode_device(encode_device(major, minor)), (major, minor));
        }
    }
}
