//! Capabilities, resource limits, ids and no_new_privs of a container's process (capabilities(7)).

use crate::container::failure::Failure;
use crate::container::user::User;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use spec::launch::{ProcessSpec, RlimitSpec};
use std::io;

/// The highest capability number that the kernel is asked about.
const LAST_CAPABILITY: u32 = 63;

/// The capability of that name (`CAP_CHOWN`).
pub(crate) fn capability(name: &str) -> Option<CapabilitySet> {
    CapabilitySet::from_name(name.strip_prefix("CAP_")?)
}

/// The resource of that name (`RLIMIT_NOFILE`).
pub(crate) fn resource(name: &str) -> Option<Resource> {
    Some(match name.strip_prefix("RLIMIT_")? {
        "AS" => Resource::As,
        "CORE" => Resource::Core,
        "CPU" => Resource::Cpu,
        "DATA" => Resource::Data,
        "FSIZE" => Resource::Fsize,
        "LOCKS" => Resource::Locks,
        "MEMLOCK" => Resource::Memlock,
        "MSGQUEUE" => Resource::Msgqueue,
        "NICE" => Resource::Nice,
        "NOFILE" => Resource::Nofile,
        "NPROC" => Resource::Nproc,
        "RSS" => Resource::Rss,
        "RTPRIO" => Resource::Rtprio,
        "RTTIME" => Resource::Rttime,
        "SIGPENDING" => Resource::Sigpending,
        "STACK" => Resource::Stack,
        _ => return None,
    })
}

/// Sets the limits. Needs CAP_SYS_RESOURCE where a hard limit is raised.
///
/// # Errors
/// A limit that setrlimit(2) refuses.
pub(crate) fn set_rlimits(limits: &[RlimitSpec]) -> Result<(), Failure> {
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    for limit in limits {
        let Some(resource) = resource(&limit.name) else { continue };
        rustix::process::setrlimit(
            resource,
            Rlimit { current: finite(limit.soft), maximum: finite(limit.hard) },
        )
        .map_err(|error| {
            Failure::setup(format!(
                "error setting rlimit type {}: {}",
                limit.name,
                super::plain(&error.into())
            ))
        })?;
    }
    Ok(())
}

/// The capabilities of a container.
pub(crate) fn of_container(process: &ProcessSpec) -> CapabilitySet {
    process.capabilities.iter().filter_map(|name| capability(name)).collect()
}

/// Gives up what the process is not to have: bounding set, groups, ids, then the other capability sets. As
/// Docker, root keeps the given capabilities and any other user none; the inheritable and ambient sets are
/// empty.
///
/// # Errors
/// The step that the kernel refused.
pub(crate) fn drop_to(user: &User, kept: CapabilitySet, no_new_privileges: bool) -> Result<(), Failure> {
    let step = |what: &'static str| move |error: io::Error| Failure::new(what, &error);
    drop_bounding_set(kept).map_err(step("cannot drop capabilities"))?;
    identify(user).map_err(step("cannot set user and groups"))?;
    let kept = if user.uid == 0 { kept } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
        .map_err(|error| Failure::new("cannot set capabilities", &error.into()))?;
    if no_new_privileges {
        rustix::thread::set_no_new_privs(true)
            .map_err(|error| Failure::new("cannot set no_new_privs", &error.into()))?;
    }
    Ok(())
}

fn drop_bounding_set(kept: CapabilitySet) -> io::Result<()> {
    for number in 0..=LAST_CAPABILITY {
        let one = CapabilitySet::from_bits_retain(1 << number);
        // EINVAL: the kernel does not know the number, nor any above.
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(true) if !kept.contains(one) => rustix::thread::remove_capability_from_bounding_set(one)?,
            Ok(_) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    Ok(())
}

fn identify(user: &User) -> io::Result<()> {
    use rustix::process::{Gid, Uid};
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups)?;
    let gid = Gid::from_raw(user.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    let uid = Uid::from_raw(user.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels() {
        assert_eq!(capability("CAP_CHOWN"), Some(CapabilitySet::CHOWN));
        assert_eq!(capability("CAP_CHECKPOINT_RESTORE"), Some(CapabilitySet::CHECKPOINT_RESTORE));
        assert_eq!(capability("CHOWN"), None);
        assert_eq!(capability("CAP_NOSUCH"), None);
        assert_eq!(resource("RLIMIT_NOFILE"), Some(Resource::Nofile));
        assert_eq!(resource("NOFILE"), None);
    }
}
