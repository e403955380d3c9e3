//! `GET /containers/{id}/json`: everything about a container.

use std::collections::BTreeMap;

use serde::Serialize;
use spec::ContainerSpec;
use spec::launch::{HealthSpec, LimitsSpec, MountSource, Writable};

use super::host_config::{HostConfig, RestartPolicy, Ulimit};
use super::network::{MODE, NetworkSettings};
use super::{NoEntries, Null};
use crate::container::{Container, ContainerState, Health, HealthStatus, Status};
use crate::{signal, time};

/// The period that a CPU limit is given in, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// The capabilities of an ordinary container, in the order of the kernel's numbers.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
];

/// An inspected container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct Inspect {
    pub id: String,
    pub created: String,
    pub path: String,
    pub args: Vec<String>,
    pub state: State,
    pub image: String,
    pub resolv_conf_path: &'static str,
    pub hostname_path: &'static str,
    pub hosts_path: &'static str,
    pub log_path: &'static str,
    pub name: String,
    pub restart_count: u32,
    pub driver: &'static str,
    pub platform: &'static str,
    pub mount_label: &'static str,
    pub process_label: &'static str,
    pub app_armor_profile: &'static str,
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<String>>,
    pub host_config: HostConfig,
    pub graph_driver: GraphDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    pub mounts: Vec<Mount>,
    pub config: Config,
    pub network_settings: NetworkSettings,
}

impl Inspect {
    /// Describes a container; `execs` are the ids of programs that run in it, `size` as the engine's `disk_usage`
    /// has it.
    #[must_use]
    pub fn new(
        container: &Container,
        state: &ContainerState,
        execs: Vec<String>,
        size: Option<(u64, u64)>,
    ) -> Self {
        let spec = &container.spec;
        let (path, args) = spec
            .process
            .cmd
            .split_first()
            .map_or_else(Default::default, |(path, args)| (path.clone(), args.to_vec()));
        Self {
            id: container.id.clone(),
            created: time::trimmed(container.created),
            path,
            args,
            state: State::new(state),
            image: spec.image.digest.clone(),
            resolv_conf_path: "",
            hostname_path: "",
            hosts_path: "",
            log_path: "",
            name: format!("/{}", spec.name),
            restart_count: state.restarts,
            driver: "overlay2",
            platform: "linux",
            mount_label: "",
            process_label: "",
            app_armor_profile: "",
            exec_ids: (!execs.is_empty()).then_some(execs),
            host_config: host_config(spec, &state.limits),
            graph_driver: GraphDriver { data: (), name: "overlay2" },
            size_rw: size.map(|(written, _)| written),
            size_root_fs: size.map(|(_, all)| all),
            mounts: mounts(spec),
            config: Config::new(spec),
            network_settings: NetworkSettings::default(),
        }
    }
}

/// `State`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct State {
    pub status: &'static str,
    pub running: bool,
    pub paused: bool,
    pub restarting: bool,
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub dead: bool,
    pub pid: u32,
    pub exit_code: u8,
    pub error: String,
    pub started_at: String,
    pub finished_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthState>,
}

impl State {
    fn new(state: &ContainerState) -> Self {
        Self {
            status: state.status.word(),
            // Docker counts a container that waits for its restart as running.
            running: state.is_running() || state.status == Status::Restarting,
            paused: state.status == Status::Paused,
            restarting: state.status == Status::Restarting,
            oom_killed: state.oom_killed,
            dead: false,
            pid: state.pid,
            exit_code: state.exit_code,
            error: state.error.clone(),
            started_at: time::trimmed_or_never(state.started),
            finished_at: time::trimmed_or_never(state.finished),
            health: state.health.as_ref().map(HealthState::new),
        }
    }
}

/// `State.Health`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct HealthState {
    pub status: &'static str,
    pub failing_streak: u32,
    pub log: Vec<HealthResult>,
}

impl HealthState {
    fn new(health: &Health) -> Self {
        let results = health.log.iter().map(|check| HealthResult {
            start: time::trimmed(check.start),
            end: time::trimmed(check.end),
            exit_code: check.exit_code,
            output: check.output.clone(),
        });
        Self { status: health.status.word(), failing_streak: health.failing_streak, log: results.collect() }
    }
}

/// One run of a health check.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct HealthResult {
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    pub output: String,
}

/// `GraphDriver`: there are no layers inside a pod.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct GraphDriver {
    pub data: Null,
    pub name: &'static str,
}

/// A mounted volume. Memory file systems are in `HostConfig.Tmpfs`, as with `docker run --tmpfs`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct Mount {
    pub r#type: &'static str,
    pub name: String,
    pub source: &'static str,
    pub destination: String,
    pub driver: &'static str,
    pub mode: &'static str,
    #[serde(rename = "RW")]
    pub rw: bool,
    pub propagation: &'static str,
}

/// The volumes of a container.
#[must_use]
pub fn mounts(spec: &ContainerSpec) -> Vec<Mount> {
    let volume = |mount: &spec::launch::MountSpec| match &mount.source {
        MountSource::Tmpfs { .. } => None,
        // The path is the host's own, which a pod is not told.
        MountSource::Share { tag, .. } => Some(Mount {
            r#type: "bind",
            name: tag.clone(),
            source: "",
            destination: mount.guest_path.clone(),
            driver: "",
            mode: "",
            rw: !mount.read_only,
            propagation: "rprivate",
        }),
        MountSource::Anonymous { name } | MountSource::Volume { name, .. } => Some(Mount {
            r#type: "volume",
            name: name.clone(),
            source: "",
            destination: mount.guest_path.clone(),
            driver: "local",
            mode: "",
            rw: !mount.read_only,
            propagation: "",
        }),
    };
    spec.mounts.iter().filter_map(volume).collect()
}

/// `Config`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
#[expect(clippy::struct_excessive_bools, reason = "they are Docker's")]
pub struct Config {
    pub hostname: String,
    pub domainname: &'static str,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Vec<String>,
    pub cmd: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    pub image: String,
    pub volumes: Option<BTreeMap<String, NoEntries>>,
    pub working_dir: String,
    pub entrypoint: Null,
    pub on_build: Null,
    pub labels: BTreeMap<String, String>,
    pub stop_signal: String,
    pub stop_timeout: u32,
}

impl Config {
    fn new(spec: &ContainerSpec) -> Self {
        let process = &spec.process;
        // Maps are extended and not collected, which sorts: 4 KiB of the guest for each type of map.
        let mut volumes = BTreeMap::new();
        volumes.extend(mounts(spec).into_iter().map(|mount| (mount.destination, NoEntries {})));
        Self {
            hostname: spec.hostname.clone(),
            domainname: "",
            user: process.user.clone(),
            attach_stdin: false,
            attach_stdout: true,
            attach_stderr: true,
            tty: process.tty,
            open_stdin: process.stdin,
            stdin_once: process.stdin && process.stdin_once,
            env: process.env.iter().map(|env| format!("{}={}", env.name, env.value)).collect(),
            cmd: process.cmd.clone(),
            healthcheck: spec.healthcheck.as_ref().map(Healthcheck::new),
            image: spec.image.reference.clone(),
            volumes: (!volumes.is_empty()).then_some(volumes),
            working_dir: process.workdir.clone(),
            entrypoint: (),
            on_build: (),
            labels: spec.labels.clone(),
            stop_signal: signal::name(process.stop_signal),
            stop_timeout: process.stop_timeout,
        }
    }
}

/// `Config.Healthcheck`; times are nanoseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct Healthcheck {
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Healthcheck {
    fn new(spec: &HealthSpec) -> Self {
        Self {
            test: spec.test.clone(),
            interval: spec.interval,
            timeout: spec.timeout,
            start_period: spec.start_period,
            start_interval: spec.start_interval,
            retries: spec.retries.into(),
        }
    }
}

fn host_config(spec: &ContainerSpec, limits: &LimitsSpec) -> HostConfig {
    let quota = limits.cpu_millis.unwrap_or(0);
    let (cap_add, cap_drop) = capabilities(&spec.process.capabilities);
    HostConfig {
        network_mode: MODE,
        restart_policy: restart_policy(spec),
        cap_add,
        cap_drop,
        cgroupns_mode: "private",
        init: spec.process.init,
        ipc_mode: "private",
        readonly_rootfs: spec.image.writable == Writable::ReadOnly,
        security_opt: spec.process.no_new_privileges.then(|| vec!["no-new-privileges"]),
        tmpfs: tmpfs(spec),
        shm_size: spec.shm_size,
        runtime: "cradle",
        memory: limits.memory.unwrap_or(0),
        nano_cpus: quota.saturating_mul(1_000_000),
        cpu_period: if quota > 0 { CPU_PERIOD } else { 0 },
        cpu_quota: quota.saturating_mul(CPU_PERIOD / 1000),
        pids_limit: limits.pids,
        ulimits: ulimits(spec),
        ..HostConfig::default()
    }
}

/// What differs from an ordinary container: added and dropped.
fn capabilities(have: &[String]) -> (Vec<String>, Vec<String>) {
    let added = have.iter().filter(|name| !DEFAULT_CAPABILITIES.contains(&name.as_str())).cloned();
    let dropped = DEFAULT_CAPABILITIES.iter().filter(|name| !have.iter().any(|have| have == *name));
    (added.collect(), dropped.map(|&name| name.to_owned()).collect())
}

fn restart_policy(spec: &ContainerSpec) -> RestartPolicy {
    let rules = &spec.lifecycle;
    let name = match (rules.restart_on_success, rules.restart_on_failure) {
        (true, _) => "always",
        (false, true) => "on-failure",
        (false, false) => "no",
    };
    RestartPolicy { name, maximum_retry_count: rules.max_restarts.saturating_sub(1) }
}

fn tmpfs(spec: &ContainerSpec) -> BTreeMap<String, String> {
    let entries = spec.mounts.iter().filter_map(|mount| {
        let MountSource::Tmpfs { size, mode, exec } = mount.source else { return None };
        let mut options = vec![if mount.read_only { "ro".to_owned() } else { "rw".to_owned() }];
        options.push(if exec { "exec".to_owned() } else { "noexec".to_owned() });
        options.extend(size.map(|bytes| format!("size={bytes}")));
        options.push(format!("mode={mode:o}"));
        Some((mount.guest_path.clone(), options.join(",")))
    });
    let mut tmpfs = BTreeMap::new();
    tmpfs.extend(entries);
    tmpfs
}

fn ulimits(spec: &ContainerSpec) -> Vec<Ulimit> {
    let limit = |value: u64| i64::try_from(value).unwrap_or(-1);
    let name = |name: &str| name.strip_prefix("RLIMIT_").unwrap_or(name).to_ascii_lowercase();
    let ulimits = spec.process.rlimits.iter();
    ulimits
        .map(|each| Ulimit { name: name(&each.name), hard: limit(each.hard), soft: limit(each.soft) })
        .collect()
}

impl Status {
    /// Docker's word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }
}

impl HealthStatus {
    /// Docker's word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}
