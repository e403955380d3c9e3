//! Owner, mode, times and extended attributes copied from one inode to another: the overlay's root, volumes.

use rustix::fd::AsFd;
use rustix::fs::{Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;

/// Attributes with a meaning for the overlay itself, never copied.
const OVERLAY_PREFIX: &[u8] = b"trusted.overlay.";

/// Copies extended attributes, owner, mode and times. Both descriptors are open for reading (no `O_PATH`).
///
/// # Errors
/// The first step that failed.
pub(crate) fn copy(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(&from)?;
    rustix::fs::fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    // After chown, which clears set-id bits and file capabilities.
    rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode))?;
    copy_xattrs(&from, &to)?;
    rustix::fs::futimens(&to, &times(&stat))?;
    Ok(())
}

/// The access and modification times of an inode.
#[expect(clippy::cast_possible_wrap, reason = "nanoseconds are below 10^9")]
pub(crate) fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

fn copy_xattrs(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let length = match rustix::fs::flistxattr_query(&from) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    };
    let mut names = vec![0; length];
    let length = rustix::fs::flistxattr(&from, &mut names[..])?;
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        if name.starts_with(OVERLAY_PREFIX) {
            continue;
        }
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let mut value = vec![0; rustix::fs::fgetxattr_query(&from, name)?];
        let length = rustix::fs::fgetxattr(&from, name, &mut value[..])?;
        match rustix::fs::fsetxattr(&to, name, &value[..length], XattrFlags::empty()) {
            // A target without the attribute's name space, as tmpfs without ACLs: Docker goes on too.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
