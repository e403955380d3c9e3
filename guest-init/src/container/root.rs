//! Paths inside a container's root: resolved so that no symbolic link of a hostile image leads out of it.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Symbolic links followed in one path, as the kernel's limit.
const MAX_LINKS: u32 = 40;

/// What to make where a path's last component is missing. Missing directories on the way are always made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A directory of mode 0755.
    Directory,
    /// An empty file of mode 0644.
    File,
}

/// The root directory of a container's file tree.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// The tree whose root is mounted at `path`.
    ///
    /// # Errors
    /// What open(2) says.
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Opens something that exists, following links inside the root only, magic links not at all.
    ///
    /// # Errors
    /// What openat2(2) says.
    pub(crate) fn existing(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
    }

    /// An `O_PATH` descriptor of the path, which is made where it is missing, also behind a link that leads
    /// nowhere. Existing ones keep their type: the caller checks it.
    ///
    /// # Errors
    /// What the system calls say; ENOTDIR where a component on the way is no directory.
    pub(crate) fn ensure(&self, path: &str, missing: Missing) -> io::Result<OwnedFd> {
        let mut rest = components(OsStr::new(path));
        let mut stack = vec![self.0.try_clone()?];
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            let Some(dir) = stack.last() else { return Err(Errno::NOENT.into()) };
            let kind = if rest.is_empty() { missing } else { Missing::Directory };
            let found = step(dir.as_fd(), &name, kind)?;
            match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = rustix::fs::readlinkat(&found, c"", Vec::new())?;
                    let target = OsString::from_vec(CString::into_bytes(target));
                    if target.as_bytes().starts_with(b"/") {
                        stack.truncate(1);
                    }
                    rest.extend(components(&target));
                }
                FileType::Directory => stack.push(found),
                _ if rest.is_empty() => return Ok(found),
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        stack.pop().ok_or_else(|| Errno::NOENT.into())
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The components of a path, last first; `.` and empty ones left out.
fn components(path: &OsStr) -> Vec<OsString> {
    let parts = path.as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.rev().map(|part| OsString::from_vec(part.to_vec())).collect()
}

/// Opens one name in a directory, itself if it is a link; makes it where it is missing.
fn step(dir: BorrowedFd<'_>, name: &OsStr, missing: Missing) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return Ok(other?),
    }
    match missing {
        Missing::Directory => rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))?,
        Missing::File => {
            let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(rustix::fs::openat(dir, name, create, Mode::from_raw_mode(0o644))?);
        }
    }
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/etc")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        let root = Root::open(dir.path().join("root").to_str().unwrap()).unwrap();
        (dir, root)
    }

    #[test]
    fn links_stay_inside() {
        let (dir, root) = tree();
        let inside = dir.path().join("root");
        symlink("../../outside", inside.join("up")).unwrap();
        symlink("/etc", inside.join("absolute")).unwrap();
        symlink(dir.path().join("outside"), inside.join("far")).unwrap();
        for (path, made) in [
            ("/up/a", "outside/a"),
            ("/absolute/../../b", "b"),
            ("/absolute/x/../c", "etc/c"),
            ("../../../d", "d"),
        ] {
            root.ensure(path, Missing::Directory).unwrap();
            assert!(inside.join(made).is_dir(), "{path}");
        }
        root.ensure("/far/e", Missing::File).unwrap();
        assert!(inside.join(dir.path().join("outside/e").strip_prefix("/").unwrap()).is_file());
        assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
    }

    #[test]
    fn a_link_to_nowhere_is_made_at_its_target() {
        let (dir, root) = tree();
        symlink("../run/resolve/stub.conf", dir.path().join("root/etc/resolv.conf")).unwrap();
        root.ensure("/etc/resolv.conf", Missing::File).unwrap();
        assert!(dir.path().join("root/run/resolve/stub.conf").is_file());
    }

    #[test]
    fn loops_and_files_on_the_way_are_refused() {
        let (dir, root) = tree();
        symlink("loop", dir.path().join("root/loop")).unwrap();
        fs::write(dir.path().join("root/file"), "").unwrap();
        let errno = |path| root.ensure(path, Missing::Directory).unwrap_err().raw_os_error();
        assert_eq!(errno("/loop"), Some(libc::ELOOP));
        assert_eq!(errno("/file/x"), Some(libc::ENOTDIR));
        assert!(root.ensure("/file", Missing::File).is_ok());
        assert!(root.existing("/loop", OFlags::RDONLY).is_err());
    }

    #[test]
    fn magic_links_are_not_followed() {
        let root = Root::open("/").unwrap();
        let error = root.existing("/proc/self/root", OFlags::PATH).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }
}
