//! `GET /version` and `GET /info`.

use std::time::SystemTime;

use serde::Serialize;

use super::{NoEntries, NoItems, Null};
use crate::container::{Container, Status};
use crate::engine::System;
use crate::{time, version};

/// The engine whose manners these are, which clients compare with what they need, and our own version.
pub const ENGINE_VERSION: &str = concat!("28.2.2+cradle.", env!("CARGO_PKG_VERSION"));

const ARCHITECTURE: &str = "amd64";
const OS: &str = "linux";

/// `GET /version`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct Version {
    pub platform: Platform,
    pub components: [Component; 1],
    pub version: &'static str,
    pub api_version: &'static str,
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: &'static str,
    pub git_commit: &'static str,
    pub go_version: &'static str,
    pub os: &'static str,
    pub arch: &'static str,
    pub kernel_version: String,
    pub build_time: &'static str,
}

/// Whose engine it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Platform {
    /// Its name.
    pub name: &'static str,
}

/// A part of the engine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct Component {
    pub name: &'static str,
    pub version: &'static str,
    pub details: Details,
}

/// What `docker version` prints of a part.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct Details {
    pub api_version: &'static str,
    pub arch: &'static str,
    pub build_time: &'static str,
    pub experimental: &'static str,
    pub git_commit: &'static str,
    pub go_version: &'static str,
    pub kernel_version: String,
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: &'static str,
    pub os: &'static str,
}

impl Version {
    /// The versions on that machine.
    #[must_use]
    pub fn new(system: &System) -> Self {
        let details = Details {
            api_version: version::NEWEST,
            arch: ARCHITECTURE,
            build_time: "",
            experimental: "false",
            git_commit: "",
            go_version: "",
            kernel_version: system.kernel.clone(),
            min_api_version: version::OLDEST,
            os: OS,
        };
        Self {
            platform: Platform { name: "cradle" },
            components: [Component { name: "Engine", version: ENGINE_VERSION, details }],
            version: ENGINE_VERSION,
            api_version: version::NEWEST,
            min_api_version: version::OLDEST,
            git_commit: "",
            go_version: "",
            os: OS,
            arch: ARCHITECTURE,
            kernel_version: system.kernel.clone(),
            build_time: "",
        }
    }
}

/// `GET /info`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
#[expect(clippy::struct_excessive_bools, reason = "they are Docker's")]
pub struct Info {
    #[serde(rename = "ID")]
    pub id: String,
    pub containers: usize,
    pub containers_running: usize,
    pub containers_paused: usize,
    pub containers_stopped: usize,
    pub images: usize,
    pub driver: &'static str,
    pub driver_status: NoItems,
    pub plugins: Plugins,
    pub memory_limit: bool,
    pub swap_limit: bool,
    pub cpu_cfs_period: bool,
    pub cpu_cfs_quota: bool,
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    pub pids_limit: bool,
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    pub debug: bool,
    pub oom_kill_disable: bool,
    #[serde(rename = "NFd")]
    pub n_fd: u32,
    #[serde(rename = "NGoroutines")]
    pub n_goroutines: u32,
    pub system_time: String,
    pub logging_driver: &'static str,
    pub cgroup_driver: &'static str,
    pub cgroup_version: &'static str,
    #[serde(rename = "NEventsListener")]
    pub n_events_listener: u32,
    pub kernel_version: String,
    pub operating_system: &'static str,
    #[serde(rename = "OSVersion")]
    pub os_version: &'static str,
    #[serde(rename = "OSType")]
    pub os_type: &'static str,
    pub architecture: &'static str,
    pub index_server_address: &'static str,
    pub registry_config: Null,
    #[serde(rename = "NCPU")]
    pub ncpu: usize,
    pub mem_total: u64,
    pub generic_resources: Null,
    pub docker_root_dir: &'static str,
    pub http_proxy: &'static str,
    pub https_proxy: &'static str,
    pub no_proxy: &'static str,
    pub name: String,
    pub labels: NoItems,
    pub experimental_build: bool,
    pub server_version: &'static str,
    pub runtimes: NoEntries,
    pub default_runtime: &'static str,
    pub swarm: Swarm,
    pub live_restore_enabled: bool,
    pub isolation: &'static str,
    pub init_binary: &'static str,
    pub containerd_commit: Commit,
    pub runc_commit: Commit,
    pub init_commit: Commit,
    pub security_options: NoItems,
    pub warnings: Null,
}

/// `Plugins`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct Plugins {
    pub volume: NoItems,
    pub network: NoItems,
    pub authorization: Null,
    pub log: NoItems,
}

/// `Swarm`: a pod is in none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct Swarm {
    #[serde(rename = "NodeID")]
    pub node_id: &'static str,
    pub node_addr: &'static str,
    pub local_node_state: &'static str,
    pub control_available: bool,
    pub error: &'static str,
    pub remote_managers: Null,
}

/// A version of a program that a pod does not have.
#[derive(Debug, Default, Serialize)]
pub struct Commit {
    /// Empty.
    #[serde(rename = "ID")]
    pub id: &'static str,
}

impl Info {
    /// Describes a pod.
    #[must_use]
    pub fn new<'c>(
        system: &System,
        containers: impl Iterator<Item = &'c Container> + Clone,
        images: usize,
    ) -> Self {
        let count = |wanted: &[Status]| {
            containers.clone().filter(|container| wanted.contains(&container.state.borrow().status)).count()
        };
        Self {
            id: system.id.clone(),
            containers: containers.clone().count(),
            containers_running: count(&[Status::Running, Status::Restarting]),
            containers_paused: count(&[Status::Paused]),
            containers_stopped: count(&[Status::Created, Status::Exited]),
            images,
            driver: "overlay2",
            driver_status: [],
            plugins: Plugins::default(),
            memory_limit: true,
            swap_limit: false,
            cpu_cfs_period: true,
            cpu_cfs_quota: true,
            cpu_shares: true,
            cpu_set: false,
            pids_limit: true,
            ipv4_forwarding: true,
            debug: false,
            oom_kill_disable: false,
            n_fd: 0,
            n_goroutines: 0,
            system_time: time::trimmed(SystemTime::now()),
            logging_driver: "json-file",
            cgroup_driver: "cgroupfs",
            cgroup_version: "2",
            n_events_listener: 0,
            kernel_version: system.kernel.clone(),
            operating_system: "cradle",
            os_version: env!("CARGO_PKG_VERSION"),
            os_type: OS,
            architecture: "x86_64",
            index_server_address: "",
            registry_config: (),
            ncpu: system.cpus,
            mem_total: system.memory,
            generic_resources: (),
            docker_root_dir: "/",
            http_proxy: "",
            https_proxy: "",
            no_proxy: "",
            name: system.hostname.clone(),
            labels: [],
            experimental_build: false,
            server_version: ENGINE_VERSION,
            runtimes: NoEntries {},
            default_runtime: "cradle",
            swarm: Swarm {
                node_id: "",
                node_addr: "",
                local_node_state: "inactive",
                control_available: false,
                error: "",
                remote_managers: (),
            },
            live_restore_enabled: false,
            isolation: "",
            init_binary: "",
            containerd_commit: Commit::default(),
            runc_commit: Commit::default(),
            init_commit: Commit::default(),
            security_options: [],
            warnings: (),
        }
    }
}
