//! A container's control group (cgroup v2): its limits, and how often the kernel killed for its memory.

use crate::watch::watch;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use spec::launch::LimitsSpec;
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;

/// Where cgroup v2 is mounted in PID 1's namespace.
pub(crate) const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// The controllers that containers get, where the kernel has them.
const CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuset", "io"];

/// The period of `cpu.max` in microseconds, the kernel's and Docker's default.
const CPU_PERIOD: u64 = 100_000;

/// Groups below a container's own that are looked into: it makes as many as it likes.
const MAX_GROUPS: usize = 4096;

/// How long processes may take to freeze.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);

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
        let events = self.read("memory.events");
        let kills = keyed(&events, "oom_kill");
        kills > self.oom_kills.replace(kills)
    }

    /// The folder of its files.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one of the group's files.
    ///
    /// # Errors
    /// What the kernel says; ENOENT where it lacks the controller.
    pub(crate) fn write(&self, file: &str, value: &str) -> io::Result<()> {
        std::fs::write(self.path.join(file), value)
    }

    /// One of the group's files; empty where there is none.
    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path.join(file)).unwrap_or_default()
    }

    /// The processes of the group and of the groups that the container has made below it.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let (mut pids, mut groups, mut seen) = (Vec::new(), vec![self.path.clone()], 0);
        while let Some(group) = groups.pop() {
            // A group of threads has no list of processes: they are in that of a group above it.
            let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.trim().parse::<u32>().ok()));
            let below = std::fs::read_dir(&group).into_iter().flatten().flatten();
            let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let room = MAX_GROUPS - seen;
            groups.extend(below.take(room).map(|entry| entry.path()).inspect(|_| seen += 1));
        }
        pids
    }

    /// Freezes all processes of the group, or lets them go on, and waits until they have.
    ///
    /// # Errors
    /// What the kernel says; `TimedOut` where a process does not get to where it can be frozen.
    pub(crate) async fn freeze(&self, frozen: bool) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let events = rustix::fs::openat(&self.dir, "cgroup.events", flags, Mode::empty())?;
        let events = watch(events, Interest::PRIORITY)?;
        let value = if frozen { "1" } else { "0" };
        self.write("cgroup.freeze", value)?;
        let done = async {
            loop {
                let mut ready = events.ready(Interest::PRIORITY).await;
                if let Ok(ready) = &mut ready {
                    ready.clear_ready();
                }
                if keyed(&self.read_events(events.get_ref()), "frozen") == u64::from(frozen) {
                    return;
                }
            }
        };
        if keyed(&self.read_events(events.get_ref()), "frozen") == u64::from(frozen) {
            return Ok(());
        }
        tokio::time::timeout(FREEZE_TIMEOUT, done).await.map_err(|_| io::ErrorKind::TimedOut.into())
    }

    /// Reading through the descriptor is what makes the kernel tell of the next change.
    fn read_events(&self, events: &OwnedFd) -> String {
        let mut text = [0; 256];
        let count = rustix::io::pread(events, &mut text, 0).unwrap_or(0);
        String::from_utf8_lossy(&text[..count]).into_owned()
    }

    /// Kills whatever is left in the group.
    pub(crate) fn kill(&self) {
        // Only a kernel before 5.14 lacks the file.
        let _unsupported = self.write("cgroup.kill", "1");
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// A limit in place of an earlier one, as the kernel writes it: 0 is none.
pub(crate) fn cpu_max(millis: u64) -> String {
    match millis {
        0 => format!("max {CPU_PERIOD}"),
        // The kernel refuses a quota under a millisecond.
        _ => format!("{} {CPU_PERIOD}", millis.saturating_mul(CPU_PERIOD / 1000).max(1000)),
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
        files.push(("cpu.max", cpu_max(millis.max(1))));
    }
    files
}

/// The number behind a key of a "flat keyed" file; 0 where there is none.
pub(crate) fn keyed(text: &str, key: &str) -> u64 {
    let values = text.lines().filter_map(|line| line.split_once(' '));
    values.filter(|(name, _)| *name == key).find_map(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
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
    fn processes_of_groups_below_count_too() {
        let dir = tempfile::tempdir().unwrap();
        for (group, processes) in [("", "1\n2\n"), ("a", ""), ("a/b", "30\n"), ("threads", "no number\n")] {
            std::fs::create_dir_all(dir.path().join(group)).unwrap();
            std::fs::write(dir.path().join(group).join("cgroup.procs"), processes).unwrap();
        }
        std::os::unix::fs::symlink("/", dir.path().join("a/elsewhere")).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = rustix::fs::open(dir.path(), flags, Mode::empty()).unwrap();
        let group = Cgroup { dir: fd, path: dir.path().to_owned(), oom_kills: Cell::new(0) };
        let mut pids = group.pids();
        pids.sort_unstable();
        assert_eq!(pids, [1, 2, 30]);
    }

    #[test]
    fn oom_kills_are_told_from_group_kills() {
        let events = "low 0\nhigh 0\nmax 7\noom 1\noom_kill 3\noom_group_kill 9\n";
        assert_eq!(keyed(events, "oom_kill"), 3);
        assert_eq!(keyed("", "oom_kill"), 0);
    }
}
