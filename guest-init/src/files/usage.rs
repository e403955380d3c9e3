//! How large a container's files are (`docker ps --size`).

use super::changes::{self, Layers};
use super::error::FilesError;
use super::thread;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::path::Path;

/// Directories in one another.
const MAX_DEPTH: usize = 1000;
/// Inodes with several names that are counted once.
const MAX_LINKS: usize = 1 << 16;

/// Bytes of files that the container has written, and those with its image's.
///
/// # Errors
/// What cannot be read.
pub(super) fn of(layers: &Layers) -> Result<(u64, u64), FilesError> {
    let written = below(&layers.upper)?;
    Ok((written, written.saturating_add(below(&layers.image)?)))
}

/// The lengths of all files below a directory, each counted once.
fn below(path: &Path) -> Result<u64, FilesError> {
    let failed = || FilesError::call("open", path.as_os_str().as_encoded_bytes());
    let mut levels = vec![Dir::new(changes::open(path)?).map_err(failed())?];
    let mut seen = HashSet::new();
    let mut sum = 0_u64;
    loop {
        thread::go_on().map_err(failed())?;
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return Ok(sum) };
        let Some(entry) = level.read() else {
            levels.pop();
            continue;
        };
        let entry = entry.map_err(failed())?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let dir = level.fd().map_err(failed())?;
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            other => other.map_err(failed())?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if depth >= MAX_DEPTH {
                return Err(failed()(Errno::NAMETOOLONG));
            }
            let opened: rustix::io::Result<OwnedFd> = rustix::fs::openat(dir, name, flags, Mode::empty());
            match opened {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                other => levels.push(Dir::new(other.map_err(failed())?).map_err(failed())?),
            }
            continue;
        }
        let several = stat.st_nlink > 1;
        if several && (seen.contains(&(stat.st_dev, stat.st_ino))) {
            continue;
        }
        if several && seen.len() < MAX_LINKS {
            seen.insert((stat.st_dev, stat.st_ino));
        }
        sum = sum.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
    }
}
