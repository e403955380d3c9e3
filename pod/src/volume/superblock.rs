//! The few fields of an ext4 superblock that the host reads of a disk, which a guest has written: nothing is followed from
//! there. Offsets as in the kernel's Documentation/filesystems/ext4/super.rst.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Where it is, in bytes, and how much of it is read.
const OFFSET: u64 = 1024;
const LEN: usize = 256;

const MAGIC: u16 = 0xef53;
/// The journal is to be replayed.
const INCOMPAT_RECOVER: u32 = 0x4;
const STATE_CLEAN: u16 = 0x1;

/// A superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    mounts: u16,
    clean: bool,
    recover: bool,
}

impl Superblock {
    /// That of a disk; `None` where it has no ext4.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn read(disk: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; LEN];
        match disk.read_exact_at(&mut bytes, OFFSET) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        let recover = word(0x60) & INCOMPAT_RECOVER != 0;
        let found = Self { mounts: half(0x34), clean: half(0x3a) & STATE_CLEAN != 0, recover };
        Ok((half(0x38) == MAGIC).then_some(found))
    }

    /// Whether it can be mounted without a write: a guest has had it for writing, and let go of it in order.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.mounts > 0 && self.clean && !self.recover
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_mounted_or_torn_is_not_at_rest() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Superblock::read(&file).unwrap(), None);
        file.set_len(1 << 20).unwrap();
        assert_eq!(Superblock::read(&file).unwrap(), None);
        let put = |at: u64, bytes: &[u8]| file.write_all_at(bytes, OFFSET + at).unwrap();
        put(0x38, &MAGIC.to_le_bytes());
        put(0x3a, &STATE_CLEAN.to_le_bytes());
        let at_rest = || Superblock::read(&file).unwrap().unwrap().is_at_rest();
        assert!(!at_rest(), "never mounted");
        put(0x34, &[1]);
        assert!(at_rest());
        put(0x60, &[4]);
        assert!(!at_rest(), "killed");
        put(0x60, &[0]);
        put(0x3a, &[0]);
        assert!(!at_rest(), "with errors");
    }
}
