//! Where a container's files are: in its own mount namespace while it runs, else its file tree with what would be
//! mounted into it.

use super::error::FilesError;
use super::thread;
use crate::container::filesystems;
use crate::container::root::Root;
use crate::container::volume;
use crate::disks::{self, Tree};
use crate::mountfd::{self, MountFd};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MountAttrFlags as Attr;
use rustix::thread::LinkNameSpaceType;
use spec::ContainerSpec;
use spec::launch::{MountSource, MountSpec, Writable};
use std::io;
use std::path::{Path, PathBuf};

/// Where a container's files are.
#[derive(Debug)]
pub(crate) enum Place {
    /// A descriptor of the first process of one that runs, or of its mount namespace; its parts, should it end.
    Running(OwnedFd, Parts),
    /// The parts of one that does not run.
    Stopped(Parts),
    /// A directory, which takes no rights to enter.
    #[cfg(test)]
    Directory(PathBuf),
}

/// What the tree of a container is put together from.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// The overlay's mount point.
    root: String,
    /// The folder of its own `hosts`, `hostname` and `resolv.conf`.
    etc: PathBuf,
    /// The folder of anonymous volumes.
    volumes: PathBuf,
    /// What is mounted into it.
    mounts: Vec<MountSpec>,
    /// Whether its root is read-only.
    read_only: bool,
}

impl Place {
    /// Of a container; `namespace` is the one that it runs in, if it runs.
    pub(crate) fn of(spec: &ContainerSpec, tree: &Tree, volumes: &Path, namespace: Option<OwnedFd>) -> Self {
        let parts = Parts {
            root: tree.root.clone(),
            etc: tree.etc.clone(),
            volumes: volumes.to_owned(),
            mounts: spec.mounts.clone(),
            read_only: spec.image.writable == Writable::ReadOnly,
        };
        match namespace {
            Some(namespace) => Self::Running(namespace, parts),
            None => Self::Stopped(parts),
        }
    }

    /// Takes the calling thread there, and it alone.
    ///
    /// # Errors
    /// The step that failed.
    pub(super) fn enter(&self) -> Result<Root, FilesError> {
        let entered = match self {
            Self::Running(namespace, parts) => match enter_namespace(namespace) {
                // It has ended since.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => parts.assemble(),
                entered => entered,
            },
            Self::Stopped(parts) => parts.assemble(),
            #[cfg(test)]
            Self::Directory(path) => thread::detach(false).and_then(|()| Root::open(&path.to_string_lossy())),
        };
        entered.map_err(FilesError::call("open", b"container's root"))
    }
}

fn enter_namespace(namespace: &OwnedFd) -> io::Result<Root> {
    thread::detach(false)?;
    // The root is then that of the namespace, whatever its processes have made theirs.
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
    Root::open("/")
}

impl Parts {
    /// Mounts volumes over the tree in a namespace that lives as long as the thread. The mount points were made when
    /// the container first started; before that it has no volumes either.
    fn assemble(&self) -> io::Result<Root> {
        thread::detach(true)?;
        filesystems::make_private()?;
        let root = Root::open(&self.root)?;
        for name in ["hosts", "hostname", "resolv.conf"] {
            let file = MountFd::bind(CWD, &format!("{}/{name}", self.etc.display()))?;
            attach(&root, &file, &format!("/etc/{name}"))?;
        }
        for mount in &self.mounts {
            self.mount(&root, mount)?;
        }
        if self.read_only {
            mountfd::set_attributes(root.as_fd(), Attr::MOUNT_ATTR_RDONLY)?;
        }
        Ok(root)
    }

    fn mount(&self, root: &Root, mount: &MountSpec) -> io::Result<()> {
        let mounted = match &mount.source {
            // As under Docker, each view of a stopped container has memory of its own there.
            MountSource::Tmpfs { size, mode, .. } => {
                let mode = format!("{:o}", mode & 0o7777);
                let size = size.map(|size| size.to_string());
                let mut options = vec![("mode", mode.as_str())];
                options.extend(size.as_deref().map(|size| ("size", size)));
                MountFd::filesystem("tmpfs", &options, Attr::empty())?
            }
            MountSource::Anonymous { name } => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::open(self.volumes.join(name), flags, Mode::empty()) {
                    Ok(volume) => MountFd::bind(volume.as_fd(), "")?,
                    Err(rustix::io::Errno::NOENT) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            MountSource::Volume { name, subpath, .. } => {
                let path = subpath.as_deref().unwrap_or(".");
                match volume::open_below(&disks::named_volume(name), path) {
                    Ok(volume) => MountFd::bind(volume.as_fd(), "")?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            MountSource::Share { tag, file } => MountFd::bind(disks::open_share(tag, *file)?.as_fd(), "")?,
        };
        if mount.read_only {
            mounted.set(Attr::MOUNT_ATTR_RDONLY)?;
        }
        attach(root, &mounted, &mount.guest_path)
    }
}

/// Attaches at a path that exists.
fn attach(root: &Root, mount: &MountFd, path: &str) -> io::Result<()> {
    match root.existing(path, OFlags::PATH) {
        Ok(target) => mount.attach(target.as_fd()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(()),
        Err(error) => Err(error),
    }
}
