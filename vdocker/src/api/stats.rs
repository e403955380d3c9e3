//! `GET /containers/{id}/stats` in the form of control groups v2, and columns of `top`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{NoEntries, Null};
use crate::stats::{IoSample, Sample};
use crate::time;

/// One reading, and of CPU time the reading before it.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct Stats {
    pub name: String,
    pub id: String,
    pub read: String,
    pub preread: String,
    pub pids_stats: PidsStats,
    pub blkio_stats: BlkioStats,
    pub num_procs: u32,
    pub storage_stats: NoEntries,
    pub cpu_stats: CpuStats,
    pub precpu_stats: CpuStats,
    pub memory_stats: MemoryStats,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, InterfaceStats>,
}

impl Stats {
    /// Puts a reading and the one before it into Docker's form; without a reading: what Docker says of a container
    /// that does not run.
    #[must_use]
    pub fn new(name: &str, id: &str, now: Option<&Sample>, before: Option<&Sample>) -> Self {
        let zero = Sample::default();
        Self {
            name: format!("/{name}"),
            id: id.into(),
            read: time::trimmed_or_never(now.and_then(|sample| sample.read)),
            preread: time::trimmed_or_never(before.and_then(|sample| sample.read)),
            pids_stats: now.map(PidsStats::new).unwrap_or_default(),
            blkio_stats: BlkioStats::new(now.map_or(&[], |sample| &sample.io)),
            num_procs: 0,
            storage_stats: NoEntries {},
            cpu_stats: CpuStats::new(now.unwrap_or(&zero)),
            precpu_stats: CpuStats::new(before.unwrap_or(&zero)),
            memory_stats: now.map(MemoryStats::new).unwrap_or_default(),
            networks: now.map(InterfaceStats::of).unwrap_or_default(),
        }
    }
}

/// Processes.
#[derive(Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct PidsStats {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

impl PidsStats {
    fn new(sample: &Sample) -> Self {
        // Docker's word for no limit is the largest number.
        Self { current: Some(sample.pids), limit: Some(sample.pids_limit.unwrap_or(u64::MAX)) }
    }
}

/// Block devices; the fields that are null are those of control groups v1.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct BlkioStats {
    pub io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
    pub io_serviced_recursive: Option<Vec<BlkioEntry>>,
    pub io_queue_recursive: Null,
    pub io_service_time_recursive: Null,
    pub io_wait_time_recursive: Null,
    pub io_merged_recursive: Null,
    pub io_time_recursive: Null,
    pub sectors_recursive: Null,
}

/// What was done to a block device.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct BlkioEntry {
    pub major: u32,
    pub minor: u32,
    pub op: &'static str,
    pub value: u64,
}

impl BlkioStats {
    fn new(io: &[IoSample]) -> Self {
        let entries = |values: fn(&IoSample) -> (u64, u64)| {
            let two = |sample: &IoSample| {
                let ((major, minor), (read, write)) = (sample.device, values(sample));
                [("read", read), ("write", write)].map(|(op, value)| BlkioEntry { major, minor, op, value })
            };
            (!io.is_empty()).then(|| io.iter().flat_map(two).collect())
        };
        Self {
            io_service_bytes_recursive: entries(|sample| (sample.read_bytes, sample.write_bytes)),
            io_serviced_recursive: entries(|sample| (sample.reads, sample.writes)),
            io_queue_recursive: (),
            io_service_time_recursive: (),
            io_wait_time_recursive: (),
            io_merged_recursive: (),
            io_time_recursive: (),
            sectors_recursive: (),
        }
    }
}

/// CPU time in nanoseconds.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct CpuStats {
    pub cpu_usage: CpuUsage,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_cpu_usage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online_cpus: Option<u32>,
    pub throttling_data: ThrottlingData,
}

/// CPU time of a container.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct CpuUsage {
    pub total_usage: u64,
    pub usage_in_kernelmode: u64,
    pub usage_in_usermode: u64,
}

/// What the CPU limit cost.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct ThrottlingData {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
}

impl CpuStats {
    fn new(sample: &Sample) -> Self {
        let [periods, throttled_periods, throttled_time] = sample.throttling;
        Self {
            cpu_usage: CpuUsage {
                total_usage: sample.cpu_total,
                usage_in_kernelmode: sample.cpu_system,
                usage_in_usermode: sample.cpu_user,
            },
            system_cpu_usage: Some(sample.guest_cpu_total).filter(|&time| time > 0),
            online_cpus: Some(sample.cpus).filter(|&cpus| cpus > 0),
            throttling_data: ThrottlingData { periods, throttled_periods, throttled_time },
        }
    }
}

/// Memory in bytes; empty for a container that does not run.
#[derive(Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct MemoryStats {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<BTreeMap<String, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

impl MemoryStats {
    fn new(sample: &Sample) -> Self {
        let mut stats = BTreeMap::new();
        stats.extend(sample.memory_stat.iter().cloned());
        Self { usage: Some(sample.memory), stats: Some(stats), limit: Some(sample.memory_limit) }
    }
}

/// What went through an interface.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct InterfaceStats {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

impl InterfaceStats {
    fn of(sample: &Sample) -> BTreeMap<String, Self> {
        let mut all = BTreeMap::new();
        all.extend(sample.interfaces.iter().map(|(name, counts)| {
            let [
                [rx_bytes, rx_packets, rx_errors, rx_dropped],
                [tx_bytes, tx_packets, tx_errors, tx_dropped],
            ] = *counts;
            let stats = Self {
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                tx_bytes,
                tx_packets,
                tx_errors,
                tx_dropped,
            };
            (name.clone(), stats)
        }));
        all
    }
}

/// `GET /containers/{id}/top`.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Top {
    /// Names of the columns.
    pub titles: Vec<&'static str>,
    /// A row a process.
    pub processes: Vec<Vec<String>>,
}
