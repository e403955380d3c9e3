//! The host as `/info` shows it.

use std::fs;

/// The kernel's release, as `uname -r` has it.
pub(super) fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The host's name.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What `/etc/os-release` calls it.
pub(super) fn operating_system() -> String {
    let file = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = file.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Processors that this process may use.
pub(super) fn cpus() -> i64 {
    std::thread::available_parallelism().map_or(1, |count| i64::try_from(count.get()).unwrap_or(i64::MAX))
}

/// Memory in bytes.
pub(super) fn memory() -> i64 {
    let info = rustix::system::sysinfo();
    let bytes = u128::from(info.totalram) * u128::from(info.mem_unit);
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Open files of this process.
pub(super) fn open_files() -> i64 {
    fs::read_dir("/proc/self/fd").map_or(0, |files| i64::try_from(files.count()).unwrap_or(i64::MAX))
}
