//! What is at a path: the answer to `HEAD archive`.

use super::error::FilesError;
use super::path::Wanted;
use super::trail::{self, Missing, Trail};
use crate::container::root::Root;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Stat};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vdocker::archive::PathStat;

/// Go's `os.FileMode` bits that are not permissions.
const GO_DIR: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;
const GO_DEVICE: u32 = 1 << 26;
const GO_PIPE: u32 = 1 << 25;
const GO_SOCKET: u32 = 1 << 24;
const GO_SETUID: u32 = 1 << 23;
const GO_SETGID: u32 = 1 << 22;
const GO_CHAR_DEVICE: u32 = 1 << 21;
const GO_STICKY: u32 = 1 << 20;

/// Opens what is there (`O_PATH`, links not followed) and describes it.
///
/// # Errors
/// [`FilesError::NotFound`], and what the system says.
pub(super) fn look(root: &Root, wanted: &Wanted) -> Result<(OwnedFd, PathStat), FilesError> {
    let failed = |error: io::Error| match error.raw_os_error() {
        Some(libc::ENOENT) => FilesError::NotFound,
        _ => FilesError::call("lstat", wanted.path.as_bytes())(error),
    };
    let found = trail::open(root, &wanted.path).map_err(failed)?;
    let stat = rustix::fs::fstat(&found).map_err(|error| failed(error.into()))?;
    let mut link_target = String::new();
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let mut trail = Trail::new(root).map_err(failed)?;
        trail.follow(wanted.path.as_bytes(), Missing::Imagine).map_err(failed)?;
        link_target = String::from_utf8_lossy(&trail.path()).into_owned();
    }
    let path_stat = PathStat {
        name: wanted.name.clone(),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: go_mode(stat.st_mode),
        mtime: mtime(&stat),
        link_target,
    };
    Ok((found, path_stat))
}

/// A mode as Go has it.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => GO_DIR,
        FileType::Symlink => GO_SYMLINK,
        FileType::BlockDevice => GO_DEVICE,
        FileType::CharacterDevice => GO_DEVICE | GO_CHAR_DEVICE,
        FileType::Fifo => GO_PIPE,
        FileType::Socket => GO_SOCKET,
        FileType::RegularFile | FileType::Unknown => 0,
    };
    let bit = |bit, go| if mode & bit != 0 { go } else { 0 };
    mode & 0o777
        | kind
        | bit(libc::S_ISUID, GO_SETUID)
        | bit(libc::S_ISGID, GO_SETGID)
        | bit(libc::S_ISVTX, GO_STICKY)
}

fn mtime(stat: &Stat) -> SystemTime {
    let seconds = Duration::from_secs(stat.st_mtime.unsigned_abs());
    let whole =
        if stat.st_mtime < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    whole.and_then(|time| time.checked_add(Duration::from_nanos(stat.st_mtime_nsec))).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_go() {
        assert_eq!(go_mode(libc::S_IFDIR | 0o1777), 0x8010_01ff);
        assert_eq!(go_mode(libc::S_IFREG | 0o4755), 0x0080_01ed);
        assert_eq!(go_mode(libc::S_IFLNK | 0o777), 0x0800_01ff);
        assert_eq!(go_mode(libc::S_IFCHR | 0o2666), 0x0460_01b6);
        assert_eq!(go_mode(libc::S_IFBLK | 0o600), 0x0400_0180);
        assert_eq!(go_mode(libc::S_IFIFO), 0x0200_0000);
    }
}
