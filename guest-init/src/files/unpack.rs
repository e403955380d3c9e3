//! Unpacking an archive from a client into a directory of a container, with the rules of Docker's `PUT archive`.
//!
//! An entry's parent is looked up as a process in the container would, links and all; its last name is only ever
//! made new, and gets its attributes through a descriptor of what was made.

mod entry;
mod times;

use super::error::FilesError;
use super::incoming::Incoming;
use super::path::Wanted;
use super::thread;
use super::trail::{Missing, Trail};
use crate::container::filesystems;
use crate::container::root::Root;
use crate::container::user::User;
use flate2::bufread::MultiGzDecoder;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, StatVfsMountFlags, StatxFlags};
use std::io::{self, BufRead, BufReader};
use std::rc::Rc;
use tar::{Archive, Entry, Limits};
use times::Times;
use vdocker::archive::{Chunks, WriteOptions};

/// What a client's archive may cost memory; its data is bounded by the disk.
const LIMITS: Limits = Limits {
    archive_bytes: u64::MAX,
    file_bytes: i64::MAX as u64,
    sparse_extents: 1 << 16,
    pax_bytes: 1 << 20,
};

/// Bytes of a path, as for the kernel.
const MAX_PATH: usize = 4096;
/// Bytes that are decompressed at a time.
const PLAIN_BYTES: usize = 64 << 10;

/// The first bytes of gzip archives.
const GZIP: &[u8] = b"\x1f\x8b\x08";
/// Those of compressions that are not taken: no client compresses by itself, and each would be kilobytes of every boot.
const REFUSED: [(&str, &[u8]); 3] = [("bzip2", b"BZh"), ("xz", b"\xfd7zXZ\0"), ("zstd", b"\x28\xb5\x2f\xfd")];

/// Unpacks an archive into the directory at a path. `user` is whom the container runs as.
///
/// # Errors
/// [`FilesError::NotFound`] where there is no such path, and all that forbids an entry or fails at it; what was
/// unpacked before stays.
pub(super) fn into(
    root: &Root,
    user: &str,
    wanted: &Wanted,
    options: WriteOptions,
    chunks: Chunks,
) -> Result<(), FilesError> {
    let target = target(root, wanted)?;
    let owner = if options.copy_uid_gid { container_user(root, user)? } else { None };
    let unpacker =
        Unpacker { shown: target.path(), target, owner, options, parent: None, times: Times::default() };
    let mut input = Incoming::new(chunks);
    if is_gzip(&mut input)? {
        let mut reader = BufReader::with_capacity(PLAIN_BYTES, MultiGzDecoder::new(input));
        unpacker.all(&mut reader)?;
        input = reader.into_inner().into_inner();
    } else {
        unpacker.all(&mut input)?;
    }
    // To the end of the request, whatever follows the archive's.
    loop {
        let count = input.fill_buf().map_err(unreadable)?.len();
        if count == 0 {
            return Ok(());
        }
        input.consume(count);
    }
}

/// The directory to unpack into, which must exist and be writable.
fn target(root: &Root, wanted: &Wanted) -> Result<Trail, FilesError> {
    let failed = |error: io::Error| match error.raw_os_error() {
        Some(libc::ENOENT) => FilesError::NotFound,
        _ => FilesError::call("lstat", wanted.path.as_bytes())(error),
    };
    let mut trail = Trail::new(root).map_err(failed)?;
    trail.follow(wanted.path.as_bytes(), Missing::Refuse).map_err(failed)?;
    let end = trail.end().ok_or(FilesError::NotFound)?;
    let stat = rustix::fs::fstat(end).map_err(|error| failed(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(FilesError::NotADirectory);
    }
    let flags = rustix::fs::fstatvfs(end).map_err(|error| failed(error.into()))?.f_flag;
    if flags.contains(StatVfsMountFlags::RDONLY) {
        let mount = |fd: BorrowedFd<'_>| {
            rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|stat| stat.stx_mnt_id)
        };
        let same = mount(end).and_then(|id| Ok(id == mount(root.as_fd())?));
        let same = same.map_err(|error| failed(error.into()))?;
        return Err(if same { FilesError::ReadOnlyRoot } else { FilesError::ReadOnlyMount });
    }
    Ok(trail)
}

/// Whom all files are given to, as Docker does it where owners are to be copied: the container's user, if it has one.
fn container_user(root: &Root, user: &str) -> Result<Option<(u32, u32)>, FilesError> {
    if user.is_empty() {
        return Ok(None);
    }
    let text =
        |path: &str| filesystems::read_text(root, path).map_err(FilesError::call("open", path.as_bytes()));
    let user = User::resolve(user, &text("/etc/passwd")?, &text("/etc/group")?)
        .map_err(|failure| FilesError::Refused(failure.message))?;
    Ok(Some((user.uid, user.gid)))
}

/// Tells compressed archives by their first bytes.
fn is_gzip(input: &mut Incoming) -> Result<bool, FilesError> {
    let first = input.peek(6).map_err(unreadable)?;
    match REFUSED.iter().find(|(_, magic)| first.starts_with(magic)) {
        Some((name, _)) => Err(FilesError::Refused(format!("archives compressed by {name} are not taken"))),
        None => Ok(first.starts_with(GZIP)),
    }
}

fn unreadable(source: io::Error) -> FilesError {
    FilesError::Archive(tar::TarError::Read { offset: 0, source })
}

/// An archive being unpacked.
struct Unpacker {
    /// The directory it goes into.
    target: Trail,
    /// Its path, for errors.
    shown: Vec<u8>,
    /// Who gets all files; `None`: owners are those of the archive.
    owner: Option<(u32, u32)>,
    options: WriteOptions,
    /// Where the last entry went: most go there again.
    parent: Option<(Vec<u8>, Rc<OwnedFd>)>,
    times: Times,
}

/// A directory below the target and a name in it.
type Name = (Vec<u8>, Vec<u8>);

impl Unpacker {
    fn all(mut self, input: &mut dyn BufRead) -> Result<(), FilesError> {
        let mut archive = Archive::new(input, LIMITS);
        while let Some(entry) = archive.next_entry()? {
            thread::go_on().map_err(FilesError::call("mkdir", &self.shown))?;
            self.entry(&mut archive, &entry)?;
        }
        self.finish();
        Ok(())
    }

    fn entry<R: BufRead + ?Sized>(
        &mut self,
        archive: &mut Archive<'_, R>,
        entry: &Entry,
    ) -> Result<(), FilesError> {
        // The directory itself stays as it is.
        let Some((parent, name)) = self.split(&entry.path)? else { return Ok(()) };
        let shown = self.shown(&parent, &name);
        let dir = self.parent(&parent, Missing::Make)?;
        let place = entry::Place { dir: dir.as_fd(), name: &name, shown: &shown };
        if place.make_way(entry.kind, self.options.no_overwrite_dir_non_dir, &self.shown)? {
            // A way to other places may have gone with it.
            self.parent = None;
        }
        let owner = self.owner.unwrap_or((entry.uid, entry.gid));
        match entry.kind {
            tar::Kind::Directory => {
                place.directory(entry, owner)?;
                if let Some((parent, name, time)) = self.times.push(parent, name, entry.mtime) {
                    self.set_time(&parent, &name, time);
                }
                Ok(())
            }
            tar::Kind::HardLink => {
                let outside =
                    || FilesError::Refused(format!("invalid hardlink target {:?}", show(&entry.link)));
                let (parent, name) = self.split(&entry.link)?.ok_or_else(outside)?;
                let target = self.parent(&parent, Missing::Refuse)?;
                place.hard_link(target.as_fd(), &name)
            }
            tar::Kind::File => place.file(archive, entry, owner),
            tar::Kind::Symlink => place.symlink(entry, owner),
            kind => place.special(entry, kind, owner),
        }
    }

    /// The parent and the last component of a path of the archive, cleaned; `None` for the target itself.
    fn split(&self, path: &[u8]) -> Result<Option<Name>, FilesError> {
        let outside =
            || FilesError::Refused(format!("{:?} is outside of {:?}", show(path), show(&self.shown)));
        if path.contains(&0) {
            return Err(FilesError::Refused(format!("invalid entry name {:?}", show(path))));
        }
        if path.len() > MAX_PATH {
            let start = &path[..100];
            return Err(FilesError::call("lstat", start)(rustix::io::Errno::NAMETOOLONG));
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop().ok_or_else(outside)?;
                }
                part => parts.push(part),
            }
        }
        Ok(parts.pop().map(|name| (parts.join(&b'/'), name.to_vec())))
    }

    /// The directory at a path below the target.
    fn parent(&mut self, path: &[u8], missing: Missing) -> Result<Rc<OwnedFd>, FilesError> {
        if let Some((last, dir)) = &self.parent
            && last == path
        {
            return Ok(Rc::clone(dir));
        }
        let mut trail = self.target.clone();
        let shown = self.shown(path, b"");
        let end = trail.follow(path, missing).and_then(|()| {
            let dir = trail.end_shared().ok_or(rustix::io::Errno::NOENT)?;
            let stat = rustix::fs::fstat(&dir)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Err(rustix::io::Errno::NOTDIR.into());
            }
            Ok(dir)
        });
        let dir = end.map_err(FilesError::call("mkdir", &shown))?;
        self.parent = Some((path.to_vec(), Rc::clone(&dir)));
        Ok(dir)
    }

    /// A path for errors.
    fn shown(&self, parent: &[u8], name: &[u8]) -> Vec<u8> {
        let mut shown = self.shown.clone();
        for part in [parent, name].into_iter().filter(|part| !part.is_empty()) {
            if shown.last() != Some(&b'/') {
                shown.push(b'/');
            }
            shown.extend_from_slice(part);
        }
        shown
    }

    /// Sets the times of directories, which what came into them has changed.
    fn finish(mut self) {
        while let Some((parent, name, time)) = self.times.pop() {
            self.set_time(&parent, &name, time);
        }
    }

    fn set_time(&mut self, parent: &[u8], name: &[u8], time: tar::Timestamp) {
        if let Ok(dir) = self.parent(parent, Missing::Refuse) {
            // A directory that the container has taken away meanwhile needs none.
            let _gone = entry::set_directory_time(dir.as_fd(), name, time);
        }
    }
}

fn show(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
