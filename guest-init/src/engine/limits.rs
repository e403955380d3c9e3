//! Changes of a container's limits (`docker update`).

use crate::container::cgroup;
use crate::member::Member;
use vdocker::stats::Update;
use vdocker::{Container, EngineError};

/// The least memory that Docker lets a container have, in bytes.
const MIN_MEMORY: u64 = 6 << 20;

/// The weight of `cpu.weight` for one of `--cpu-shares`, as runc maps it: 2 to 262144 becomes 1 to 10000.
const fn weight(shares: u64) -> u64 {
    let shares = if shares < 2 { 2 } else { shares };
    let shares = if shares > 262_144 { 262_144 } else { shares };
    1 + ((shares - 2) * 9999) / 262_142
}

/// The files that a change is written to.
fn files(update: &Update) -> Vec<(&'static str, String)> {
    let limit = |number: u64| if number == 0 { "max".to_owned() } else { number.to_string() };
    let files = [
        ("memory.max", update.memory.map(limit)),
        ("pids.max", update.pids.map(limit)),
        ("cpu.max", update.cpu_millis.map(cgroup::cpu_max)),
        // Docker's 0 is the kernel's default.
        (
            "cpu.weight",
            update.cpu_shares.map(|shares| if shares == 0 { 100 } else { weight(shares) }.to_string()),
        ),
    ];
    files.into_iter().filter_map(|(file, value)| Some((file, value?))).collect()
}

/// See [`vdocker::Engine::update`].
pub(super) fn update(
    member: &Member,
    container: &Container,
    update: &Update,
) -> Result<Vec<String>, EngineError> {
    if update.memory.is_some_and(|memory| memory > 0 && memory < MIN_MEMORY) {
        return Err(EngineError::BadRequest("Minimum memory limit allowed is 6MB".to_owned()));
    }
    for (file, value) in files(update) {
        member.cgroup.write(file, &value).map_err(|error| {
            EngineError::BadRequest(format!(
                "Cannot update container {}: failed to write {value:?} to {file}: {error}",
                container.id
            ))
        })?;
    }
    let some = |number: u64| (number > 0).then_some(number);
    container.state.send_modify(|state| {
        let limits = &mut state.limits;
        limits.memory = update.memory.map_or(limits.memory, some);
        limits.pids = update.pids.map_or(limits.pids, some);
        limits.cpu_millis = update.cpu_millis.map_or(limits.cpu_millis, some);
    });
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_become_the_kernels_files() {
        let update =
            Update { memory: Some(64 << 20), pids: Some(0), cpu_millis: Some(500), cpu_shares: Some(1024) };
        assert_eq!(
            files(&update),
            [
                ("memory.max", "67108864".to_owned()),
                ("pids.max", "max".to_owned()),
                ("cpu.max", "50000 100000".to_owned()),
                ("cpu.weight", "39".to_owned()),
            ]
        );
        assert_eq!(files(&Update::default()), []);
        assert_eq!(
            files(&Update { cpu_millis: Some(0), ..Update::default() }),
            [("cpu.max", "max 100000".to_owned())]
        );
    }

    #[test]
    fn shares_map_to_the_kernels_range() {
        assert_eq!((weight(0), weight(2), weight(262_144), weight(u64::MAX)), (1, 1, 10_000, 10_000));
    }
}
