//! One entry of an archive: its header with the extended headers applied.

use crate::Extent;
use crate::TarError;
use crate::header::Header;
use crate::pax::{View, timestamp};
use crate::{Bytes, Timestamp};

/// What an entry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// An entry; its data is read from the archive that returned it.
#[derive(Debug)]
pub struct Entry {
    /// What it makes.
    pub kind: Kind,
    /// As in the archive, not cleaned.
    pub path: Vec<u8>,
    /// Target of a hard or symbolic link, not cleaned.
    pub link: Vec<u8>,
    /// The twelve permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification.
    pub mtime: Timestamp,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes by full name (`user.note`), sorted, each once.
    pub xattrs: Vec<(Bytes, Bytes)>,
    /// Logical size of a file.
    pub size: u64,
    /// Where a sparse file's data belongs, in the data's order; `None` for a file without holes.
    pub extents: Option<Vec<Extent>>,
}

/// Names of GNU's `L` and `K` headers.
pub(crate) struct LongNames {
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
}

/// The entry of a header, and how many bytes of data follow it.
pub(crate) fn read(
    header: &Header,
    records: &View<'_>,
    long: LongNames,
    offset: u64,
) -> Result<(Entry, u64), TarError> {
    let path = records.get(b"path").map(<[u8]>::to_vec).or(long.name).unwrap_or_else(|| header.path());
    let link = records.get(b"linkpath").map(<[u8]>::to_vec).or(long.link).unwrap_or_else(|| header.link());
    let kind = kind(header, &path, offset)?;
    let device = match kind {
        Kind::CharDevice | Kind::BlockDevice => device(header, records, offset)?,
        _ => (0, 0),
    };
    let id = |value: i64, field| u32::try_from(value).map_err(|_| TarError::Field { offset, field });
    let uid = match records.number(b"uid", "a user id is no number", offset)? {
        Some(uid) => uid,
        None => header.uid(offset)?,
    };
    let gid = match records.number(b"gid", "a group id is no number", offset)? {
        Some(gid) => gid,
        None => header.gid(offset)?,
    };
    let mtime = match records.get(b"mtime") {
        Some(text) => timestamp(text).ok_or(TarError::Pax { offset, problem: "a time is no number" })?,
        None => Timestamp { seconds: header.mtime(offset)?, nanos: 0 },
    };
    let mode = u16::try_from(header.mode(offset)? & 0o7777).unwrap_or_default();
    let entry = Entry {
        kind,
        path,
        link,
        mode,
        uid: id(uid, "user id")?,
        gid: id(gid, "group id")?,
        mtime,
        device,
        xattrs: records.xattrs().into_iter().collect(),
        size: 0,
        extents: None,
    };
    Ok((entry, stored_bytes(header, records, kind, offset)?))
}

fn kind(header: &Header, path: &[u8], offset: u64) -> Result<Kind, TarError> {
    Ok(match header.flag() {
        // Archives older than the directory type mark one by its name.
        0 | b'0' if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' | b'D' => Kind::Directory,
        b'6' => Kind::Fifo,
        flag => return Err(TarError::UnknownType { offset, flag: char::from(flag) }),
    })
}

/// Only files have data, GNU's dump directories, and what is a file but for its name; other types may carry a size that
/// means nothing.
fn stored_bytes(header: &Header, records: &View<'_>, kind: Kind, offset: u64) -> Result<u64, TarError> {
    if kind != Kind::File && !matches!(header.flag(), 0 | b'0' | b'D') {
        return Ok(0);
    }
    match records.number(b"size", "a size is no number", offset)? {
        Some(size) => u64::try_from(size).map_err(|_| TarError::Field { offset, field: "size" }),
        None => header.size(offset),
    }
}

fn device(header: &Header, records: &View<'_>, offset: u64) -> Result<(u32, u32), TarError> {
    let (major, minor) = header.device(offset)?;
    let problem = "a device number is no number";
    let major = records.number(b"SCHILY.devmajor", problem, offset)?.unwrap_or(major);
    let minor = records.number(b"SCHILY.devminor", problem, offset)?.unwrap_or(minor);
    // The kernel's own bounds: 12 and 20 bits.
    let major = u32::try_from(major).ok().filter(|&major| major < 1 << 12);
    let minor = u32::try_from(minor).ok().filter(|&minor| minor < 1 << 20);
    major.zip(minor).ok_or(TarError::Field { offset, field: "device number" })
}
