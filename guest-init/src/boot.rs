//! The boot recipe: from the first instruction to a pod that can start its containers. Called by `main`.

use crate::container::cgroup;
use crate::disks::{DiskError, Disks};
use crate::interfaces::{self, InterfaceError};
use crate::launch::{self, LaunchError};
use crate::signals::ChildSignal;
use crate::stream::Stream;
use crate::{loopback, processors, queue_pairs, stage, vsock};
use rustix::fd::OwnedFd;
use rustix::mount::MountFlags;
use rustix::process::{Resource, Rlimit};
use spec::launch::InterfaceSpec;
use spec::vsock::VDOCKER_PORT;
use spec::{LaunchSpec, Stage};
use std::ffi::CStr;
use std::io;

/// Open files a process may have at most, as under Docker.
const MAX_OPEN_FILES: u64 = 1 << 20;

/// What Docker sets in each container's network: any user may bind low ports and ping.
const NETWORK_SETTINGS: [(&str, &str); 2] =
    [("ip_unprivileged_port_start", "0"), ("ping_group_range", "0 2147483647")];

/// A step of the boot that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    /// A kernel file system cannot be mounted.
    #[error("cannot mount {0}")]
    Mount(&'static str, #[source] io::Error),
    /// PID 1 cannot leave the initramfs.
    #[error("cannot move to a root of its own")]
    Root(#[source] io::Error),
    /// The launch specification cannot be obeyed.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Control groups cannot be used.
    #[error(transparent)]
    Cgroup(#[from] cgroup::CgroupError),
    /// The loopback interface stays down.
    #[error("cannot bring up the loopback interface")]
    Loopback(#[source] io::Error),
    /// A network interface cannot be used.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The host does not answer.
    #[error("cannot connect the stdio stream to the host")]
    Stdio(#[source] io::Error),
    /// Nobody could reach the pod's API.
    #[error("cannot listen for the host")]
    Listen(#[source] io::Error),
    /// Ends of children cannot be seen.
    #[error("cannot watch for ended processes")]
    Signals(#[source] io::Error),
    /// A disk cannot be used.
    #[error(transparent)]
    Disks(#[from] DiskError),
    /// The pod would have fewer processors than it was promised.
    #[error("cannot start processor {0}")]
    Processor(u32, #[source] io::Error),
    /// A network interface would stay with one pair of queues.
    #[error("cannot use all queues of network interface {0}")]
    QueuePairs(String, #[source] io::Error),
}

/// What the boot has prepared.
#[derive(Debug)]
pub(crate) struct Booted {
    /// What to run.
    pub(crate) spec: LaunchSpec,
    /// The host's ear.
    pub(crate) stream: Stream,
    /// Where the host connects to the pod's API.
    pub(crate) listener: OwnedFd,
    /// The pod's disks.
    pub(crate) disks: Disks,
    /// Readable when a child has ended.
    pub(crate) children: ChildSignal,
}

/// Boots the pod.
///
/// # Errors
/// The step that failed; the host has been told, if it listens.
pub(crate) fn boot() -> Result<Booted, BootError> {
    stage::reached(Stage::Init);
    let spec = configure().inspect(|_| stage::reached(Stage::Config));
    // Before any container could take the port; and before the stdio stream, with which the host's VMM passes on the
    // clients that have come already: so they are there before a container starts.
    let listener = vsock::listen(VDOCKER_PORT).map_err(BootError::Listen);
    let mut stream = match vsock::connect_stdio() {
        Ok(socket) => Stream::new(socket),
        Err(error) => return Err(spec.err().unwrap_or(BootError::Stdio(error))),
    };
    stage::reached(Stage::Stdio);
    match listener.and_then(|listener| Ok((listener, prepare(spec?)?))) {
        Ok((listener, (spec, disks, children))) => {
            stage::reached(Stage::Disks);
            Ok(Booted { spec, stream, listener, disks, children })
        }
        Err(error) => {
            stream.farewell(&crate::chain(&error));
            Err(error)
        }
    }
}

/// Everything that needs neither host nor disks.
fn configure() -> Result<LaunchSpec, BootError> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let spec = launch::read()?;
    leave_initramfs().map_err(BootError::Root)?;
    mount_kernel_filesystems()?;
    launch::check_binding(&spec)?;
    cgroup::enable_controllers()?;
    protect_from_oom_killer();
    raise_file_limit();
    Ok(spec)
}

fn prepare(spec: LaunchSpec) -> Result<(LaunchSpec, Disks, ChildSignal), BootError> {
    loopback::bring_up().map_err(BootError::Loopback)?;
    for (name, value) in NETWORK_SETTINGS {
        // A kernel without the setting has nothing to open up.
        let _absent = std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value);
    }
    interfaces::set_up(&spec.network.interfaces)?;
    let children = ChildSignal::open().map_err(BootError::Signals)?;
    let disks = Disks::mount(&spec)?;
    start_processors(&spec)?;
    Ok((spec, disks, children))
}

/// Last, so that what waits for all of them has nobody to wait for.
fn start_processors(spec: &LaunchSpec) -> Result<(), BootError> {
    let count = processors::start_all().map_err(|(number, error)| BootError::Processor(number, error))?;
    if count > 1 {
        for InterfaceSpec { name, .. } in &spec.network.interfaces {
            queue_pairs::spread(name, count).map_err(|error| BootError::QueuePairs(name.clone(), error))?;
        }
    }
    Ok(())
}

/// Makes a tmpfs the root: the initramfs itself can be no one's old root in pivot_root(2). Its files go, so
/// that their memory is the pod's.
fn leave_initramfs() -> io::Result<()> {
    const ROOT: &str = "/root";
    std::fs::create_dir_all(ROOT)?;
    rustix::mount::mount("tmpfs", ROOT, "tmpfs", MountFlags::NODEV | MountFlags::NOSUID, c"mode=755")?;
    for file in ["/init", spec::LAUNCH_PATH] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    rustix::process::chdir(ROOT)?;
    rustix::mount::mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")?;
    Ok(())
}

fn mount_kernel_filesystems() -> Result<(), BootError> {
    let guarded = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mount = |kind, place: &'static str, flags, options: &CStr| {
        std::fs::create_dir_all(place)
            .and_then(|()| Ok(rustix::mount::mount(kind, place, kind, flags, options)?))
            .map_err(|error| BootError::Mount(place, error))
    };
    mount("proc", "/proc", guarded, c"")?;
    mount("sysfs", "/sys", guarded, c"")?;
    mount("devtmpfs", "/dev", MountFlags::NOSUID | MountFlags::NOEXEC, c"")?;
    // A container that mounts it once more, in a user namespace of its own, does not reach its own limits there.
    mount("cgroup2", cgroup::MOUNT_POINT, guarded, c"nsdelegate")
}

/// The kernel's OOM killer is to choose among the containers.
fn protect_from_oom_killer() {
    // A kernel without the file has no OOM killer to be protected from.
    let _absent = std::fs::write("/proc/self/oom_score_adj", "-1000");
}

/// Containers inherit the limit of open files; the kernel's default of 1024 and 4096 fails ordinary servers.
fn raise_file_limit() {
    let limit = Rlimit { current: Some(MAX_OPEN_FILES), maximum: Some(MAX_OPEN_FILES) };
    // The kernel refuses more than fs.nr_open, whose default this is.
    let _refused = rustix::process::setrlimit(Resource::Nofile, limit);
}
