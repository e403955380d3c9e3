//! A container's control group (cgroup v2): its limits, and how often the kernel killed for its memory.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use spec::launch::LimitsSpec;
use std::cell::Cell;
use std::io;
use std::path::PathBuf;

/// Where cgroup v2 is mounted in PID 1's namespace.
pub(crate) const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// The controllers that containers get, where the kernel has them.
const CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuset", "io"];

/// The period of `cpu.max` in microseconds, the kernel's and Docker's default.
const CPU_PERIOD: u64 = 100_000;

/// A step on a control group that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    /// The group cannot be made or opened.
    #[error("cannot make control group {0}")]
    Make(String, #[source] io::Error),
    /// A limit cannot be set.
    #[error("cannot set {file} of control group {name} to {value}")]
    Limit {
        /// The group.
        name: String,
        /// The limit's file.
        file: &'static str,
        /// What was to be written.
        value: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Controllers cannot be passed on to the containers.
    #[error("cannot enable control group controllers {0}")]
    Enable(String, #[source] io::Error),
}

/// A container's control group. It lives as long as the pod, across restarts of the container.
#[derive(Debug)]
pub(crate) struct Cgroup {
    dir: OwnedFd,
    path: PathBuf,
    oom_kills: Cell<u64>,
}

/// Passes the kernel's controllers on to the groups below the root. Called once.
///
/// # Errors
/// [`CgroupError::Enable`].
pub(crate) fn enable_controllers() -> Result<(), CgroupError> {
    let available = std::fs::read_to_string(format!("{MOUNT_POINT}/cgroup.controllers")).unwrap_or_default();
    let wanted =
        CONTROLLERS.into_iter().filter(|name| available.split_whitespace().any(|have| have == *name));
    // One write: each makes the kernel look at the whole hierarchy.
    let list = wanted.map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
    std::fs::write(format!("{MOUNT_POINT}/cgroup.subtree_control"), &list)
        .map_err(|error| CgroupError::Enable(list, error))?;
    Ok(())
}

impl Cgroup {
    /// Makes the group and sets its limits.
    ///
    /// # Errors
    /// [`CgroupError::Make`], and [`CgroupError::Limit`] also where the kernel lacks the controller.
    pub(crate) fn create(name: &str, limits: &LimitsSpec) -> Result<Self, CgroupError> {
        let path = PathBuf::from(MOUNT_POINT).join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = std::fs::create_dir(&path)
            .and_then(|()| Ok(rustix::fs::open(&path, flags, Mode::empty())?))
            .map_err(|error| CgroupError::Make(name.to_owned(), error))?;
        let group = Self { dir, path, oom_kills: Cell::new(0) };
        for (file, value) in limit_files(limits) {
            std::fs::write(group.path.join(file), &value).map_err(|source| CgroupError::Limit {
                name: name.to_owned(),
                file,
                value,
                source,
            })?;
        }
        Ok(group)
    }

    /// Whether the kernel has killed for the group's memory limit since the last call.
    pub(crate) fn take_oom_killed(&self) -> bool {
        let events = std::fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let kills = oom_kills(&events);
        kills > self.oom_kills.replace(kills)
    }

    /// Kills whatever is left in the group.
    pub(crate) fn kill(&self) {
        // Only a kernel before 5.14 lacks the file.
        let _unsupported = std::fs::write(self.path.join("cgroup.kill"), "1");
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn limit_files(limits: &LimitsSpec) -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    if let Some(bytes) = limits.memory {
        files.push(("memory.max", bytes.to_string()));
    }
    if let Some(count) = limits.pids {
        files.push(("pids.max", count.to_string()));
    }
    if let Some(millis) = limits.cpu_millis {
        // The kernel refuses a quota under a millisecond.
        let quota = millis.saturating_mul(CPU_PERIOD / 1000).max(1000);
        files.push(("cpu.max", format!("{quota} {CPU_PERIOD}")));
    }
    files
}

fn oom_kills(events: &str) -> u64 {
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_the_kernels_files() {
        let limits = LimitsSpec { memory: Some(1 << 30), pids: Some(100), cpu_millis: Some(1500) };
        let files = limit_files(&limits);
        assert_eq!(
            files,
            [
                ("memory.max", "1073741824".to_owned()),
                ("pids.max", "100".to_owned()),
                ("cpu.max", "150000 100000".to_owned())
            ]
        );
        let tiny = LimitsSpec { cpu_millis: Some(1), ..LimitsSpec::default() };
        assert_eq!(limit_files(&tiny), [("cpu.max", "1000 100000".to_owned())]);
        assert_eq!(limit_files(&LimitsSpec::default()), []);
    }

    #[test]
    fn oom_kills_are_told_from_group_kills() {
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 7\noom 1\noom_kill 3\noom_group_kill 9\n"), 3);
        assert_eq!(oom_kills(""), 0);
    }
}
