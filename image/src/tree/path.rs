//! Paths of archives: cleaned into names below the root, or refused.

use super::TreeError;
use crate::limits::Limits;

/// The longest name of a directory entry, in bytes (NAME_MAX, and EROFS's own bound).
pub(crate) const NAME_MAX: usize = 255;

/// The longest target of a symbolic link, in bytes: the kernel reads one page and ends it with a NUL.
pub(crate) const SYMLINK_MAX: usize = 4095;

/// A path for an error message: escaped, and cut to a readable length.
pub(crate) fn show(path: &[u8]) -> String {
    const SHOWN: usize = 120;
    String::from_utf8_lossy(&path[..path.len().min(SHOWN)]).into_owned()
}

/// The names on the way from the root to `path`: empty ones and `.` are dropped, a leading `/` is the root, `..` takes
/// back the name before it.
///
/// # Errors
/// `..` out of the root, a NUL byte, a name or path beyond its limit.
pub(crate) fn components<'a>(path: &'a [u8], limits: &Limits) -> Result<Vec<&'a [u8]>, TreeError> {
    if path.contains(&0) {
        return Err(TreeError::InvalidPath(show(path)));
    }
    let too_long = || TreeError::PathTooLong { path: show(path), limit: limits.path_bytes };
    if path.len() > limits.path_bytes {
        return Err(too_long());
    }
    let mut names = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop().ok_or_else(|| TreeError::EscapesRoot(show(path)))?;
            }
            name if name.len() > NAME_MAX => return Err(too_long()),
            name => names.push(name),
        }
    }
    if names.len() > limits.depth {
        return Err(TreeError::TooDeep { path: show(path), limit: limits.depth });
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(path: &[u8]) -> Result<Vec<u8>, TreeError> {
        components(path, &Limits::default()).map(|names| names.join(&b'/'))
    }

    #[test]
    fn paths_are_cleaned_or_refused() {
        assert_eq!(clean(b"./a//b/./c/").unwrap(), b"a/b/c");
        assert_eq!(clean(b"/etc/passwd").unwrap(), b"etc/passwd");
        assert_eq!(clean(b"a/../b").unwrap(), b"b");
        assert_eq!(clean(b"./").unwrap(), b"");
        assert_eq!(clean(b"a/../../b").unwrap_err(), TreeError::EscapesRoot("a/../../b".into()));
        assert_eq!(clean(b"/../b").unwrap_err(), TreeError::EscapesRoot("/../b".into()));
        assert!(matches!(clean(b"a\0b"), Err(TreeError::InvalidPath(_))));
        assert_eq!(clean(&[b'n'; 255]).unwrap().len(), 255);
        assert!(matches!(clean(&[b'n'; 256]), Err(TreeError::PathTooLong { .. })));
        assert!(matches!(clean(&b"ab/".repeat(2000)), Err(TreeError::PathTooLong { .. })));
        assert!(matches!(clean(&b"a/".repeat(1025)), Err(TreeError::TooDeep { .. })));
    }
}
