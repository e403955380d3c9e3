//! What every container has mounted over its image: /proc, /dev, /sys and its masks, as Docker by default.

use crate::container::failure::Failure;
use crate::container::root::{Missing, Root};
use crate::mountfd::{self, MountFd};
use rustix::fd::AsFd;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountAttrFlags as Attr;
use std::io;

/// Hidden from containers: an empty read-only directory, or /dev/null over a file.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Read-only in containers.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Character devices of /dev: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links of /dev: name, target.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Attributes that Docker gives most of these mounts.
pub(crate) const GUARDED: Attr =
    Attr::MOUNT_ATTR_NOSUID.union(Attr::MOUNT_ATTR_NODEV).union(Attr::MOUNT_ATTR_NOEXEC);

/// Mounts the default file systems. `console`: whether the container's terminal is `/dev/pts/0`, which
/// becomes `/dev/console` too.
///
/// # Errors
/// The mount that failed.
pub(crate) fn mount_defaults(
    root: &Root,
    devpts: &MountFd,
    console: bool,
    shm_size: u64,
) -> Result<(), Failure> {
    mount_new(root, "/proc", "proc", &[], GUARDED)?;
    let devices = [("mode", "755"), ("size", "65536k")];
    mount_new(root, "/dev", "tmpfs", &devices, Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_STRICTATIME)?;
    make_devices(root)
        .map_err(|error| Failure::setup(format!("cannot make /dev: {}", super::plain(&error))))?;
    attach(root, devpts, "/dev/pts", Missing::Directory)?;
    if console {
        let terminal = MountFd::bind(devpts.as_fd(), "0")
            .map_err(|error| Failure::new("cannot take the terminal as console", &error))?;
        attach(root, &terminal, "/dev/console", Missing::File)?;
    }
    mount_new(root, "/sys", "sysfs", &[], GUARDED | Attr::MOUNT_ATTR_RDONLY)?;
    mount_new(root, "/sys/fs/cgroup", "cgroup2", &[], GUARDED | Attr::MOUNT_ATTR_RDONLY)?;
    match MountFd::filesystem("mqueue", &[], GUARDED) {
        // A kernel without POSIX message queues has nothing to mount.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
        Err(error) => return Err(Failure::new("cannot mount mqueue", &error)),
        Ok(mqueue) => attach(root, &mqueue, "/dev/mqueue", Missing::Directory)?,
    }
    let size = shm_size.to_string();
    mount_new(root, "/dev/shm", "tmpfs", &[("mode", "1777"), ("size", &size)], GUARDED)
}

/// Hides and write-protects what of /proc and /sys reaches beyond the container.
///
/// # Errors
/// The path that could not be protected. Paths that the kernel does not have are passed over.
pub(crate) fn protect(root: &Root) -> Result<(), Failure> {
    for path in MASKED {
        mask(root, path).or_else(|error| skip_missing(path, &error))?;
    }
    for path in READ_ONLY {
        write_protect(root, path).or_else(|error| skip_missing(path, &error))?;
    }
    Ok(())
}

/// Mounts a new file system at a path inside the root.
///
/// # Errors
/// What failed, with the path.
pub(crate) fn mount_new(
    root: &Root,
    path: &str,
    kind: &str,
    options: &[(&str, &str)],
    attributes: Attr,
) -> Result<(), Failure> {
    let mount = MountFd::filesystem(kind, options, attributes).map_err(|error| {
        Failure::setup(format!("cannot mount {kind} at {path}: {}", super::plain(&error)))
    })?;
    attach(root, &mount, path, Missing::Directory)
}

/// Attaches a mount at a path inside the root, which is made where it is missing.
///
/// # Errors
/// What failed, with the path.
pub(crate) fn attach(root: &Root, mount: &MountFd, path: &str, missing: Missing) -> Result<(), Failure> {
    root.ensure(path, missing)
        .and_then(|target| mount.attach(target.as_fd()))
        .map_err(|error| Failure::setup(format!("cannot mount at {path}: {}", super::plain(&error))))
}

/// Fills /dev. Each device is a mount of its own and the rest of /dev, as of the whole root, is `nodev`: a
/// container may make any node, as under Docker, but open none for the pod's disks. Docker uses a BPF program
/// for that, whose first page of compiled code costs a guest 2 MiB and 7 million instructions.
fn make_devices(root: &Root) -> io::Result<()> {
    let dev = root.existing("/dev", OFlags::PATH | OFlags::DIRECTORY)?;
    for (name, major, minor) in DEVICES {
        let number = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), number)?;
        let node = rustix::fs::openat(&dev, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        MountFd::bind(node.as_fd(), "")?.attach(node.as_fd())?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name)?;
    }
    mountfd::set_attributes(dev.as_fd(), Attr::MOUNT_ATTR_NODEV)?;
    mountfd::set_attributes(root.as_fd(), Attr::MOUNT_ATTR_NODEV)
}

fn mask(root: &Root, path: &str) -> io::Result<()> {
    let target = root.existing(path, OFlags::PATH)?;
    let cover = match FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) {
        FileType::Directory => MountFd::filesystem(
            "tmpfs",
            &[("size", "0k"), ("nr_inodes", "2")],
            GUARDED | Attr::MOUNT_ATTR_RDONLY,
        )?,
        _ => MountFd::bind(root.existing("/dev/null", OFlags::PATH)?.as_fd(), "")?,
    };
    cover.attach(target.as_fd())
}

fn write_protect(root: &Root, path: &str) -> io::Result<()> {
    let target = root.existing(path, OFlags::PATH)?;
    let mount = MountFd::bind(target.as_fd(), "")?;
    mount.set(GUARDED | Attr::MOUNT_ATTR_RDONLY)?;
    mount.attach(target.as_fd())
}

fn skip_missing(path: &str, error: &io::Error) -> Result<(), Failure> {
    match error.raw_os_error() {
        Some(libc::ENOENT) => Ok(()),
        _ => Err(Failure::setup(format!("cannot protect {path}: {}", super::plain(error)))),
    }
}

/// Enters the root for good: the old root is gone.
///
/// # Errors
/// What pivot_root(2) and its companions say.
pub(crate) fn pivot(root: &Root) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    // Both roots are now at "."; the old one is on top.
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// Makes mounts of this namespace invisible to any other.
///
/// # Errors
/// What mount(2) says.
pub(crate) fn make_private() -> io::Result<()> {
    use rustix::mount::MountPropagationFlags as Propagation;
    Ok(rustix::mount::mount_change("/", Propagation::PRIVATE | Propagation::REC)?)
}

/// Reads a small text file inside the root; nothing where it is missing or no regular file.
///
/// # Errors
/// What open and read say, and a file over 4 MiB.
pub(crate) fn read_text(root: &Root, path: &str) -> io::Result<String> {
    use std::io::Read as _;
    const MAX: u64 = 4 << 20;
    let file = match root.existing(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        Ok(fd) => std::fs::File::from(fd),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            return Ok(String::new());
        }
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    if file.take(MAX + 1).read_to_end(&mut bytes)? as u64 > MAX {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
