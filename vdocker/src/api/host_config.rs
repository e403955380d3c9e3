//! `HostConfig` of an inspected container: how it was asked for.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{NoEntries, NoItems, Null};

/// `HostConfig`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct HostConfig {
    pub binds: Null,
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: &'static str,
    pub log_config: LogConfig,
    pub network_mode: &'static str,
    pub port_bindings: NoEntries,
    pub restart_policy: RestartPolicy,
    pub auto_remove: bool,
    pub volume_driver: &'static str,
    pub volumes_from: Null,
    pub console_size: [u16; 2],
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub cgroupns_mode: &'static str,
    pub dns: NoItems,
    pub dns_options: NoItems,
    pub dns_search: NoItems,
    pub extra_hosts: Null,
    pub group_add: Null,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    pub ipc_mode: &'static str,
    pub cgroup: &'static str,
    pub links: Null,
    pub oom_score_adj: i32,
    pub pid_mode: &'static str,
    pub privileged: bool,
    pub publish_all_ports: bool,
    pub readonly_rootfs: bool,
    pub security_opt: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode")]
    pub uts_mode: &'static str,
    pub userns_mode: &'static str,
    pub shm_size: u64,
    pub runtime: &'static str,
    pub isolation: &'static str,
    pub cpu_shares: u64,
    pub memory: u64,
    pub nano_cpus: u64,
    pub cgroup_parent: &'static str,
    pub blkio_weight: u16,
    pub blkio_weight_device: NoItems,
    pub blkio_device_read_bps: NoItems,
    pub blkio_device_write_bps: NoItems,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: NoItems,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: NoItems,
    pub cpu_period: u64,
    pub cpu_quota: u64,
    pub cpu_realtime_period: u64,
    pub cpu_realtime_runtime: u64,
    pub cpuset_cpus: &'static str,
    pub cpuset_mems: &'static str,
    pub devices: NoItems,
    pub device_cgroup_rules: Null,
    pub device_requests: Null,
    pub memory_reservation: u64,
    pub memory_swap: i64,
    pub memory_swappiness: Null,
    pub oom_kill_disable: Null,
    pub pids_limit: Option<u64>,
    pub ulimits: Vec<Ulimit>,
    pub cpu_count: u64,
    pub cpu_percent: u64,
    #[serde(rename = "IOMaximumIOps")]
    pub io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth")]
    pub io_maximum_bandwidth: u64,
    pub masked_paths: NoItems,
    pub readonly_paths: NoItems,
}

/// `LogConfig`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfig {
    /// The driver.
    pub r#type: &'static str,
    /// Its options.
    pub config: NoEntries,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { r#type: "json-file", config: NoEntries {} }
    }
}

/// `RestartPolicy`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// `no`, `on-failure` or `always`.
    pub name: &'static str,
    /// Restarts at most; 0: no limit.
    pub maximum_retry_count: u32,
}

/// A limit of setrlimit(2).
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ulimit {
    /// As in `nofile`.
    pub name: String,
    /// -1 is infinity.
    pub hard: i64,
    /// -1 is infinity.
    pub soft: i64,
}
