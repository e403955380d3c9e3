//! Directories that guests have filled, counted and removed by the host: however deep they are, nothing here recurses.

use std::collections::HashSet;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Bytes that a directory's files take on the disk. What cannot be looked at counts for nothing.
pub(super) fn used(root: &Path) -> u64 {
    let mut waiting = vec![root.to_owned()];
    let mut twins = HashSet::new();
    let mut bytes = 0;
    let is_new = |found: &Metadata, twins: &mut HashSet<_>| {
        found.is_dir() || found.nlink() < 2 || twins.insert((found.dev(), found.ino()))
    };
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if is_new(&found, &mut twins) {
                bytes += found.blocks() * 512;
            }
            if found.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    bytes
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
