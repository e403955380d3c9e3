//! From a container's configuration to what its pod's guest is told, and the size of the machine.

use std::net::IpAddr;

use bollard_stubs::models::{ContainerConfig, HostConfig};
use image::ImageHandle;
use image::container::{ContainerOverrides, EnvChange};
use spec::ContainerSpec;
use spec::launch::{EnvSpec, HealthSpec, HostEntry, LimitsSpec, NetworkSpec, RlimitSpec};
use vdocker::EngineError;

use super::mounts::Mounts;
use super::{create, merge, options};

/// Guest memory in MiB where the client sets no limit.
const MEMORY: u64 = 512;

/// What the guest needs for itself beside a container's limit, in MiB: kernel and PID 1, and a part of all memory for its
/// own tables.
const OWN: u64 = 96;
const TABLES: u64 = 32;

/// vCPUs that a pod can have.
const MAX_CPUS: u64 = 32;

fn bad(text: impl Into<String>) -> EngineError {
    EngineError::BadRequest(text.into())
}

/// Checks what the configuration of the image and the client's say together.
///
/// # Errors
/// [`EngineError::BadRequest`] in Docker's words.
pub(super) fn check(config: &ContainerConfig) -> Result<(), EngineError> {
    let workdir = config.working_dir.as_deref().unwrap_or_default();
    if !workdir.is_empty() && !workdir.starts_with('/') {
        return Err(bad(format!(
            "the working directory '{workdir}' is invalid, it needs to be an absolute path"
        )));
    }
    if let Some(signal) = config.stop_signal.as_deref().filter(|signal| !signal.is_empty()) {
        vdocker::signal::parse(signal)?;
    }
    if let Some(empty) = config.env.iter().flatten().find(|variable| variable.split('=').next() == Some("")) {
        return Err(bad(format!("invalid environment variable: {empty}")));
    }
    Ok(())
}

/// What the guest is told of the container.
///
/// # Errors
/// [`EngineError::BadRequest`] for what does not fit.
pub(super) fn spec(
    handle: &ImageHandle,
    config: &ContainerConfig,
    host: &HostConfig,
    mounts: &Mounts,
    id: &str,
) -> Result<ContainerSpec, EngineError> {
    let reference = config.image.clone().unwrap_or_default();
    let overrides = ContainerOverrides {
        // A name may change, and what the container has written is kept by it.
        name: id.to_owned(),
        entrypoint: Some(merge::words(config)),
        env: config.env.iter().flatten().map(|variable| env(variable)).collect(),
        user: config.user.clone(),
        workdir: config.working_dir.clone().filter(|path| !path.is_empty()),
        hostname: config.hostname.clone().unwrap_or_default(),
        init: host.init.unwrap_or_default(),
        tty: config.tty.unwrap_or_default(),
        stdin: config.open_stdin.unwrap_or_default(),
        read_only: host.readonly_rootfs.unwrap_or_default(),
        tmpfs: mounts.tmpfs.clone(),
        stop_timeout: config.stop_timeout.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
        stop_signal: config.stop_signal.clone().filter(|signal| !signal.is_empty()),
        cap_add: cap_add(host),
        cap_drop: host.cap_drop.clone().unwrap_or_default(),
        health: health(config)?,
        ..ContainerOverrides::default()
    };
    let mut spec = create::container_of(handle, &reference, &overrides)?;
    // The paths of the image's volumes are among `mounts`, each with a volume.
    spec.mounts.retain(|mount| !matches!(mount.source, spec::launch::MountSource::Anonymous { .. }));
    spec.process.stdin_once = config.stdin_once.unwrap_or_default();
    spec.process.groups = host.group_add.clone().unwrap_or_default();
    spec.process.no_new_privileges = options::no_new_privileges(host);
    spec.process.rlimits = rlimits(host)?;
    spec.limits = limits(host)?;
    spec.shm_size = host
        .shm_size
        .and_then(|size| u64::try_from(size).ok())
        .filter(|size| *size > 0)
        .unwrap_or(spec.shm_size);
    Ok(spec)
}

fn env(variable: &str) -> EnvChange {
    match variable.split_once('=') {
        Some((name, value)) => {
            EnvChange::Set(EnvSpec { name: name.to_owned(), value: value.to_owned(), value_from: None })
        }
        None => EnvChange::Unset(variable.to_owned()),
    }
}

/// A privileged container has all capabilities over its own microVM, and nothing of the host.
fn cap_add(host: &HostConfig) -> Vec<String> {
    match host.privileged {
        Some(true) => vec!["ALL".to_owned()],
        _ => host.cap_add.clone().unwrap_or_default(),
    }
}

fn health(config: &ContainerConfig) -> Result<Option<HealthSpec>, EngineError> {
    let Some(health) = &config.healthcheck else { return Ok(None) };
    let time = |name: &str, time: Option<i64>| {
        u64::try_from(time.unwrap_or_default())
            .map_err(|_| bad(format!("{name} in Healthcheck cannot be negative")))
    };
    Ok(Some(HealthSpec {
        test: health.test.clone().unwrap_or_default(),
        interval: time("Interval", health.interval)?,
        timeout: time("Timeout", health.timeout)?,
        start_period: time("StartPeriod", health.start_period)?,
        start_interval: time("StartInterval", health.start_interval)?,
        retries: u32::try_from(health.retries.unwrap_or_default())
            .map_err(|_| bad("Retries in Healthcheck cannot be negative"))?,
    }))
}

fn rlimits(host: &HostConfig) -> Result<Vec<RlimitSpec>, EngineError> {
    const KNOWN: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let limit = |ulimit: &bollard_stubs::models::ResourcesUlimits| {
        let name = ulimit.name.clone().unwrap_or_default();
        if !KNOWN.contains(&name.as_str()) {
            return Err(bad(format!("invalid ulimit type: {name}")));
        }
        // -1 is no limit.
        let number = |value: Option<i64>| u64::try_from(value.unwrap_or_default()).unwrap_or(u64::MAX);
        let (soft, hard) = (number(ulimit.soft), number(ulimit.hard));
        if soft > hard {
            return Err(bad(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )));
        }
        Ok(RlimitSpec { name: format!("RLIMIT_{}", name.to_ascii_uppercase()), soft, hard })
    };
    host.ulimits.iter().flatten().map(limit).collect()
}

/// The limits of the container's control group.
pub(super) fn limits(host: &HostConfig) -> Result<LimitsSpec, EngineError> {
    let positive = |number: Option<i64>| {
        number.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
    };
    Ok(LimitsSpec {
        memory: positive(host.memory),
        pids: positive(host.pids_limit),
        cpu_millis: options::cpu_millis(host)?,
    })
}

/// vCPUs of the machine.
pub(super) fn cpus(host: &HostConfig) -> Result<u32, EngineError> {
    let millis = options::cpu_millis(host)?.unwrap_or(1000);
    Ok(u32::try_from(millis.div_ceil(1000).clamp(1, MAX_CPUS)).unwrap_or(1))
}

/// Memory of the machine in MiB: what the container may have, and what the guest needs for itself.
pub(super) fn memory(host: &HostConfig) -> u64 {
    match host.memory.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0) {
        None => MEMORY,
        Some(bytes) => {
            let limit = bytes.div_ceil(1 << 20);
            (limit + limit / TABLES + OWN).min(1 << 20)
        }
    }
}

/// Names and addresses beside those that the guest has by itself. The pod's process knows what address of the host
/// `host-gateway` stands for.
///
/// # Errors
/// [`EngineError::BadRequest`] for an extra host without an address, and for addresses that are none.
pub(super) fn network(config: &ContainerConfig, host: &HostConfig) -> Result<NetworkSpec, EngineError> {
    let mut hosts = Vec::new();
    for text in host.extra_hosts.iter().flatten() {
        let (name, address) = extra_host(text)?;
        let name = name.to_owned();
        if address == HOST_GATEWAY {
            hosts.push(HostEntry { name, address: address.to_owned() });
            continue;
        }
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let parsed = address.parse::<IpAddr>();
        let address = parsed.map_err(|_| bad(format!("invalid IP address in add-host: \"{address}\"")))?;
        hosts.push(HostEntry { name, address: address.to_string() });
    }
    let domainname = config.domainname.clone().unwrap_or_default();
    if domainname.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(bad(format!("invalid domainname: {domainname:?}")));
    }
    let nameservers = host.dns.clone().unwrap_or_default();
    if let Some(wrong) = nameservers.iter().find(|text| text.parse::<IpAddr>().is_err()) {
        return Err(bad(format!("invalid IP address: {wrong}")));
    }
    Ok(NetworkSpec {
        domainname,
        nameservers,
        search_domain: host.dns_search.clone().unwrap_or_default().join(" "),
        options: host.dns_options.clone().unwrap_or_default(),
        hosts,
        ..NetworkSpec::default()
    })
}

/// The address that stands for the host's own.
const HOST_GATEWAY: &str = "host-gateway";

/// Whether a container is to reach the host.
pub(super) fn wants_host_gateway(host: &HostConfig) -> bool {
    let wants = |text: &String| extra_host(text).is_ok_and(|(_, address)| address == HOST_GATEWAY);
    host.extra_hosts.iter().flatten().any(wants)
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`.
fn extra_host(text: &str) -> Result<(&str, &str), EngineError> {
    let split = text.split_once([':', '=']).filter(|(name, _)| !name.is_empty());
    split.ok_or_else(|| bad(format!("bad format for add-host: \"{text}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(json: &str) -> HostConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_machine_has_room_for_the_guest_beside_the_limit() {
        assert_eq!(memory(&host("{}")), MEMORY);
        assert_eq!(memory(&host(r#"{"Memory":6291456}"#)), 6 + OWN);
        assert_eq!(memory(&host(r#"{"Memory":1073741824}"#)), 1024 + 32 + OWN);
        assert_eq!(cpus(&host("{}")), Ok(1));
        assert_eq!(cpus(&host(r#"{"CpuQuota":150000}"#)), Ok(2));
    }

    #[test]
    fn limits_are_the_clients() {
        let host = host(
            r#"{"Memory":67108864,"PidsLimit":-1,"CpuQuota":50000,
            "Ulimits":[{"Name":"nofile","Soft":10,"Hard":-1}]}"#,
        );
        let limits = limits(&host).unwrap();
        assert_eq!(limits, LimitsSpec { memory: Some(64 << 20), pids: None, cpu_millis: Some(500) });
        let rlimits = rlimits(&host).unwrap();
        assert_eq!(
            (rlimits[0].name.as_str(), rlimits[0].soft, rlimits[0].hard),
            ("RLIMIT_NOFILE", 10, u64::MAX)
        );
    }

    #[test]
    fn names_are_given_addresses() {
        let asked = host(
            r#"{"ExtraHosts":["a:10.0.0.1","b=[::1]","h:host-gateway"],"Dns":["9.9.9.9"],"DnsSearch":["x","y"],
                "DnsOptions":["ndots:2"]}"#,
        );
        assert!(wants_host_gateway(&asked));
        let config = ContainerConfig { domainname: Some("a.example".into()), ..ContainerConfig::default() };
        let found = network(&config, &asked);
        let found = found.unwrap();
        assert_eq!((found.hosts[1].name.as_str(), found.hosts[1].address.as_str()), ("b", "::1"));
        assert_eq!((found.hosts[2].name.as_str(), found.hosts[2].address.as_str()), ("h", HOST_GATEWAY));
        assert_eq!((found.nameservers[0].as_str(), found.search_domain.as_str()), ("9.9.9.9", "x y"));
        assert_eq!(
            (found.domainname.as_str(), found.options.as_slice()),
            ("a.example", &["ndots:2".to_owned()][..])
        );
        for wrong in [r#"{"ExtraHosts":["a"]}"#, r#"{"ExtraHosts":["a:b"]}"#, r#"{"Dns":["x"]}"#] {
            assert!(network(&config, &host(wrong)).is_err(), "{wrong}");
        }
    }
}
