//! Changes of a container's limits (`docker update`).

use crate::container::cgroup;
use crate::files::Files;
use spec::launch::LimitsSpec;
use std::path::Path;
use std::rc::Rc;
use tokio::sync::oneshot;
use vdocker::stats::Update;
use vdocker::{Container, EngineError, task};

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

/// See [`vdocker::Engine::update`]. `group` is the folder of the container's control group.
///
/// Written by a thread: the kernel reclaims what is beyond a new limit of memory before it returns.
pub(super) async fn update(
    threads: &Files,
    group: &Path,
    container: &Rc<Container>,
    update: &Update,
) -> Result<Vec<String>, EngineError> {
    if update.memory.is_some_and(|memory| memory > 0 && memory < MIN_MEMORY) {
        return Err(EngineError::BadRequest("Minimum memory limit allowed is 6MB".to_owned()));
    }
    let (group, files) = (group.to_owned(), files(update));
    let written = threads.beside(move || {
        files.into_iter().try_for_each(|(file, value)| {
            std::fs::write(group.join(file), &value)
                .map_err(|error| format!("failed to write {value:?} to {file}: {error}"))
        })
    })?;
    let (container, update) = (Rc::clone(container), *update);
    // A task of its own: what is written holds also for a client that leaves meanwhile.
    let (tell, noted) = oneshot::channel();
    task::spawn(async move {
        let written = written.await.unwrap_or_else(|_| Err("the operation was lost".to_owned()));
        if written.is_ok() {
            container.state.send_modify(|state| note(&mut state.limits, &update));
        }
        let failed =
            |why| EngineError::BadRequest(format!("Cannot update container {}: {why}", container.id));
        let _nobody = tell.send(written.map_err(failed));
    });
    noted.await.unwrap_or_else(|_| Err(EngineError::Failed("the operation was lost".to_owned())))?;
    Ok(Vec::new())
}

fn note(limits: &mut LimitsSpec, update: &Update) {
    let some = |number: u64| (number > 0).then_some(number);
    limits.memory = update.memory.map_or(limits.memory, some);
    limits.pids = update.pids.map_or(limits.pids, some);
    limits.cpu_millis = update.cpu_millis.map_or(limits.cpu_millis, some);
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

    fn container() -> Rc<Container> {
        let spec = serde_json::from_value(serde_json::json!({
            "name": "web",
            "image": { "ref": "x", "digest": "", "disk": 0, "writable": "tmpfs" },
            "process": {
                "cmd": ["x"], "workdir": "/", "tty": false, "stdin": false,
                "capabilities": [], "stopSignal": 15, "stopTimeout": 10,
            },
            "hostname": "web",
            "shmSize": 0,
        }));
        Rc::new(Container {
            id: "0".repeat(64),
            index: 0,
            spec: spec.unwrap(),
            created: std::time::SystemTime::now(),
            state: tokio::sync::watch::Sender::default(),
            log: vdocker::Log::in_memory(),
        })
    }

    #[test]
    fn a_limit_that_takes_its_time_holds_up_nobody() {
        let group = tempfile::tempdir().unwrap();
        // A pipe takes what is written when somebody reads it, as the kernel takes a limit when it has made room.
        let file = group.path().join("memory.max");
        rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let (threads, container) = (Files::new(), container());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let wanted = Update { memory: Some(64 << 20), pids: None, cpu_millis: None, cpu_shares: None };
            let updating = update(&threads, group.path(), &container, &wanted);
            let meanwhile = async {
                assert_eq!(container.state.borrow().limits.memory, None);
                // What is done here is done while the limit is being written.
                std::fs::read_to_string(&file).unwrap()
            };
            let (updated, seen) = tokio::join!(biased; updating, meanwhile);
            assert_eq!((updated, seen.as_str()), (Ok(Vec::new()), "67108864"));
            assert_eq!(container.state.borrow().limits.memory, Some(64 << 20));
            let wanted = Update { pids: Some(5), ..wanted };
            let missing = update(&threads, &group.path().join("nothing"), &container, &wanted).await;
            assert!(matches!(missing, Err(EngineError::BadRequest(words)) if words.contains("memory.max")));
            assert_eq!(container.state.borrow().limits.pids, None);
        });
    }
}
