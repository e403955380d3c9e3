//! Writes tar archives for tests, entry by entry, in the pax or the GNU dialect.

use std::fmt::Write as _;

pub const FILE: u8 = b'0';
pub const HARD_LINK: u8 = b'1';
pub const SYMLINK: u8 = b'2';
pub const CHAR_DEVICE: u8 = b'3';
pub const BLOCK_DEVICE: u8 = b'4';
pub const DIRECTORY: u8 = b'5';
pub const FIFO: u8 = b'6';

/// How what the plain header cannot hold is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    Pax,
    Gnu,
}

/// An entry to write.
#[derive(Clone, Debug)]
pub struct Item {
    pub path: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds and nanoseconds (the latter only in pax).
    pub mtime: (i64, u32),
    pub link: Vec<u8>,
    pub data: Vec<u8>,
    pub device: (u64, u64),
    /// Only in pax.
    pub xattrs: Vec<(&'static str, Vec<u8>)>,
}

impl Item {
    pub fn new(kind: u8, path: impl AsRef<[u8]>) -> Self {
        let mode = if kind == DIRECTORY { 0o755 } else { 0o644 };
        Self {
            path: path.as_ref().to_vec(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: (1_600_000_000, 0),
            link: Vec::new(),
            data: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
        }
    }

    pub fn file(path: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        Self { data: data.as_ref().to_vec(), ..Self::new(FILE, path) }
    }

    pub fn directory(path: impl AsRef<[u8]>) -> Self {
        Self::new(DIRECTORY, path)
    }

    pub fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(SYMLINK, path) }
    }

    pub fn hard_link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(HARD_LINK, path) }
    }

    pub fn device(kind: u8, path: impl AsRef<[u8]>, major: u64, minor: u64) -> Self {
        Self { device: (major, minor), ..Self::new(kind, path) }
    }

    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub fn owner(self, uid: u64, gid: u64) -> Self {
        Self { uid, gid, ..self }
    }

    pub fn mtime(self, seconds: i64, nanos: u32) -> Self {
        Self { mtime: (seconds, nanos), ..self }
    }

    pub fn xattr(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.xattrs.push((name, value.as_ref().to_vec()));
        self
    }
}

/// An archive in the making.
#[derive(Clone, Debug)]
pub struct Tarball {
    bytes: Vec<u8>,
    dialect: Dialect,
}

impl Tarball {
    pub fn new(dialect: Dialect) -> Self {
        Self { bytes: Vec::new(), dialect }
    }

    /// The archive of these entries, ended.
    pub fn of(dialect: Dialect, items: impl IntoIterator<Item = Item>) -> Vec<u8> {
        let mut tarball = Self::new(dialect);
        for item in items {
            tarball.put(&item);
        }
        tarball.finish()
    }

    /// Appends an entry with the headers it needs.
    pub fn put(&mut self, item: &Item) {
        match self.dialect {
            Dialect::Pax => {
                let mut records = Vec::new();
                if item.path.len() > 100 {
                    records.push(("path".to_owned(), item.path.clone()));
                }
                if item.link.len() > 100 {
                    records.push(("linkpath".to_owned(), item.link.clone()));
                }
                if item.uid >= 1 << 21 {
                    records.push(("uid".to_owned(), item.uid.to_string().into()));
                }
                if item.gid >= 1 << 21 {
                    records.push(("gid".to_owned(), item.gid.to_string().into()));
                }
                if item.mtime.1 != 0 || item.mtime.0 < 0 {
                    records.push(("mtime".to_owned(), pax_time(item.mtime).into()));
                }
                for (name, value) in &item.xattrs {
                    records.push((format!("SCHILY.xattr.{name}"), value.clone()));
                }
                if !records.is_empty() {
                    self.pax(b'x', &records);
                }
            }
            Dialect::Gnu => {
                for (flag, value) in [(b'L', &item.path), (b'K', &item.link)] {
                    if value.len() > 100 {
                        self.raw(flag, b"././@LongLink", &[value, &b"\0"[..]].concat());
                    }
                }
            }
        }
        let header = self.header(item, item.data.len() as u64);
        self.block(&header);
        self.data(&item.data);
    }

    /// Appends an extended header.
    pub fn pax(&mut self, flag: u8, records: &[(String, Vec<u8>)]) {
        let mut payload = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            payload.extend_from_slice(format!("{length} {key}=").as_bytes());
            payload.extend_from_slice(value);
            payload.push(b'\n');
        }
        self.raw(flag, b"PaxHeaders/x", &payload);
    }

    /// Appends an entry of any type and data.
    pub fn raw(&mut self, flag: u8, path: &[u8], data: &[u8]) {
        let header = self.header(&Item { kind: flag, ..Item::new(FILE, path) }, data.len() as u64);
        self.block(&header);
        self.data(data);
    }

    /// Appends a ready block.
    pub fn block(&mut self, block: &[u8]) {
        self.bytes.extend_from_slice(block);
    }

    /// Appends data and its padding.
    pub fn data(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }

    /// The 512 bytes of an item's header.
    pub fn header(&self, item: &Item, size: u64) -> [u8; 512] {
        let mut header = [0; 512];
        let put = |header: &mut [u8; 512], at: usize, bytes: &[u8]| {
            header[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(&mut header, 0, &item.path[..item.path.len().min(100)]);
        put(&mut header, 100, &self.number(u64::from(item.mode).cast_signed(), 8));
        put(&mut header, 108, &self.number(item.uid.cast_signed(), 8));
        put(&mut header, 116, &self.number(item.gid.cast_signed(), 8));
        put(&mut header, 124, &self.number(size.cast_signed(), 12));
        put(&mut header, 136, &self.number(item.mtime.0, 12));
        header[156] = item.kind;
        put(&mut header, 157, &item.link[..item.link.len().min(100)]);
        put(&mut header, 257, if self.dialect == Dialect::Pax { b"ustar\x0000" } else { b"ustar  \0" });
        put(&mut header, 329, &self.number(item.device.0.cast_signed(), 8));
        put(&mut header, 337, &self.number(item.device.1.cast_signed(), 8));
        seal(&mut header);
        header
    }

    /// Octal where it fits; else base-256 in GNU's dialect, 0 in pax (whose records say it).
    fn number(&self, value: i64, width: usize) -> Vec<u8> {
        let mut text = String::new();
        let _ = write!(text, "{value:0digits$o}", digits = width - 1);
        if value >= 0 && text.len() < width {
            text.push('\0');
            return text.into_bytes();
        }
        let mut bytes = vec![0; width];
        if self.dialect == Dialect::Gnu {
            bytes.fill(if value < 0 { 0xff } else { 0 });
            let low = value.to_be_bytes();
            let take = low.len().min(width);
            bytes[width - take..].copy_from_slice(&low[low.len() - take..]);
            bytes[0] |= 0x80;
        }
        bytes
    }
}

/// Writes a header's checksum.
pub fn seal(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn pax_time((seconds, nanos): (i64, u32)) -> String {
    if seconds >= 0 || nanos == 0 {
        return format!("{seconds}.{nanos:09}");
    }
    format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos)
}
