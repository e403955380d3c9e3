//! What a container uses, which processes it has, and changes of its limits, as engine and API share them.

use std::time::SystemTime;

/// A reading of a container's control group. Times are nanoseconds since its start, sizes bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When it was read.
    pub read: Option<SystemTime>,
    /// CPU time in all.
    pub cpu_total: u64,
    /// Of it in the kernel.
    pub cpu_system: u64,
    /// Of it in programs.
    pub cpu_user: u64,
    /// CPU time of the whole guest, of all its vCPUs, idle time too.
    pub guest_cpu_total: u64,
    /// vCPUs.
    pub cpus: u32,
    /// Periods of the CPU limit, and those in which it was reached, and the time lost by it.
    pub throttling: [u64; 3],
    /// Memory in use, the page cache too.
    pub memory: u64,
    /// The limit of memory, or the guest's.
    pub memory_limit: u64,
    /// The rows of `memory.stat`.
    pub memory_stat: Vec<(String, u64)>,
    /// Processes and threads.
    pub pids: u64,
    /// The limit of them; `None` without.
    pub pids_limit: Option<u64>,
    /// A row a block device.
    pub io: Vec<IoSample>,
    /// Interfaces of the whole guest by name, and of each what it received and sent: bytes, packets, errors, drops.
    pub interfaces: Vec<(String, [[u64; 4]; 2])>,
}

/// What a container did to a block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoSample {
    /// Major and minor number.
    pub device: (u32, u32),
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// The processes of a container: all columns that `top` may be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessTable {
    /// A row a process, in the order of their pids.
    pub rows: Vec<ProcessRow>,
}

/// A process as ps(1) describes it. Pids are those of the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessRow {
    /// User id, and the user's name where the guest can tell.
    pub uid: u32,
    /// Process id.
    pub pid: u32,
    /// The parent's.
    pub ppid: u32,
    /// Part of its lifetime that it has used a CPU, in percent.
    pub cpu_percent: u32,
    /// When it was started.
    pub started: Option<SystemTime>,
    /// Its terminal, as in `pts/0`, or `?`.
    pub tty: String,
    /// CPU seconds it has used.
    pub cpu_seconds: u64,
    /// Its state, as in `S`.
    pub state: char,
    /// Resident memory in KiB.
    pub rss_kib: u64,
    /// Virtual memory in KiB.
    pub vsz_kib: u64,
    /// Its name (`comm`).
    pub name: String,
    /// Its command line, or its name in brackets.
    pub command: String,
}

/// Changes of limits (`POST /containers/{id}/update`); `None` leaves a limit as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Memory in bytes, 0 for none.
    pub memory: Option<u64>,
    /// Processes and threads, 0 for no limit.
    pub pids: Option<u64>,
    /// CPU as thousandths of one CPU, 0 for no limit.
    pub cpu_millis: Option<u64>,
    /// Weight of CPU, 2 to 262144 as `--cpu-shares`.
    pub cpu_shares: Option<u64>,
}
