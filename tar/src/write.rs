//! Headers of archives of our own: POSIX ustar, before it a pax extended header where a field does not fit or is finer.
//!
//! The caller puts each entry's data behind its header, up to a whole block ([`padding`]), and [`TRAILER`] last.

use crate::header::BLOCK;
use crate::{Kind, Timestamp};

/// Ends an archive: two blocks of zeros.
pub const TRAILER: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// What octal digits of the fields for ids and device numbers can say.
const SMALL_MAX: u64 = 0o777_7777;
/// The same of those for sizes and times: 8 GiB, the year 2242.
const LARGE_MAX: u64 = 0o777_7777_7777;
/// Bytes of a name or a link's target in a header.
const NAME_MAX: usize = 100;

/// An entry of an archive to write.
#[derive(Clone, Debug)]
pub struct Header<'a> {
    /// What it is.
    pub kind: Kind,
    /// Any bytes but NUL. A directory's ends in a slash.
    pub path: &'a [u8],
    /// Target of a hard or symbolic link.
    pub link: &'a [u8],
    /// The twelve permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of data that follow; 0 for all but files.
    pub size: u64,
    /// Last modification.
    pub mtime: Timestamp,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes by full name.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl Header<'_> {
    /// Adds the header's blocks to `out`.
    pub fn append(&self, out: &mut Vec<u8>) {
        let records = self.records();
        if !records.is_empty() {
            let size = records.len() as u64;
            Block::new(b'x', b"PaxHeaders.0/entry", 0o644).number(124..136, size).finish(out);
            out.extend_from_slice(&records);
            out.resize(out.len() + padding(size), 0);
        }
        let flag = match self.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::CharDevice => b'3',
            Kind::BlockDevice => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        };
        let seconds = u64::try_from(self.mtime.seconds).unwrap_or(0);
        Block::new(flag, self.path, self.mode & 0o7777)
            .text(157, self.link)
            .number(108..116, u64::from(self.uid))
            .number(116..124, u64::from(self.gid))
            .number(124..136, self.size)
            .number(136..148, seconds)
            .number(329..337, u64::from(self.device.0))
            .number(337..345, u64::from(self.device.1))
            .finish(out);
    }

    /// What the plain header cannot say.
    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if self.path.len() > NAME_MAX {
            record(&mut records, &[b"path"], self.path);
        }
        if self.link.len() > NAME_MAX {
            record(&mut records, &[b"linkpath"], self.link);
        }
        for (key, value, max) in [
            (b"uid".as_slice(), u64::from(self.uid), SMALL_MAX),
            (b"gid", u64::from(self.gid), SMALL_MAX),
            (b"size", self.size, LARGE_MAX),
        ] {
            if value > max {
                record(&mut records, &[key], value.to_string().as_bytes());
            }
        }
        let plain = u64::try_from(self.mtime.seconds).is_ok_and(|seconds| seconds <= LARGE_MAX);
        if self.mtime.nanos != 0 || !plain {
            record(&mut records, &[b"mtime"], decimal(self.mtime).as_bytes());
        }
        for (name, value) in self.xattrs {
            record(&mut records, &[b"SCHILY.xattr.", name], value);
        }
        records
    }
}

/// Zeros between `size` bytes of data and the next block.
pub fn padding(size: u64) -> usize {
    usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or_default()
}

/// Seconds with their fraction, as a decimal number: half a second before 1970 is -0.5.
fn decimal(time: Timestamp) -> String {
    let Timestamp { seconds, nanos } = time;
    let (sign, seconds, nanos) = match (seconds < 0, nanos) {
        (false, _) => ("", seconds.unsigned_abs(), nanos),
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, _) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanos),
    };
    if nanos == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{nanos:09}").trim_end_matches('0').to_owned()
}

/// Adds `LENGTH KEY=VALUE\n`, whose length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[&[u8]], value: &[u8]) {
    let rest = key.iter().map(|part| part.len()).sum::<usize>() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    // One digit more may make the length one digit longer.
    length = rest + length.to_string().len();
    records.extend_from_slice(format!("{length} ").as_bytes());
    key.iter().for_each(|part| records.extend_from_slice(part));
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// A header block being filled.
struct Block([u8; BLOCK]);

impl Block {
    fn new(flag: u8, path: &[u8], mode: u32) -> Self {
        let mut block = [0; BLOCK];
        block[156] = flag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        let block = Self(block).text(0, path).number(100..108, u64::from(mode));
        // Numbers that nothing gives are zeros, in digits: an empty field is none to some readers.
        [108..116, 116..124, 124..136, 136..148, 329..337, 337..345]
            .into_iter()
            .fold(block, |block, field| block.number(field, 0))
    }

    /// As much of a text as its field holds; the extended header has the rest.
    fn text(mut self, at: usize, text: &[u8]) -> Self {
        let length = text.len().min(NAME_MAX);
        self.0[at..at + length].copy_from_slice(&text[..length]);
        self
    }

    /// Octal digits and a NUL; zero where they do not suffice.
    fn number(mut self, field: std::ops::Range<usize>, value: u64) -> Self {
        let digits = field.len() - 1;
        let value = if value < 1 << (3 * digits) { value } else { 0 };
        for (index, byte) in self.0[field][..digits].iter_mut().rev().enumerate() {
            *byte = b'0' + u8::try_from(value >> (3 * index) & 7).unwrap_or(0);
        }
        self
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|&byte| u32::from(byte)).sum();
        let digits = format!("{sum:06o}\0");
        self.0[148..155].copy_from_slice(digits.as_bytes());
        out.extend_from_slice(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Archive, Limits};

    const LIMITS: Limits =
        Limits { archive_bytes: 1 << 40, file_bytes: 1 << 40, sparse_extents: 1, pax_bytes: 1 << 20 };

    fn plain(path: &[u8]) -> Header<'_> {
        Header {
            kind: Kind::Fifo,
            path,
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::default(),
            device: (0, 0),
            xattrs: &[],
        }
    }

    #[test]
    fn our_reader_reads_what_we_write() {
        let long = [b"\xff\x80/".as_slice(), &[b'n'; 4000]].concat();
        let xattrs = [(b"user.a".to_vec(), b"\0\n=\xff".to_vec())];
        let header = Header {
            kind: Kind::Symlink,
            link: &[b'l'; 101],
            mode: 0o6755,
            uid: u32::MAX,
            gid: 0o1000_0000,
            mtime: Timestamp { seconds: -2, nanos: 500_000_000 },
            xattrs: &xattrs,
            ..plain(&long)
        };
        let mut bytes = Vec::new();
        header.append(&mut bytes);
        let device = Header { kind: Kind::BlockDevice, device: (4095, 1_048_575), ..plain(b"device") };
        device.append(&mut bytes);
        bytes.extend_from_slice(&TRAILER);

        let mut input = bytes.as_slice();
        let mut archive = Archive::new(&mut input, LIMITS);
        let entry = archive.next_entry().unwrap().unwrap();
        assert_eq!((entry.kind, entry.path.as_slice()), (Kind::Symlink, long.as_slice()));
        assert_eq!(entry.link, [b'l'; 101]);
        assert_eq!((entry.mode, entry.uid, entry.gid), (0o6755, u32::MAX, 0o1000_0000));
        assert_eq!(entry.mtime, header.mtime);
        assert_eq!(entry.xattrs.len(), 1);
        assert_eq!(&*entry.xattrs[0].1, b"\0\n=\xff");
        let entry = archive.next_entry().unwrap().unwrap();
        assert_eq!((entry.kind, entry.device), (Kind::BlockDevice, (4095, 1_048_575)));
        assert!(archive.next_entry().unwrap().is_none());
    }

    #[test]
    fn sizes_past_eight_gigabytes_are_written() {
        let mut bytes = Vec::new();
        Header { kind: Kind::File, size: (8 << 30) + 1, ..plain(b"large") }.append(&mut bytes);
        let mut input = bytes.as_slice();
        let mut archive = Archive::new(&mut input, LIMITS);
        assert_eq!(archive.next_entry().unwrap().unwrap().size, (8 << 30) + 1);
        assert_eq!(archive.data_left(), (8 << 30) + 1);
        let mut bytes = Vec::new();
        Header { kind: Kind::File, size: (8 << 30) - 1, ..plain(b"large") }.append(&mut bytes);
        assert_eq!(bytes.len(), BLOCK);
    }

    #[test]
    fn lengths_of_records_count_themselves() {
        for length in 0..1100 {
            let mut records = Vec::new();
            record(&mut records, &[b"k"], &vec![b'v'; length]);
            let digits = records.split(|&byte| byte == b' ').next().unwrap();
            assert_eq!(std::str::from_utf8(digits).unwrap().parse(), Ok(records.len()));
        }
    }

    #[test]
    fn times_are_decimal_numbers() {
        let text = |seconds, nanos| decimal(Timestamp { seconds, nanos });
        assert_eq!(text(1, 0), "1");
        assert_eq!(text(1, 120_000_000), "1.12");
        assert_eq!(text(-1, 500_000_000), "-0.5");
        assert_eq!(text(-2, 0), "-2");
        assert_eq!(text(-2, 1), "-1.999999999");
    }
}
