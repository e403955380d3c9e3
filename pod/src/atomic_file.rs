//! Files that are whole or not there: written under a temporary name, flushed, renamed.
//!
//! A file has one writer at a time, whoever holds the pod's lock or builds the folder: so the temporary name is always the
//! same, and what a killed writer left is gone with the next writing.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// What the temporary name adds to the file's.
const TEMPORARY: &str = ".tmp";

/// Writes `bytes` to `path`, replacing what is there, with the permission bits `mode`.
///
/// # Errors
/// The file cannot be written or put in place; what was there is there still.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(TEMPORARY);
    let temporary = path.with_file_name(name);
    let written = (|| {
        let mut file = File::options().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Whether `name` is what a process that was killed while it wrote the file `of` left beside it.
#[must_use]
pub fn is_torn(name: &OsStr, of: &str) -> bool {
    name.to_str().and_then(|name| name.strip_prefix(of)) == Some(TEMPORARY)
}

/// Flushes a directory's entries to the disk.
///
/// # Errors
/// The directory cannot be opened or flushed.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_files_are_told_from_others() {
        assert!(is_torn(OsStr::new("state.json.tmp"), "state.json"));
        for other in ["state.json", "state.json.tmp-17", "state.json.tmp.tmp", "my.tmp"] {
            assert!(!is_torn(OsStr::new(other), "state.json"), "{other}");
        }
    }

    #[test]
    fn what_a_killed_writer_left_is_gone_with_the_next_writing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(dir.path().join("f.tmp"), "longer than the next content").unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn replaces_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write(&path, b"one", 0o600).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("missing/f"), b"", 0o600).is_err());
    }
}
