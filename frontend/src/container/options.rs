//! What of a creation's `HostConfig` a pod can do: each field is honoured, ignored with a warning, or refused
//! (docs/docker-api.md, "Containers", has the table).

use bollard_stubs::models::{HostConfig, MountTypeEnum, RestartPolicyNameEnum, ThrottleDevice};
use pod::limits::{LimitKind, LimitWish};
use vdocker::EngineError;

/// The least memory of a container in bytes, as Docker has it.
const MIN_MEMORY: i64 = 6 << 20;

/// The least share of a CPU in billionths: the kernel takes no quota below a millisecond.
const LEAST_NANO_CPUS: u64 = 10_000_000;

/// The period of CPU limits in microseconds where the client names none.
const DEFAULT_PERIOD: i64 = 100_000;

/// Checks a `HostConfig`, and answers what the client is warned of.
///
/// # Errors
/// [`EngineError::BadRequest`] for what makes no sense or cannot be done.
pub(super) fn check(host: &HostConfig) -> Result<Vec<String>, EngineError> {
    refuse(host)?;
    check_restart(host)?;
    check_security(host)?;
    if let Some(memory) = host.memory.filter(|memory| *memory != 0)
        && memory < MIN_MEMORY
    {
        return Err(bad("Minimum memory limit allowed is 6MB"));
    }
    if host.memory_swap.is_some_and(|swap| swap > 0 && host.memory.unwrap_or_default() == 0) {
        return Err(bad("You should always set the Memory limit when using Memoryswap limit, see usage"));
    }
    if host.memory_swap.is_some_and(|swap| swap > 0 && swap < host.memory.unwrap_or_default()) {
        return Err(bad("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    if host.shm_size.is_some_and(|size| size < 0) {
        return Err(bad("SHM size can not be less than 0"));
    }
    cpu_millis(host)?;
    limits(host)?;
    Ok(warnings(host))
}

fn bad(text: impl Into<String>) -> EngineError {
    EngineError::BadRequest(text.into())
}

/// What is asked for and would be missed.
fn refuse(host: &HostConfig) -> Result<(), EngineError> {
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_default();
    let shares = |mode: &str| mode.starts_with("container:");
    let any = |list: Option<usize>| list.is_some_and(|length| length > 0);
    let (pid, ipc, uts) = (mode(&host.pid_mode), mode(&host.ipc_mode), mode(&host.uts_mode));
    let refusals = [
        (
            "Devices",
            any(host.devices.as_ref().map(Vec::len)),
            "devices of the host cannot be given to a microVM",
        ),
        (
            "DeviceRequests",
            any(host.device_requests.as_ref().map(Vec::len)),
            "devices of the host cannot be given to a microVM",
        ),
        ("Links", any(host.links.as_ref().map(Vec::len)), "links are not supported: use a network"),
        (
            "Sysctls",
            any(host.sysctls.as_ref().map(std::collections::HashMap::len)),
            "kernel parameters of a pod cannot be set",
        ),
        ("PidMode", shares(&pid), "a microVM has processes of its own"),
        ("IpcMode", shares(&ipc), "a microVM has memory of its own"),
        ("UTSMode", shares(&uts), "a microVM has a host name of its own"),
        (
            "NetworkMode",
            mode(&host.network_mode).starts_with("container:"),
            "containers cannot share a network stack: each has a microVM of its own",
        ),
        (
            "NetworkMode",
            mode(&host.network_mode) == "host",
            "a microVM has a network stack of its own, not the host's: publish its ports",
        ),
    ];
    if let Some((field, _, why)) = refusals.iter().find(|(_, is_wanted, _)| *is_wanted) {
        return Err(bad(format!("HostConfig.{field}: {why}")));
    }
    let runtime = mode(&host.runtime);
    if !["", "cradle", "runc", "io.containerd.runc.v2"].contains(&runtime.as_str()) {
        return Err(bad(format!("unknown or invalid runtime name: {runtime}")));
    }
    let isolation = host.isolation.map(|isolation| isolation.to_string()).unwrap_or_default();
    if !["", "default"].contains(&isolation.as_str()) {
        return Err(bad(format!("invalid isolation '{isolation}' on linux")));
    }
    let logger = host.log_config.as_ref().and_then(|log| log.typ.clone()).unwrap_or_default();
    if !["", "json-file", "local", "none"].contains(&logger.as_str()) {
        return Err(bad(format!("logger: no log driver named '{logger}' is registered")));
    }
    for mount in host.mounts.iter().flatten() {
        let kind = mount.typ.unwrap_or(MountTypeEnum::EMPTY);
        if !matches!(kind, MountTypeEnum::TMPFS | MountTypeEnum::VOLUME | MountTypeEnum::BIND) {
            return Err(bad(format!("mount type '{kind}' is not supported")));
        }
    }
    Ok(())
}

fn check_restart(host: &HostConfig) -> Result<(), EngineError> {
    let Some(policy) = &host.restart_policy else { return Ok(()) };
    let name = policy.name.unwrap_or(RestartPolicyNameEnum::EMPTY);
    let count = policy.maximum_retry_count.unwrap_or_default();
    let restarts = !matches!(name, RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO);
    if restarts && host.auto_remove.unwrap_or_default() {
        return Err(bad("can't create 'AutoRemove' container with restart policy"));
    }
    if count < 0 {
        return Err(bad("invalid restart policy: maximum retry count cannot be negative"));
    }
    if count > 0 && name != RestartPolicyNameEnum::ON_FAILURE {
        return Err(bad("invalid restart policy: maximum retry count can only be used with 'on-failure'"));
    }
    Ok(())
}

/// Whether set-user-id programs are kept from raising privileges.
pub(super) fn no_new_privileges(host: &HostConfig) -> bool {
    let wanted = |option: &String| {
        ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"].contains(&option.as_str())
    };
    host.security_opt.iter().flatten().any(wanted)
}

fn check_security(host: &HostConfig) -> Result<(), EngineError> {
    for option in host.security_opt.iter().flatten() {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        let is_known = match name {
            "no-new-privileges" => ["", "true", "false"].contains(&value),
            "seccomp" | "apparmor" | "label" | "systempaths" | "writable-cgroups" => !value.is_empty(),
            _ => false,
        };
        if !is_known {
            return Err(bad(format!("invalid --security-opt 2: {option:?}")));
        }
    }
    Ok(())
}

/// The limit of CPU time in thousandths of one CPU.
///
/// # Errors
/// [`EngineError::BadRequest`] for numbers that contradict each other, and more CPUs than the host has.
pub(super) fn cpu_millis(host: &HostConfig) -> Result<Option<u64>, EngineError> {
    let (nanos, quota, period) = (
        host.nano_cpus.unwrap_or_default(),
        host.cpu_quota.unwrap_or_default(),
        host.cpu_period.unwrap_or_default(),
    );
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    if nanos != 0 {
        if quota != 0 || period != 0 {
            return Err(bad("Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set"));
        }
        let most = u64::try_from(cpus).unwrap_or(1).saturating_mul(1_000_000_000);
        return match positive(nanos).filter(|nanos| (LEAST_NANO_CPUS..=most).contains(nanos)) {
            Some(nanos) => Ok(Some(nanos.div_ceil(1_000_000))),
            None => Err(bad(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            ))),
        };
    }
    if period != 0 && !(1000..=1_000_000).contains(&period) {
        return Err(bad(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if quota > 0 && quota < 1000 {
        return Err(bad("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    let period = if period == 0 { DEFAULT_PERIOD } else { period };
    Ok(positive(quota).map(|quota| quota.saturating_mul(1000).div_ceil(period.unsigned_abs())))
}

/// The limits of disks.
///
/// # Errors
/// [`EngineError::BadRequest`] for a rate below 0 and for one without a path. What the paths mean is known when the pod is
/// made.
pub(super) fn limits(host: &HostConfig) -> Result<Vec<LimitWish>, EngineError> {
    let lists = [
        (LimitKind::ReadBps, &host.blkio_device_read_bps),
        (LimitKind::WriteBps, &host.blkio_device_write_bps),
        (LimitKind::ReadIops, &host.blkio_device_read_iops),
        (LimitKind::WriteIops, &host.blkio_device_write_iops),
    ];
    let all = lists.iter().flat_map(|(kind, list)| list.iter().flatten().map(|wish| (*kind, wish)));
    let wish = |(kind, wish): (LimitKind, &ThrottleDevice)| {
        let path = wish.path.clone().filter(|path| !path.is_empty());
        let rate = u64::try_from(wish.rate.unwrap_or_default());
        match (path, rate) {
            (Some(path), Ok(rate)) => Ok(LimitWish { kind, path, rate }),
            _ => Err(bad("a limit of a device needs a path, and a rate that is not below 0")),
        }
    };
    all.map(wish).collect()
}

/// What is asked for and not missed: limits of a host that a microVM has otherwise.
fn warnings(host: &HostConfig) -> Vec<String> {
    let set = |number: Option<i64>| number.is_some_and(|number| number != 0);
    let text = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let is_host = |mode: &Option<String>| mode.as_deref() == Some("host");
    let any = |length: Option<usize>| length.is_some_and(|length| length > 0);
    let ignored = [
        ("CpuShares", set(host.cpu_shares)),
        ("CpuRealtimePeriod", set(host.cpu_realtime_period)),
        ("CpuRealtimeRuntime", set(host.cpu_realtime_runtime)),
        ("CpusetCpus", text(&host.cpuset_cpus)),
        ("CpusetMems", text(&host.cpuset_mems)),
        ("CpuCount", set(host.cpu_count)),
        ("CpuPercent", set(host.cpu_percent)),
        ("IOMaximumIOps", set(host.io_maximum_iops)),
        ("IOMaximumBandwidth", set(host.io_maximum_bandwidth)),
        ("BlkioWeight", host.blkio_weight.is_some_and(|weight| weight != 0)),
        ("BlkioWeightDevice", any(host.blkio_weight_device.as_ref().map(Vec::len))),
        ("KernelMemoryTCP", set(host.kernel_memory_tcp)),
        ("MemoryReservation", set(host.memory_reservation)),
        ("MemorySwappiness", host.memory_swappiness.is_some_and(|value| value >= 0)),
        ("OomKillDisable", host.oom_kill_disable.unwrap_or_default()),
        ("OomScoreAdj", set(host.oom_score_adj)),
        ("CgroupParent", text(&host.cgroup_parent)),
        ("CgroupnsMode", host.cgroupns_mode.is_some_and(|mode| mode.to_string() == "host")),
        ("PidMode", is_host(&host.pid_mode)),
        ("IpcMode", is_host(&host.ipc_mode)),
        ("UTSMode", is_host(&host.uts_mode)),
        ("DeviceCgroupRules", any(host.device_cgroup_rules.as_ref().map(Vec::len))),
    ];
    let mut warnings: Vec<_> = ignored
        .iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(field, _)| format!("HostConfig.{field} is ignored: the container has a microVM of its own."))
        .collect();
    let swap = host.memory_swap.unwrap_or_default();
    if swap > 0 && swap != host.memory.unwrap_or_default() {
        warnings.push("A pod has no swap: the limit of memory and swap is the limit of memory.".into());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(json: &str) -> HostConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_the_client_sends_by_itself_is_no_cause_for_warnings() {
        let sent = r#"{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"NetworkMode":"default",
            "PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":true,"VolumeDriver":"",
            "VolumesFrom":null,"ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":[],
            "DnsOptions":[],"DnsSearch":[],"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,
            "OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,
            "SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,
            "NanoCpus":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":[],"BlkioDeviceReadBps":[],
            "BlkioDeviceWriteBps":[],"BlkioDeviceReadIOps":[],"BlkioDeviceWriteIOps":[],"CpuPeriod":0,"CpuQuota":0,
            "CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":[],
            "DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":-1,
            "OomKillDisable":false,"PidsLimit":0,"Ulimits":[],"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,
            "IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null}"#;
        assert_eq!(check(&host(sent)), Ok(Vec::new()));
    }

    #[test]
    fn what_would_be_missed_is_refused() {
        for (json, words) in [
            (r#"{"Devices":[{"PathOnHost":"/dev/null"}]}"#, "Devices"),
            (r#"{"Links":["db:db"]}"#, "links are not supported"),
            (r#"{"PidMode":"container:x"}"#, "PidMode"),
            (r#"{"IpcMode":"container:x"}"#, "IpcMode"),
            (r#"{"NetworkMode":"container:x"}"#, "NetworkMode"),
            (r#"{"NetworkMode":"host"}"#, "a microVM has a network stack of its own"),
            (r#"{"Runtime":"kata"}"#, "unknown or invalid runtime name: kata"),
            (r#"{"Isolation":"hyperv"}"#, "invalid isolation"),
            (r#"{"LogConfig":{"Type":"syslog"}}"#, "no log driver named 'syslog'"),
            (r#"{"Memory":1024}"#, "Minimum memory limit"),
            (r#"{"MemorySwap":1024}"#, "always set the Memory limit"),
            (r#"{"NanoCpus":900000000000}"#, "range of CPUs is from 0.01"),
            (r#"{"NanoCpus":1,"CpuQuota":1}"#, "Conflicting options"),
            (r#"{"CpuQuota":1}"#, "CPU cfs quota"),
            (r#"{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}"#, "can't create 'AutoRemove'"),
            (r#"{"RestartPolicy":{"Name":"always","MaximumRetryCount":2}}"#, "maximum retry count"),
            (r#"{"SecurityOpt":["bogus"]}"#, "invalid --security-opt 2"),
            (r#"{"Mounts":[{"Type":"npipe"}]}"#, "npipe"),
            (r#"{"BlkioDeviceReadBps":[{"Path":"/dev/root","Rate":-1}]}"#, "below 0"),
            (r#"{"BlkioDeviceWriteIOps":[{"Rate":1}]}"#, "needs a path"),
        ] {
            let error = check(&host(json)).unwrap_err().to_string();
            assert!(error.contains(words), "{json}: {error}");
        }
    }

    #[test]
    fn what_is_not_missed_is_ignored_with_a_warning() {
        let warnings = check(&host(r#"{"CpuShares":2,"CpusetCpus":"0","PublishAllPorts":true}"#)).unwrap();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert_eq!(cpu_millis(&host(r#"{"CpuQuota":50000}"#)), Ok(Some(500)));
        assert_eq!(cpu_millis(&host(r#"{"NanoCpus":500000000}"#)), Ok(Some(500)));
        assert_eq!(cpu_millis(&host("{}")), Ok(None));
        let limited =
            r#"{"BlkioDeviceWriteBps":[{"Path":"/dev/root","Rate":1024}],"BlkioDeviceReadIOps":[]}"#;
        let wish = LimitWish { kind: LimitKind::WriteBps, path: "/dev/root".to_owned(), rate: 1024 };
        assert_eq!((limits(&host(limited)), check(&host(limited))), (Ok(vec![wish]), Ok(Vec::new())));
        assert!(no_new_privileges(&host(r#"{"SecurityOpt":["no-new-privileges"]}"#)));
    }

    /// The names of a type's fields in JSON.
    struct Fields(&'static [&'static str]);

    impl<'de> serde::Deserializer<'de> for &mut Fields {
        type Error = serde::de::value::Error;

        fn deserialize_struct<V: serde::de::Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            _visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.0 = fields;
            Err(serde::de::Error::custom("the names are all that is wanted"))
        }

        fn deserialize_any<V: serde::de::Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("not a structure"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    #[test]
    fn the_documentation_has_every_field() {
        use serde::Deserialize as _;

        let text = std::fs::read_to_string("../docs/docker-api.md").unwrap();
        let (_, tables) = text.split_once("### What becomes of a container's fields").unwrap();
        let (config, host) = tables.split_once("| `HostConfig` | |").unwrap();
        let mut fields = Fields(&[]);
        let _none = bollard_stubs::models::ContainerConfig::deserialize(&mut fields);
        assert!(fields.0.len() > 20, "{:?}", fields.0);
        for field in fields.0 {
            assert!(config.contains(&format!("`{field}`")), "Config.{field}");
        }
        let _none = HostConfig::deserialize(&mut fields);
        assert!(fields.0.len() > 60, "{:?}", fields.0);
        for field in fields.0 {
            assert!(host.contains(&format!("`{field}`")), "HostConfig.{field}");
        }
    }
}
