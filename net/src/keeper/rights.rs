//! What the process may: where its network is made follows from it, and what is not needed behind that is given up.

use std::io;

use nix::sched::{CloneFlags, unshare};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use super::KeeperError;
use super::place::Place;

/// What is needed to the end: taps, rules, and ports below 1024.
const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_BIND_SERVICE);

/// Whether this process may change the network of the host, or of the container that it is in.
pub(super) fn may_change_host() -> bool {
    let root = rustix::process::geteuid().is_root();
    root && capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

/// Where this user's networks are made. For one who may not change the host's network, this process becomes root of a user
/// namespace; it must have one thread.
pub(super) fn place() -> Result<Place, KeeperError> {
    if may_change_host() {
        return Ok(Place::Host);
    }
    own_users().map_err(|source| KeeperError::Namespace {
        what: "user",
        remedy: "see the sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone and \
                 kernel.apparmor_restrict_unprivileged_userns, or choose --network none",
        source,
    })?;
    Place::own().map_err(|source| KeeperError::Namespace {
        what: "network",
        remedy: "see the sysctls user.max_net_namespaces and kernel.apparmor_restrict_unprivileged_userns, or choose \
                 --network none",
        source,
    })
}

/// Makes a user namespace whose root this user is.
fn own_users() -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
    std::fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))
}

/// Gives up all rights but those that are needed to the end, in all threads, for programs that are started, too.
pub(super) fn drop(place: &Place) -> io::Result<()> {
    if place.is_own() {
        place.run(drop_here)??;
    }
    drop_here()
}

fn drop_here() -> io::Result<()> {
    set_no_new_privs(true)?;
    for capability in CapabilitySet::all().difference(KEPT).iter() {
        match remove_capability_from_bounding_set(capability) {
            // Known to this program and not to the kernel.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: none })?;
    Ok(())
}
