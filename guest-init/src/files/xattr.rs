//! Extended attributes that archives of containers' files carry: users' own, and file capabilities.

use rustix::fd::BorrowedFd;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::io;

/// Bytes of one inode's attributes; as much as our reader takes of another's archive.
const MAX_BYTES: usize = 1 << 20;

/// A full name (`user.note`) and a value.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

/// Whether an attribute goes into an archive. Others have a meaning for this kernel alone, above
/// all `trusted.overlay.*`.
pub(super) fn travels(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == b"security.capability"
}

/// Whether an attribute is taken out of an archive that has it. Access control lists are, which Docker never packs and
/// always unpacks. A layer takes them along.
pub(super) fn is_welcome(name: &[u8]) -> bool {
    travels(name) || matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default")
}

/// Those attributes of an inode, open for reading, whose name `takes` takes.
///
/// # Errors
/// What the system says; E2BIG where there are too many.
pub(super) fn of(fd: BorrowedFd<'_>, takes: fn(&[u8]) -> bool) -> io::Result<Vec<Attribute>> {
    let mut found = Vec::new();
    let length = match rustix::fs::flistxattr_query(fd) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(found),
        other => other?,
    };
    let mut names = vec![0; length];
    let length = match rustix::fs::flistxattr(fd, &mut names[..]) {
        // More since it was asked; none is worth a second look.
        Err(Errno::RANGE) => return Ok(found),
        other => other?,
    };
    let mut bytes = 0;
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if !takes(name.to_bytes()) {
            continue;
        }
        let value = match read(fd, name) {
            Err(Errno::NODATA | Errno::RANGE) => continue,
            other => other?,
        };
        bytes += name.count_bytes() + value.len();
        if bytes > MAX_BYTES {
            return Err(Errno::TOOBIG.into());
        }
        found.push((name.to_bytes().to_vec(), value));
    }
    Ok(found)
}

fn read(fd: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Vec<u8>> {
    let mut value = vec![0; rustix::fs::fgetxattr_query(fd, name)?];
    let length = rustix::fs::fgetxattr(fd, name, &mut value[..])?;
    value.truncate(length);
    Ok(value)
}

/// Sets those of an archive's attributes that are welcome.
///
/// # Errors
/// What the system says, but for a file system without attributes: Docker goes on too.
pub(super) fn set(fd: BorrowedFd<'_>, attributes: &[(tar::Bytes, tar::Bytes)]) -> io::Result<()> {
    for (name, value) in attributes.iter().filter(|(name, _)| is_welcome(name)) {
        let name = CString::new(&**name).map_err(|_| Errno::INVAL)?;
        match rustix::fs::fsetxattr(fd, &name, value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
