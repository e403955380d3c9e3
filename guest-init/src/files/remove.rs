//! Removing what an unpacked entry takes the place of, with all below it.

use super::thread;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;

/// Directories in one another.
const MAX_DEPTH: usize = 1000;
/// How often a directory is emptied that others keep filling.
const MAX_REFILLS: u32 = 16;

/// A directory being emptied, and its name in the one above.
struct Level {
    dir: Dir,
    name: CString,
    refills: u32,
}

/// Removes a name in a directory, if it is there. What is mounted is not removed.
///
/// # Errors
/// What unlinkat(2) says; EBUSY at a mount point.
pub(super) fn all(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    if unlink(parent, &name)? {
        return Ok(());
    }
    let device = rustix::fs::statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW)?.st_dev;
    let mut levels = vec![open(parent, name, device)?];
    while let Some(level) = levels.last_mut() {
        let next = loop {
            thread::go_on()?;
            match level.dir.read().transpose()? {
                None => break None,
                Some(entry) => {
                    let name = entry.file_name();
                    if name != c"." && name != c".." && !unlink(level.dir.fd()?, name)? {
                        break Some(name.to_owned());
                    }
                }
            }
        };
        if let Some(name) = next {
            if levels.len() >= MAX_DEPTH {
                return Err(Errno::NAMETOOLONG);
            }
            let Some(level) = levels.last() else { break };
            let below = open(level.dir.fd()?, name, device)?;
            levels.push(below);
            continue;
        }
        let Some(mut level) = levels.pop() else { break };
        let above = match levels.last() {
            Some(above) => above.dir.fd()?,
            None => parent,
        };
        match rustix::fs::unlinkat(above, &level.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY) if level.refills < MAX_REFILLS => {
                level.refills += 1;
                level.dir.rewind();
                levels.push(level);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes anything but a directory; whether it is gone.
fn unlink(dir: BorrowedFd<'_>, name: &std::ffi::CStr) -> rustix::io::Result<bool> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(parent: BorrowedFd<'_>, name: CString, device: u64) -> rustix::io::Result<Level> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir: OwnedFd = rustix::fs::openat(parent, &name, flags, Mode::empty())?;
    if rustix::fs::fstat(&dir)?.st_dev != device {
        return Err(Errno::BUSY);
    }
    Ok(Level { dir: Dir::new(dir)?, name, refills: 0 })
}
