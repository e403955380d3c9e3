//! What a disk was asked for, in the order in which it became durable: the log of dm-log-writes (Documentation of Linux,
//! admin-guide/device-mapper/log-writes), and the disk as a power loss at one of its entries would have left it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// An entry of a log.
#[derive(Debug)]
pub struct Entry {
    /// Byte on the disk.
    start: u64,
    /// Bytes on the disk.
    len: u64,
    flags: u64,
    /// Where its data are in the log.
    data: u64,
    /// What the log was told beside it.
    pub mark: Option<String>,
}

impl Entry {
    /// Whether all that was done before it is durable.
    #[must_use]
    pub fn is_barrier(&self) -> bool {
        self.flags & (FLUSH | FUA) != 0
    }
}

/// A log, and where it is.
pub struct Log {
    file: File,
    /// Its entries in order.
    pub entries: Vec<Entry>,
}

impl Log {
    /// Reads the log on a device or file.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let number = |at: u64| {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, at).unwrap();
            u64::from_le_bytes(bytes)
        };
        assert_eq!((number(0), number(8)), (MAGIC, 1), "no log of writes");
        let (count, sector) = (number(16), number(24) & 0xffff_ffff);
        let mut at = sector;
        let mut entries = Vec::new();
        for _ in 0..count {
            let (first, sectors, flags, data_len) =
                (number(at), number(at + 8), number(at + 16), number(at + 24));
            let mark = (flags & MARK != 0).then(|| {
                let mut bytes = vec![0; usize::try_from(data_len.min(sector - 32)).unwrap()];
                file.read_exact_at(&mut bytes, at + 32).unwrap();
                String::from_utf8(bytes).unwrap()
            });
            let len = sectors * sector;
            entries.push(Entry { start: first * sector, len, flags, data: at + sector, mark });
            at += sector + if flags & DISCARD == 0 { len } else { 0 };
        }
        Self { file, entries }
    }

    /// Does to a disk what an entry says.
    pub fn replay(&self, index: usize, disk: &File) {
        let entry = &self.entries[index];
        let mut bytes = vec![0; usize::try_from(entry.len).unwrap()];
        if entry.flags & DISCARD == 0 {
            self.file.read_exact_at(&mut bytes, entry.data).unwrap();
        }
        disk.write_all_at(&bytes, entry.start).unwrap();
    }
}
