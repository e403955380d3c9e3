//! Capabilities of a container's process: Docker's default set, `--cap-add` and `--cap-drop`.

/// What a process gets where nothing else is said.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// All capabilities of Linux 6.12, in the order of their numbers (capabilities(7)).
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A text that names no capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid capability: {0:?}")]
pub struct CapabilityError(pub String);

/// The default capabilities with some added and some taken away. `ALL` in `add` starts from all of them, `ALL`
/// in `drop` from those added alone.
pub(super) fn select(add: &[String], drop: &[String]) -> Result<Vec<String>, CapabilityError> {
    let all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    let (added, dropped) = (known(add)?, known(drop)?);
    let from: &[&str] = match (all(add), all(drop)) {
        (true, _) => &ALL,
        (false, true) => &[],
        (false, false) => &DEFAULT,
    };
    let chosen = |name: &&&str| {
        let wanted = from.contains(*name) || added.contains(*name);
        wanted && (!dropped.contains(*name) || added.contains(*name) && all(drop))
    };
    Ok(ALL.iter().filter(chosen).map(|name| (*name).to_owned()).collect())
}

/// The names in full, `ALL` left out.
fn known(names: &[String]) -> Result<Vec<&'static str>, CapabilityError> {
    let mut found = Vec::new();
    for name in names.iter().filter(|name| !name.eq_ignore_ascii_case("ALL")) {
        let upper = name.to_ascii_uppercase();
        let same =
            |known: &&&str| known.strip_prefix("CAP_") == Some(upper.strip_prefix("CAP_").unwrap_or(&upper));
        found.push(*ALL.iter().find(same).ok_or_else(|| CapabilityError(name.clone()))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(add: &[&str], drop: &[&str]) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        select(&owned(add), &owned(drop)).unwrap()
    }

    #[test]
    fn additions_and_removals_start_from_dockers_default() {
        assert_eq!(names(&[], &[]).len(), DEFAULT.len());
        assert!(names(&["sys_admin"], &[]).contains(&"CAP_SYS_ADMIN".to_owned()));
        assert!(!names(&[], &["CAP_CHOWN"]).contains(&"CAP_CHOWN".to_owned()));
        assert_eq!(names(&["KILL"], &["ALL"]), ["CAP_KILL"]);
        assert_eq!(names(&["ALL"], &[]).len(), ALL.len());
        assert_eq!(names(&["all"], &["mknod"]).len(), ALL.len() - 1);
        assert_eq!(select(&["CAP_X".to_owned()], &[]), Err(CapabilityError("CAP_X".to_owned())));
    }
}
