//! The second initramfs: a newc cpio archive with `/launch.json`, laid behind the package's own in guest memory.
//!
//! Format: Documentation/driver-api/early-userspace/buffer-format.rst of Linux; archives may follow each other.

/// An archive that holds one regular file at `path` (without a leading slash), readable by root alone.
pub(crate) fn with_file(path: &str, content: &[u8]) -> Result<Vec<u8>, std::num::TryFromIntError> {
    let mut archive = Vec::with_capacity(content.len() + 512);
    entry(&mut archive, path, 0o100_400, u32::try_from(content.len())?)?;
    archive.extend_from_slice(content);
    pad(&mut archive);
    entry(&mut archive, "TRAILER!!!", 0, 0)?;
    Ok(archive)
}

/// A header: the magic, thirteen numbers as eight hexadecimal digits each, the path and its NUL.
fn entry(archive: &mut Vec<u8>, path: &str, mode: u32, size: u32) -> Result<(), std::num::TryFromIntError> {
    let path_size = u32::try_from(path.len())? + 1;
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    let fields = [1, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, path_size, 0];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(path.as_bytes());
    archive.push(0);
    pad(archive);
    Ok(())
}

/// Headers and contents begin at multiples of four.
fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a");
        std::fs::write(&archive, with_file("launch.json", b"{\"x\":1}").unwrap()).unwrap();
        let Ok(output) = std::process::Command::new("cpio")
            .args(["-i", "--quiet", "--to-stdout", "launch.json"])
            .stdin(std::fs::File::open(&archive).unwrap())
            .output()
        else {
            return; // The layout test below holds without the tool.
        };
        assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"x\":1}");
    }

    #[test]
    fn the_layout_is_newc() {
        let archive = with_file("f", b"abcde").unwrap();
        assert_eq!(&archive[..6], b"070701");
        assert_eq!(&archive[14..22], b"00008100");
        assert_eq!(&archive[54..62], b"00000005");
        assert_eq!(&archive[94..102], b"00000002");
        assert_eq!(&archive[110..112], b"f\0");
        assert_eq!(&archive[112..120], b"abcde\0\0\0");
        assert_eq!(&archive[120..126], b"070701");
        assert_eq!(archive.len() % 4, 0);
    }
}
