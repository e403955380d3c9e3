//! What the pod of an SNP guest cannot have: all that the host could read or change behind the guest's back, unless the pod
//! file says that this is known. Said before anything is fetched.

use pod::mount::Wish;

use super::plan::{ContainerPlan, DEFAULT_DISK, Plan};
use crate::failure::Failure;

/// Refuses the first of it.
///
/// # Errors
/// What it is, and what to do.
pub(super) fn check(plan: &Plan) -> Result<(), Failure> {
    if plan.disk_size != DEFAULT_DISK {
        return Err(Failure::new(
            "an SNP guest has no writable disk: what its containers write stays in memory",
        )
        .hint("leave out the disk's size, and give the pod more --memory"));
    }
    plan.containers.iter().try_for_each(|container| check_container(plan, container))
}

fn check_container(plan: &Plan, container: &ContainerPlan) -> Result<(), Failure> {
    for (target, wish) in &container.mounts {
        let what = match wish {
            Wish::Tmpfs(_) => continue,
            Wish::Bind(bind) => format!("{} of the host", bind.source.display()),
            Wish::Volume(wish) => match &wish.name {
                // One of the container's own is in memory.
                None => continue,
                Some(name) if plan.devices.contains_key(name) => format!("the host's disk {name}"),
                Some(_) if wish.untrusted => continue,
                Some(name) => format!("the volume {name}"),
            },
        };
        let name = &container.overrides.name;
        return Err(Failure::new(format!(
            "container \"{name}\" has {what} at {target}: the host could read and change it behind an SNP guest's back"
        ))
        .hint(
            "leave it out, or in a pod file name a volume that is a directory of the host, with `untrusted: true` in its \
             volumeMounts",
        ));
    }
    Ok(())
}
