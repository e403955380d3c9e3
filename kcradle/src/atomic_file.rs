//! Files that are whole or not there: written under a temporary name, flushed, renamed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Between a file's name and the writer's process id in the temporary name.
const TEMPORARY: &str = ".tmp-";

/// Writes `bytes` to `path`, replacing what is there, with the permission bits `mode`.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!("{TEMPORARY}{}", std::process::id()));
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
pub(crate) fn is_torn(name: &OsStr, of: &str) -> bool {
    let process = name.to_str().and_then(|name| name.strip_prefix(of)?.strip_prefix(TEMPORARY));
    process.is_some_and(|process| process.parse::<u32>().is_ok())
}

/// Flushes a directory's entries to the disk.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_files_are_told_from_others() {
        assert!(is_torn(OsStr::new("state.json.tmp-17"), "state.json"));
        for other in ["state.json", "state.json.tmp-", "state.json.tmp-x", "state.json.tmp-1.2", "my.tmp-17"]
        {
            assert!(!is_torn(OsStr::new(other), "state.json"), "{other}");
        }
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
