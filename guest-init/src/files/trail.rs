//! Ways below a container's root, step by step over descriptors: links are followed as the container's processes would
//! follow them, `..` goes back on the way that was gone, and nothing that is swapped meanwhile leads out.

use crate::container::root::Root;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::io;
use std::rc::Rc;

/// Symbolic links followed on one way, as the kernel's limit.
const MAX_LINKS: u32 = 40;
/// Steps of a way: each holds a descriptor.
const MAX_STEPS: usize = 1000;
/// How often a lookup is repeated that lost a race against renames.
const MAX_RACES: u32 = 64;

/// Opens what exists below the root, itself if it is a link, unless the path ends in a slash.
///
/// # Errors
/// What openat2(2) says.
pub(super) fn open(root: &Root, path: &str) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut races = 0;
    loop {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if races < MAX_RACES => races += 1,
            other => return Ok(other?),
        }
    }
}

/// What to do with a component that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Fail.
    Refuse,
    /// Go on with the names alone.
    Imagine,
    /// Make a directory of mode 0755.
    Make,
}

/// A step below the root.
#[derive(Clone, Debug)]
struct Step {
    name: Vec<u8>,
    /// `None`: it does not exist.
    found: Option<Rc<OwnedFd>>,
}

/// The way from the root to a place.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    root: Rc<OwnedFd>,
    steps: Vec<Step>,
}

impl Trail {
    /// At the root.
    ///
    /// # Errors
    /// A descriptor that cannot be copied.
    pub(super) fn new(root: &Root) -> io::Result<Self> {
        Ok(Self { root: Rc::new(root.as_fd().try_clone_to_owned()?), steps: Vec::new() })
    }

    /// Where it ends (`O_PATH`); `None`: nowhere.
    pub(super) fn end(&self) -> Option<BorrowedFd<'_>> {
        match self.steps.last() {
            None => Some(self.root.as_fd()),
            Some(step) => step.found.as_ref().map(|found| found.as_fd()),
        }
    }

    /// [`Self::end`], to be kept.
    pub(super) fn end_shared(&self) -> Option<Rc<OwnedFd>> {
        match self.steps.last() {
            None => Some(Rc::clone(&self.root)),
            Some(step) => step.found.clone(),
        }
    }

    /// The absolute path without links.
    pub(super) fn path(&self) -> Vec<u8> {
        if self.steps.is_empty() {
            return b"/".to_vec();
        }
        self.steps.iter().flat_map(|step| [b"/", step.name.as_slice()].concat()).collect()
    }

    /// Goes on along a path, following links, one at its end too.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR where the way goes on behind no directory, ELOOP, ENAMETOOLONG, what openat(2) says.
    pub(super) fn follow(&mut self, path: &[u8], missing: Missing) -> io::Result<()> {
        let mut links = 0;
        let mut rest = components(path);
        while let Some(name) = rest.pop() {
            if name == b".." {
                self.steps.pop();
                continue;
            }
            if self.steps.len() >= MAX_STEPS {
                return Err(Errno::NAMETOOLONG.into());
            }
            let found = match self.end() {
                Some(dir) => step(dir, &name, missing)?,
                None => None,
            };
            let Some(found) = found else {
                self.steps.push(Step { name, found: None });
                continue;
            };
            match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = rustix::fs::readlinkat(&found, c"", Vec::new())?;
                    if target.as_bytes().starts_with(b"/") {
                        self.steps.clear();
                    }
                    rest.extend(components(target.as_bytes()));
                    continue;
                }
                FileType::Directory => {}
                _ if rest.is_empty() => {}
                _ => return Err(Errno::NOTDIR.into()),
            }
            self.steps.push(Step { name, found: Some(Rc::new(found)) });
        }
        Ok(())
    }
}

/// The components of a path, last first; `.` and empty ones left out.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.rev().map(<[u8]>::to_vec).collect()
}

/// Opens one name in a directory, itself if it is a link.
fn step(dir: BorrowedFd<'_>, name: &[u8], missing: Missing) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match (rustix::fs::openat(dir, name, flags, Mode::empty()), missing) {
        (Err(Errno::NOENT), Missing::Imagine) => return Ok(None),
        (Err(Errno::NOENT), Missing::Make) => {}
        (other, _) => return Ok(Some(other?)),
    }
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Some(rustix::fs::openat(dir, name, flags, Mode::empty())?))
}
