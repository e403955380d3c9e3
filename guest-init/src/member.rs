//! A container at run time: what belongs to it for as long as the pod lives, and its state as the pod's API sees it.

use crate::container::cgroup::{Cgroup, CgroupError};
use crate::disks::Disks;
use crate::input::Input;
use crate::mountfd::MountFd;
use rustix::fd::OwnedFd;
use rustix::process::Pid;
use rustix::termios::Winsize;
use spec::{ContainerExit, ContainerSpec, LaunchSpec};
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use vdocker::events::{Event, Events};
use vdocker::log::LogLimits;
use vdocker::{Container, ContainerState, Log, Status, health};

/// The part of the writable disk that the logs of all containers may take: one in so many bytes.
const LOG_SHARE: u64 = 8;

/// A container at run time.
pub(crate) struct Member {
    pub(crate) spec: &'static ContainerSpec,
    /// As the pod's API sees it.
    pub(crate) model: Rc<Container>,
    pub(crate) input: Rc<Input>,
    pub(crate) cgroup: Cgroup,
    pub(crate) running: RefCell<Option<Running>>,
    pub(crate) size: Cell<Winsize>,
    /// Whether its log has anything of this run of the pod: a log that has not is left alone, on disk too.
    pub(crate) wrote: Cell<bool>,
    /// In place of its own stop signal, for one stop.
    pub(crate) stop_signal: Cell<Option<u32>>,
    pub(crate) last: RefCell<Option<ContainerExit>>,
    /// Programs that clients have run in it and that have not ended.
    pub(crate) execs: Rc<Cell<usize>>,
}

/// The first process of a container, and what came with it.
pub(crate) struct Running {
    pub(crate) pid: Pid,
    /// Signals that came while the process was being set up, when it would have ignored them; `None` after.
    pub(crate) held: Option<Vec<u32>>,
    pub(crate) terminal: Option<OwnedFd>,
    /// The container's terminals.
    pub(crate) devpts: MountFd,
}

impl Member {
    /// A container that has not been started.
    ///
    /// # Errors
    /// A control group that cannot be made.
    pub(crate) fn new(pod: &'static LaunchSpec, index: usize, disks: &Disks) -> Result<Self, CgroupError> {
        let spec = &pod.containers[index];
        let state = ContainerState {
            status: if pod.hold && has_run(spec, index, disks) { Status::Exited } else { Status::Created },
            limits: spec.limits.clone(),
            health: health::initial(spec),
            ..ContainerState::default()
        };
        let log = disks.logs.as_ref().map_or_else(Log::in_memory, |logs| {
            Log::on_disk(logs.join(&spec.name), limits(logs, pod.containers.len()))
        });
        let model = Container {
            id: pod.container_id(index),
            index,
            spec: spec.clone(),
            created: SystemTime::now(),
            state: watch::Sender::new(state),
            log,
        };
        Ok(Self {
            spec,
            model: Rc::new(model),
            input: Rc::default(),
            cgroup: Cgroup::create(&spec.name, &spec.limits)?,
            running: RefCell::new(None),
            size: Cell::new(Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 }),
            wrote: Cell::new(false),
            stop_signal: Cell::new(None),
            last: RefCell::new(None),
            execs: Rc::default(),
        })
    }

    /// Sets the size of its terminal, now and for later starts.
    pub(crate) fn resize(&self, size: Winsize) {
        self.size.set(size);
        if let Some(terminal) = self.running.borrow().as_ref().and_then(|running| running.terminal.as_ref()) {
            // A terminal whose other side is closed has no use for a size.
            let _closed = rustix::termios::tcsetwinsize(terminal, size);
        }
    }

    /// Lets its processes go on where they are frozen.
    pub(crate) fn thaw(&self) {
        if self.model.state.borrow().status == Status::Paused {
            // A group whose processes have all ended is not frozen.
            let _gone = self.cgroup.write("cgroup.freeze", "0");
            self.model.state.send_modify(|state| state.status = Status::Running);
        }
    }

    /// Notes that its program runs.
    pub(crate) fn has_started(&self, pid: u32, restarts: u32, events: &Events) {
        self.model.state.send_modify(|state| {
            state.status = Status::Running;
            state.pid = pid;
            state.exit_code = 0;
            state.error.clear();
            state.oom_killed = false;
            state.started = Some(SystemTime::now());
            state.restarts = restarts;
            state.health = health::initial(self.spec);
        });
        events.push(Event::now(&self.model, "start", &[]));
    }

    /// Notes that it has ended, or could not be started.
    pub(crate) fn has_ended(&self, exit: &ContainerExit, restarts_later: bool, events: &Events) {
        let mut duration = None;
        let now = SystemTime::now();
        self.model.state.send_modify(|state| duration = end(state, exit, restarts_later, now));
        if exit.oom_killed {
            events.push(Event::now(&self.model, "oom", &[]));
        }
        if let Some(duration) = duration {
            let (code, duration) = (exit.code.to_string(), duration.as_secs().to_string());
            let more = [("execDuration", duration.as_str()), ("exitCode", code.as_str())];
            events.push(Event::now(&self.model, "die", &more));
        }
    }
}

/// Whether the disk tells of an earlier run: by the container's tree, or by its log where that is not kept.
fn has_run(spec: &ContainerSpec, index: usize, disks: &Disks) -> bool {
    let log = disks.logs.as_ref().map(|logs| logs.join(format!("{}.0", spec.name)));
    disks.trees[index].ran || log.is_some_and(|log| log.exists())
}

/// Takes an end into a container's state. How long it ran; `None` where its program was not executed, which leaves the
/// times of the run before.
fn end(
    state: &mut ContainerState,
    exit: &ContainerExit,
    restarts_later: bool,
    now: SystemTime,
) -> Option<Duration> {
    state.status = if restarts_later { Status::Restarting } else { state.at_rest() };
    state.pid = 0;
    state.exit_code = exit.code;
    state.error = exit.error.as_deref().map_or_else(String::new, start_failed);
    state.oom_killed = exit.oom_killed;
    state.exits += 1;
    exit.error.is_none().then(|| {
        state.finished = Some(now);
        state.started.and_then(|started| now.duration_since(started).ok()).unwrap_or_default()
    })
}

/// What Docker says of a container whose program cannot be executed.
fn start_failed(cause: &str) -> String {
    format!(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create \
         failed: unable to start container process: error during container init: {cause}: unknown"
    )
}

/// What one of so many containers may write to its log.
fn limits(logs: &Path, containers: usize) -> LogLimits {
    match rustix::fs::statvfs(logs.parent().unwrap_or(logs)) {
        Ok(disk) => LogLimits::within(disk.f_blocks * disk.f_frsize / LOG_SHARE / containers as u64),
        Err(_) => LogLimits::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ran_has_not_ended() {
        let now = SystemTime::now();
        let failed = ContainerExit { code: 127, error: Some("no".into()), ..ContainerExit::default() };
        let mut state = ContainerState::default();
        assert_eq!(end(&mut state, &failed, true, now), None);
        assert_eq!((state.status, state.exits), (Status::Restarting, 1));
        assert_eq!(end(&mut state, &failed, false, now), None);
        assert_eq!((state.status, state.exit_code, state.finished), (Status::Created, 127, None));
        assert!(state.error.ends_with("container init: no: unknown"), "{}", state.error);

        (state.started, state.status) = (Some(now - Duration::from_secs(3)), Status::Running);
        let exit = ContainerExit { code: 5, ..ContainerExit::default() };
        assert_eq!(end(&mut state, &exit, false, now), Some(Duration::from_secs(3)));
        assert_eq!((state.status, state.exit_code, state.finished), (Status::Exited, 5, Some(now)));
        assert_eq!(state.error, "");

        // The next start fails: the run before has ended as it did.
        assert_eq!(end(&mut state, &failed, false, now + Duration::from_secs(9)), None);
        assert_eq!((state.status, state.exit_code, state.finished), (Status::Exited, 127, Some(now)));
    }
}
