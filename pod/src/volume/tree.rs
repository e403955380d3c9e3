//! Directories that guests have filled, counted and removed by the host: however deep they are, nothing here recurses.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};

/// Bytes that a directory's files take on the disk. What cannot be looked at counts for nothing.
pub(super) fn used(root: &Path) -> u64 {
    let Ok(top) = fs::File::open(root) else { return 0 };
    let mut waiting = vec![PathBuf::from(".")];
    let mut twins = HashSet::new();
    let mut bytes = 0;
    while let Some(path) = waiting.pop() {
        let Ok(dir) = open_below(&top, &path) else { continue };
        for entry in Dir::read_from(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(found) = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let is_dir = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
            if is_dir || found.st_nlink < 2 || twins.insert((found.st_dev, found.st_ino)) {
                bytes += u64::try_from(found.st_blocks).unwrap_or(0) * 512;
            }
            if is_dir {
                waiting.push(path.join(OsStr::from_bytes(name.to_bytes())));
            }
        }
    }
    bytes
}

/// Opens a directory below another. A guest may put a link in its place at any time: none is followed.
fn open_below(top: &fs::File, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(top, path, flags, Mode::empty(), resolve)
}

/// Removes a directory whose own entries have names of ours, and all that is below: a directory that is found in it becomes
/// one of its own entries first, so that no path gets long.
///
/// # Errors
/// Of the first that cannot be removed. A next call goes on.
pub(super) fn remove(top: &Path) -> io::Result<()> {
    let mut number = 0u64;
    loop {
        let mut dirs = Vec::new();
        for entry in fs::read_dir(top)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { dirs.push(entry.path()) } else { fs::remove_file(entry.path())? }
        }
        if dirs.is_empty() {
            return fs::remove_dir(top);
        }
        for dir in dirs {
            open_up(&dir)?;
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                if !entry.file_type()?.is_dir() {
                    fs::remove_file(entry.path())?;
                    continue;
                }
                // To be moved it must be writable itself.
                open_up(&entry.path())?;
                loop {
                    let place = top.join(format!("moved{number}"));
                    number += 1;
                    if !place.try_exists()? {
                        fs::rename(entry.path(), place)?;
                        break;
                    }
                }
            }
            fs::remove_dir(dir)?;
        }
    }
}

/// A guest may have taken its own directories' rights away.
fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("top/sub/low")).unwrap();
        fs::create_dir_all(path("outside/low")).unwrap();
        let top = fs::File::open(path("top")).unwrap();
        open_below(&top, Path::new("./sub/low")).unwrap();
        // As a guest does it between the look at an entry and its opening.
        fs::rename(path("top/sub"), path("top/was")).unwrap();
        for target in ["../outside", "was"] {
            std::os::unix::fs::symlink(target, path("top/sub")).unwrap();
            assert!(open_below(&top, Path::new("./sub")).is_err());
            assert!(open_below(&top, Path::new("./sub/low")).is_err());
            fs::remove_file(path("top/sub")).unwrap();
        }
        assert!(open_below(&top, Path::new("../outside")).is_err());
    }

    #[test]
    fn depth_and_modes_do_not_keep_a_tree() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("data/moved0/a")).unwrap();
        fs::write(top.join("volume.json"), "{}").unwrap();
        fs::write(top.join("data/moved0/a/file"), "x").unwrap();
        fs::hard_link(top.join("data/moved0/a/file"), top.join("data/twin")).unwrap();
        std::os::unix::fs::symlink("/nowhere", top.join("data/link")).unwrap();
        let deep = (0..40).fold(top.join("data"), |path, _| path.join("d".repeat(90)));
        fs::create_dir_all(&deep).unwrap();
        let block = used(&top.join("data/moved0/a"));
        assert!(block > 0 && used(&top) >= block);
        // Deeper than a path can name: the lower half goes below.
        fs::create_dir(top.join("other")).unwrap();
        fs::rename(top.join("data").join("d".repeat(90)), top.join("other/low")).unwrap();
        let upper = (0..40).fold(top.join("data"), |path, _| path.join("u".repeat(90)));
        fs::create_dir_all(&upper).unwrap();
        fs::rename(top.join("other/low"), upper.join("low")).unwrap();
        fs::set_permissions(top.join("data/moved0"), Permissions::from_mode(0o0)).unwrap();
        used(&top);
        remove(&top).unwrap();
        assert!(!top.exists());
    }
}
