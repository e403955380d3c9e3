//! The new process's way from PID 1's clone to the container's program: one recipe, top to bottom.
//!
//! Runs in the child that [`super::spawn::clone_into`] made, so every step may use ordinary code.

use crate::container::environment::Environment;
use crate::container::failure::{Failure, plain};
use crate::container::filesystems::{self, GUARDED};
use crate::container::root::{Missing, Root};
use crate::container::stdio::Stdio;
use crate::container::user::User;
use crate::container::{init, privileges, program, spawn, volume};
use crate::mountfd::{self, MountFd};
use crate::{disks, signals, stage};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::MountAttrFlags as Attr;
use spec::launch::{MountSource, MountSpec, Writable};
use spec::{ContainerSpec, Stage};
use std::convert::Infallible;
use std::path::Path;

/// What the new process needs of PID 1, prepared before the clone.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// The container.
    pub(crate) spec: &'a ContainerSpec,
    /// Where its file tree is mounted.
    pub(crate) root: &'a str,
    /// The folder of its own `hosts`, `hostname` and `resolv.conf`.
    pub(crate) etc: &'a Path,
    /// The folder of anonymous volumes.
    pub(crate) volumes: &'a Path,
    /// Its devpts, not attached yet.
    pub(crate) devpts: &'a MountFd,
    /// What goes before the program as the container's PID 1, where anything does.
    pub(crate) init: Option<&'a MountFd>,
    /// Standard input, output and error.
    pub(crate) stdio: Stdio<'a>,
    /// Whether to report [`Stage::Exec`].
    pub(crate) first: bool,
}

impl Entry<'_> {
    /// Becomes the container's program, or the init that starts it and tells `report` where it cannot.
    ///
    /// # Errors
    /// The step that failed.
    pub(crate) fn run(&self, report: BorrowedFd<'_>) -> Result<Infallible, Failure> {
        let spec = self.spec;
        let step = |what: &'static str| move |error: rustix::io::Errno| Failure::new(what, &error.into());
        signals::reset();
        rustix::process::umask(Mode::empty());
        std::fs::write("/proc/self/oom_score_adj", "0")
            .map_err(|error| Failure::new("cannot reset oom_score_adj", &error))?;
        spawn::unshare_cgroup().map_err(|error| Failure::new("cannot make namespace", &error))?;
        rustix::process::setsid().map_err(step("cannot make session"))?;
        self.stdio.take()?;
        rustix::system::sethostname(spec.hostname.as_bytes()).map_err(step("cannot set host name"))?;

        filesystems::make_private().map_err(|error| Failure::new("cannot make mounts private", &error))?;
        let root = Root::open(self.root).map_err(|error| Failure::new("cannot open the root", &error))?;
        filesystems::mount_defaults(&root, self.devpts, self.stdio.terminal.is_some(), spec.shm_size)?;
        // Before anything else in the tree is opened: what the image's paths and links lead to is never the bare file.
        filesystems::protect(&root)?;
        for name in ["hosts", "hostname", "resolv.conf"] {
            let path = format!("/etc/{name}");
            let file = MountFd::bind(CWD, &format!("{}/{name}", self.etc.display()))
                .map_err(|error| Failure::new(format_args!("cannot mount {path}"), &error))?;
            filesystems::attach(&root, &file, &path, Missing::File)?;
        }
        for mount in &spec.mounts {
            self.mount(&root, mount)?;
        }
        let workdir = enterable_workdir(&root, &spec.process.workdir)?;
        let user = User::in_root(&spec.process.user, &spec.process.groups, &root)?;
        self.stdio.hand_over(&user)?;
        filesystems::pivot(&root).map_err(|error| Failure::new("cannot enter the root", &error))?;
        if spec.image.writable == Writable::ReadOnly {
            mountfd::set_attributes(root.as_fd(), Attr::MOUNT_ATTR_RDONLY)
                .map_err(|error| Failure::new("cannot make the root read-only", &error))?;
        }

        privileges::set_rlimits(&spec.process.rlimits)?;
        // As Docker: with root's rights first, for a directory that the user may not enter.
        rustix::process::fchdir(&workdir).map_err(step("cannot enter the working directory"))?;
        let environment = Environment::new(spec, spec.process.tty, &[], &user.home);
        if self.first {
            // Now, because it takes CAP_SYS_RAWIO.
            stage::reached(Stage::Exec);
        }
        let kept = privileges::of_container(&spec.process);
        privileges::drop_to(&user, kept, spec.process.no_new_privileges)?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        match self.init {
            Some(init) => init::execute(init, report, &spec.process.cmd, &environment),
            None => program::execute(&spec.process.cmd, Some(&environment), None),
        }
    }

    fn mount(&self, root: &Root, mount: &MountSpec) -> Result<(), Failure> {
        let path = &mount.guest_path;
        let read_only = if mount.read_only { Attr::MOUNT_ATTR_RDONLY } else { Attr::empty() };
        match &mount.source {
            MountSource::Tmpfs { size, mode, exec } => {
                let mode = format!("{:o}", mode & 0o7777);
                let size = size.map(|size| size.to_string());
                let options: Vec<(&str, &str)> = [("mode", mode.as_str())]
                    .into_iter()
                    .chain(size.as_deref().map(|size| ("size", size)))
                    .collect();
                let guarded = if *exec { GUARDED.difference(Attr::MOUNT_ATTR_NOEXEC) } else { GUARDED };
                filesystems::mount_new(root, path, "tmpfs", &options, guarded | read_only)
            }
            MountSource::Anonymous { name } => {
                let volume = volume::open_or_fill(self.volumes, name, Self::image_dir(root, mount));
                Self::bind(root, mount, volume)
            }
            MountSource::Volume { name, subpath, no_copy } => {
                let disk = disks::named_volume(name);
                let volume = match subpath {
                    Some(subpath) => volume::open_below(&disk, subpath),
                    None => {
                        let image_dir = if *no_copy { None } else { Self::image_dir(root, mount) };
                        volume::open_named(&disk, &self.spec.name, image_dir)
                    }
                };
                Self::bind(root, mount, volume)
            }
            MountSource::Share { tag, file } => Self::bind(root, mount, disks::open_share(tag, *file)),
        }
    }

    /// What a volume is filled with.
    fn image_dir(root: &Root, mount: &MountSpec) -> Option<OwnedFd> {
        root.existing(&mount.guest_path, OFlags::RDONLY | OFlags::DIRECTORY).ok()
    }

    /// Mounts what a volume has.
    fn bind(root: &Root, mount: &MountSpec, volume: std::io::Result<OwnedFd>) -> Result<(), Failure> {
        let path = &mount.guest_path;
        let failed = |error: std::io::Error| {
            Failure::setup(format!("cannot make the volume at {path}: {}", plain(&error)))
        };
        let volume = volume.map_err(failed)?;
        let kind = rustix::fs::fstat(&volume).map_err(|error| failed(error.into()))?.st_mode;
        let is_dir = FileType::from_raw_mode(kind) == FileType::Directory;
        let bind = MountFd::bind(volume.as_fd(), "").map_err(failed)?;
        if mount.read_only {
            bind.set(Attr::MOUNT_ATTR_RDONLY).map_err(failed)?;
        }
        filesystems::attach(root, &bind, path, if is_dir { Missing::Directory } else { Missing::File })
    }
}

/// The working directory, made where it is missing. It is opened before the root is entered and without
/// magic links: one into /proc would otherwise lead to a directory outside the container.
fn enterable_workdir(root: &Root, path: &str) -> Result<OwnedFd, Failure> {
    let path = if path.is_empty() { "/" } else { path };
    let dir = root
        .ensure(path, Missing::Directory)
        .map_err(|error| Failure::setup(format!("mkdir {path}: {}", plain(&error))))?;
    let stat =
        rustix::fs::fstat(&dir).map_err(|error| Failure::new(format_args!("stat {path}"), &error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Failure::setup(format!("mkdir {path}: not a directory")));
    }
    Ok(dir)
}
