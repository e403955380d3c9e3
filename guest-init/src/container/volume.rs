//! Volumes: a directory beside the containers, or on a disk of its own, filled once with what the image has at its path.

use crate::attributes;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, StatVfsMountFlags, Uid,
};
use rustix::io::Errno;
use spec::launch::VOLUME_DATA;
use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories in one another that are copied at most.
const MAX_DEPTH: usize = 1000;

/// Opens the volume of that name below `volumes`. Where it is missing it is made with a copy of `image_dir`
/// (content, owners, modes), if that exists; a copy that was cut short leaves no volume behind.
///
/// # Errors
/// The step that failed.
pub(crate) fn open_or_fill(volumes: &Path, name: &str, image_dir: Option<OwnedFd>) -> io::Result<OwnedFd> {
    let path = volumes.join(name);
    if let Ok(existing) = open_dir(&path) {
        return Ok(existing);
    }
    // '@' is in no volume's name.
    make(&path, &volumes.join(format!("{name}@new")), image_dir)
}

/// Opens the named volume whose disk is mounted at `disk`, for the container of that name. Where it is missing or empty
/// it gets a copy of `image_dir`, as above; one that was made before may keep a part of a copy that was cut short, as
/// under Docker. One that is read-only is taken as it is.
///
/// # Errors
/// The step that failed.
pub(crate) fn open_named(disk: &Path, container: &str, image_dir: Option<OwnedFd>) -> io::Result<OwnedFd> {
    let path = disk.join(VOLUME_DATA);
    let Ok(existing) = open_dir(&path) else {
        return match make(&path, &disk.join(format!("@{container}")), image_dir) {
            // Another container was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_dir(&path),
            made => made,
        };
    };
    if let Some(image_dir) = image_dir
        && is_empty(&existing)?
        && !rustix::fs::fstatvfs(&existing)?.f_flag.contains(StatVfsMountFlags::RDONLY)
    {
        Copy::all(image_dir.as_fd(), existing.as_fd())?;
    }
    Ok(existing)
}

/// Opens (`O_PATH`) what exists at a path of a named volume; links lead nowhere beyond it.
///
/// # Errors
/// What openat2(2) says.
pub(crate) fn open_below(disk: &Path, path: &str) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(open_dir(&disk.join(VOLUME_DATA))?, path, flags, Mode::empty(), resolve)?)
}

/// Makes a volume, which gets its name last.
fn make(path: &Path, unfinished: &Path, image_dir: Option<OwnedFd>) -> io::Result<OwnedFd> {
    match std::fs::remove_dir_all(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => rustix::fs::mkdir(unfinished, Mode::from_raw_mode(0o755))?,
    }
    let made = open_dir(unfinished)?;
    if let Some(image_dir) = image_dir {
        Copy::all(image_dir.as_fd(), made.as_fd())?;
    }
    match rustix::fs::renameat_with(CWD, unfinished, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(made),
        Err(error) => {
            // Left to the next run where it cannot be done.
            let _kept = std::fs::remove_dir_all(unfinished);
            Err(error.into())
        }
    }
}

fn is_empty(dir: &OwnedFd) -> io::Result<bool> {
    for entry in Dir::read_from(dir)? {
        // What a new file system has of its own.
        if !matches!(entry?.file_name().to_bytes(), b"." | b".." | b"lost+found") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// A copy in progress.
struct Copy<'a> {
    root: BorrowedFd<'a>,
    /// Where the first name of an inode with several names was made, below `root`.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<'a> Copy<'a> {
    /// Copies all that is in a directory, and its own attributes.
    fn all(from: BorrowedFd<'_>, to: BorrowedFd<'a>) -> io::Result<()> {
        Copy { root: to, links: HashMap::new() }.directory(from, to, &PathBuf::new(), 0)
    }

    fn directory(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let path = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            self.entry(from, to, name, &path, depth)?;
        }
        attributes::copy(from, to)
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                made(rustix::fs::linkat(self.root, first, to, name, AtFlags::empty()))?;
                return Ok(());
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        let private = Mode::RUSR | Mode::WUSR | Mode::XUSR;
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match kind {
            FileType::Directory => {
                made(rustix::fs::mkdirat(to, name, private))?;
                let flags = read | OFlags::DIRECTORY;
                let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
                let target = rustix::fs::openat(to, name, flags, Mode::empty())?;
                self.directory(source.as_fd(), target.as_fd(), path, depth + 1)
            }
            FileType::RegularFile => {
                let mut source = File::from(rustix::fs::openat(from, name, read, Mode::empty())?);
                let create = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
                let Some(target) = made(rustix::fs::openat(to, name, create, private))? else {
                    return Ok(());
                };
                let mut target = File::from(target);
                io::copy(&mut source, &mut target)?;
                attributes::copy(&source, &target)
            }
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(from, name, Vec::new())?;
                match made(rustix::fs::symlinkat(link, to, name))? {
                    Some(()) => own(to, name, &stat),
                    None => Ok(()),
                }
            }
            _ => {
                let mode = Mode::from_raw_mode(stat.st_mode);
                match rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev) {
                    // On a directory of the host nobody makes devices.
                    Err(Errno::PERM | Errno::EXIST) => return Ok(()),
                    done => done?,
                }
                // The umask is empty: it has its mode. A chmod would follow a link that another pod has put here by now.
                own(to, name, &stat)
            }
        }
    }
}

/// What was made; `None` where it is there already: another pod that has the volume fills it at this moment.
fn made<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(made) => Ok(Some(made)),
        Err(Errno::EXIST) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn own(dir: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(rustix::fs::utimensat(dir, name, &attributes::times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn the_first_use_copies_and_later_ones_keep() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        let volumes = dir.path().join("volumes");
        fs::create_dir_all(image.join("sub")).unwrap();
        fs::create_dir(&volumes).unwrap();
        fs::write(image.join("sub/file"), "text").unwrap();
        fs::set_permissions(image.join("sub/file"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(image.join("sub/file"), image.join("twin")).unwrap();
        symlink("/nowhere", image.join("link")).unwrap();
        fs::set_permissions(&image, fs::Permissions::from_mode(0o1770)).unwrap();
        // Left behind by a copy that was cut short.
        fs::create_dir(volumes.join("data@new")).unwrap();
        fs::write(volumes.join("data@new/junk"), "").unwrap();

        open_or_fill(&volumes, "data", Some(open_dir(&image).unwrap())).unwrap();
        let data = volumes.join("data");
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o7777, 0o1770);
        assert_eq!(fs::read_to_string(data.join("twin")).unwrap(), "text");
        assert_eq!(fs::metadata(data.join("twin")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(
            fs::metadata(data.join("twin")).unwrap().ino(),
            fs::metadata(data.join("sub/file")).unwrap().ino()
        );
        assert_eq!(fs::read_link(data.join("link")).unwrap(), Path::new("/nowhere"));
        assert_eq!(
            fs::metadata(data.join("sub")).unwrap().mtime(),
            fs::metadata(image.join("sub")).unwrap().mtime()
        );
        assert_eq!(fs::read_dir(&data).unwrap().count(), 3);

        fs::write(data.join("new"), "").unwrap();
        fs::remove_file(data.join("twin")).unwrap();
        open_or_fill(&volumes, "data", Some(open_dir(&image).unwrap())).unwrap();
        assert!(data.join("new").exists() && !data.join("twin").exists());
    }

    #[test]
    fn a_volume_over_nothing_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        open_or_fill(dir.path(), "empty", None).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("empty")).unwrap().count(), 0);
    }

    #[test]
    fn a_named_volume_is_filled_while_it_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let (image, disk) = (dir.path().join("image"), dir.path().join("disk"));
        fs::create_dir_all(disk.join("lost+found")).unwrap();
        fs::create_dir_all(image.join("sub")).unwrap();
        fs::write(image.join("sub/file"), "text").unwrap();
        fs::set_permissions(&image, fs::Permissions::from_mode(0o1750)).unwrap();
        let data = disk.join(VOLUME_DATA);
        let names = || {
            let mut names: Vec<_> =
                fs::read_dir(&disk).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let open = |image: Option<&Path>| {
            open_named(&disk, "web", image.map(|path| open_dir(path).unwrap())).unwrap()
        };
        // Without anything to copy it is there and empty, whatever was left behind.
        fs::create_dir(disk.join("@web")).unwrap();
        fs::write(disk.join("@web/junk"), "").unwrap();
        open(None);
        assert_eq!(names(), [VOLUME_DATA, "lost+found"]);
        assert_eq!(
            (fs::read_dir(&data).unwrap().count(), fs::metadata(&data).unwrap().mode() & 0o7777),
            (0, 0o755)
        );
        // The first that has something fills it in place: others may have it mounted.
        let inode = fs::metadata(&data).unwrap().ino();
        open(Some(&image));
        let meta = fs::metadata(&data).unwrap();
        assert_eq!((meta.ino(), meta.mode() & 0o7777), (inode, 0o1750));
        assert_eq!(fs::read_to_string(data.join("sub/file")).unwrap(), "text");
        // What is not empty is left alone.
        fs::remove_dir_all(data.join("sub")).unwrap();
        fs::write(data.join("own"), "kept").unwrap();
        open(Some(&image));
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
        // New and filled at once.
        fs::remove_dir_all(&data).unwrap();
        open(Some(&image));
        assert_eq!(fs::read_to_string(data.join("sub/file")).unwrap(), "text");
        assert_eq!(names(), [VOLUME_DATA, "lost+found"]);
    }

    #[test]
    fn a_part_of_a_volume_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path();
        fs::create_dir_all(disk.join("_data/a")).unwrap();
        fs::write(disk.join("_data/a/file"), "").unwrap();
        fs::write(disk.join("secret"), "").unwrap();
        symlink("a", disk.join("_data/inside")).unwrap();
        symlink("../secret", disk.join("_data/up")).unwrap();
        symlink("/", disk.join("_data/root")).unwrap();
        for path in [".", "a", "a/../a/file", "inside/file"] {
            open_below(disk, path).unwrap();
        }
        for path in ["..", "../secret", "up", "root", "/", "/a", "a/../../secret", "missing"] {
            assert!(open_below(disk, path).is_err(), "{path}");
        }
    }
}
