//! The pod as its Docker API sees it: [`vdocker::Engine`] over [`Pod`].

mod exec;
mod limits;

use crate::container::terminal;
use crate::files::{Files, Layers, Place, Subject};
use crate::lifecycle::Refused;
use crate::member::Member;
use crate::output::Output;
use crate::pod::Pod;
use crate::stdin::Stdin;
use crate::{kmsg, processes, stats};
use rustix::process::PidfdFlags;
use std::cell::OnceCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use vdocker::archive::{Change, Chunks, PathStat, WriteOptions};
use vdocker::engine::{StopOptions, System, TerminalSize};
use vdocker::events::Events;
use vdocker::exec::{ExecError, ExecProcess, ExecSpec};
use vdocker::stats::{ProcessTable, Sample, Update};
use vdocker::{Container, ContainerState, EngineError, Status, Verb};

/// The pod's engine.
pub(crate) struct Engine {
    pod: Rc<Pod>,
    containers: Vec<Rc<Container>>,
    guest: OnceCell<Rc<Container>>,
    files: Files,
}

/// A container whose processes are being frozen: they go on where nobody waits for that any more, or it has ended.
struct Freezing<'a>(&'a Member);

impl Drop for Freezing<'_> {
    fn drop(&mut self) {
        if self.0.model.state.borrow().status != Status::Paused {
            // A group whose processes have all ended is not frozen.
            let _gone = self.0.cgroup.write("cgroup.freeze", "0");
        }
    }
}

impl Engine {
    /// An engine of that pod.
    pub(crate) fn new(pod: Rc<Pod>) -> Self {
        let containers = pod.members.iter().map(|member| Rc::clone(&member.model)).collect();
        Self { pod, containers, guest: OnceCell::new(), files: Files::new() }
    }

    /// Makes what only clients need.
    pub(crate) fn prepare(&self) {
        self.pod.disks.make_logs();
    }

    /// Ends what is done to containers' files; whether that has ended.
    pub(crate) async fn end(&self) -> bool {
        self.files.end().await
    }

    /// What the pod knows of a container.
    fn member(&self, container: &Container) -> Result<&Member, EngineError> {
        let guest = || EngineError::Conflict("the pod's guest itself is not a container".to_owned());
        self.pod.members.get(container.index).ok_or_else(guest)
    }

    /// What the pod knows of a container that has a process.
    fn running(&self, container: &Container) -> Result<&Member, EngineError> {
        let member = self.member(container)?;
        match container.state.borrow().is_running() {
            true => Ok(member),
            false => Err(EngineError::Conflict(format!("container {} is not running", container.id))),
        }
    }

    /// Where a container's files are now.
    fn subject(&self, container: &Container) -> Result<Subject, EngineError> {
        let member = self.member(container)?;
        let running = member.running.borrow();
        let namespace = running
            .as_ref()
            .filter(|running| self.pod.reaper.has(running.pid) && container.state.borrow().is_running())
            .map(|running| rustix::process::pidfd_open(running.pid, PidfdFlags::empty()))
            .transpose()
            .map_err(|error| EngineError::Failed(error.to_string()))?;
        let disks = self.pod.disks;
        let place = Place::of(&container.spec, &disks.trees[container.index], &disks.volumes, namespace);
        Ok(Subject { name: container.spec.name.clone(), place })
    }

    /// Where a container's image and its own files lie apart.
    fn layers(&self, container: &Container) -> Result<Layers, EngineError> {
        self.member(container)?;
        Ok(self.pod.disks.trees[container.index].layers.clone())
    }
}

fn refused(container: &Container, why: Refused) -> EngineError {
    match why {
        Refused::Already => EngineError::NotModified,
        Refused::Waits => EngineError::Conflict(format!(
            "container {} starts by itself once those before it have ended",
            container.id
        )),
        Refused::Ending => EngineError::Conflict("the pod is about to end".to_owned()),
    }
}

/// Waits until a container that was started runs, or could not be.
async fn started(container: &Container, exits: u64) -> Result<(), EngineError> {
    let mut changes = container.state.subscribe();
    // The sender lives as long as the container.
    let Ok(state) =
        changes.wait_for(|state| state.is_running() || state.exits != exits || state.removed).await
    else {
        return Ok(());
    };
    match state.error.as_str() {
        "" => Ok(()),
        error if state.is_running() => Err(EngineError::Failed(error.to_owned())),
        error => Err(EngineError::BadRequest(error.to_owned())),
    }
}

impl vdocker::Engine for Engine {
    type Input = Stdin;
    type Output = Output;

    fn permit(&self, verb: Verb, container: Option<&Container>) -> Result<(), EngineError> {
        let Some(container) = container.filter(|_| self.pod.spec.hold) else { return Ok(()) };
        match verb {
            Verb::Attach | Verb::Exec | Verb::ExecPrivileged | Verb::Restart | Verb::Start => {
                let why = "its pod was started for its files and logs alone";
                Err(EngineError::Conflict(format!("container {} is not running: {why}", container.id)))
            }
            _ => Ok(()),
        }
    }

    fn system(&self) -> System {
        let uname = rustix::system::uname();
        let info = rustix::system::sysinfo();
        let hostname = self.pod.spec.containers.first().map(|first| first.hostname.clone());
        System {
            id: self.pod.spec.id.clone(),
            hostname: hostname.unwrap_or_default(),
            kernel: uname.release().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: info.totalram * u64::from(info.mem_unit),
            booted: Some(kmsg::booted()),
        }
    }

    fn containers(&self) -> &[Rc<Container>] {
        &self.containers
    }

    fn guest(&self) -> Rc<Container> {
        Rc::clone(self.guest.get_or_init(|| kmsg::guest(self.pod.spec)))
    }

    fn events(&self) -> &Events {
        &self.pod.events
    }

    async fn start(&self, container: &Container) -> Result<(), EngineError> {
        self.member(container)?;
        let exits = container.state.borrow().exits;
        self.pod.start_one(container.index).map_err(|why| refused(container, why))?;
        started(container, exits).await
    }

    async fn stop(&self, container: &Container, options: StopOptions) -> Result<(), EngineError> {
        self.member(container)?;
        let exits = container.state.borrow().exits;
        let StopOptions { signal, grace } = options;
        self.pod.stop_one(container.index, signal, grace, false).map_err(|why| refused(container, why))?;
        let mut changes = container.state.subscribe();
        let stopped = |state: &ContainerState| {
            !state.is_running() && (state.exits != exits || state.pid == 0) || state.removed
        };
        // The sender lives as long as the container.
        let _stopped = changes.wait_for(stopped).await;
        Ok(())
    }

    async fn restart(&self, container: &Container, options: StopOptions) -> Result<(), EngineError> {
        self.member(container)?;
        let before = container.state.borrow().clone();
        let StopOptions { signal, grace } = options;
        self.pod.stop_one(container.index, signal, grace, true).map_err(|why| refused(container, why))?;
        let mut exits = before.exits;
        if before.is_running() {
            let mut changes = container.state.subscribe();
            // The sender lives as long as the container.
            let ended = changes.wait_for(|state| state.exits != exits || state.removed).await;
            exits = ended.map_or(exits, |state| state.exits);
        }
        started(container, exits).await
    }

    fn kill(&self, container: &Container, signal: u32) -> Result<(), EngineError> {
        if container.index >= self.containers.len() {
            let grace = (signal == libc::SIGKILL.unsigned_abs()).then_some(Duration::ZERO);
            self.shutdown("killed through the API", grace);
            return Ok(());
        }
        self.running(container)?;
        self.pod.kill_one(container.index, signal);
        Ok(())
    }

    async fn pause(&self, container: &Container, frozen: bool) -> Result<(), EngineError> {
        let member = self.running(container)?;
        let (is, should) = match frozen {
            true => (Status::Running, Status::Paused),
            false => (Status::Paused, Status::Running),
        };
        if container.state.borrow().status != is {
            let word = if frozen { "is already" } else { "is not" };
            return Err(EngineError::Conflict(format!("Container {} {word} paused", container.id)));
        }
        let exits = container.state.borrow().exits;
        let _unless_paused = Freezing(member);
        if let Err(error) = member.cgroup.freeze(frozen).await {
            return Err(EngineError::Failed(format!("Cannot pause container {}: {error}", container.id)));
        }
        container.state.send_if_modified(|state| {
            let same = state.exits == exits && state.is_running();
            if same {
                state.status = should;
            }
            same
        });
        Ok(())
    }

    fn resize(&self, container: &Container, size: TerminalSize) -> Result<(), EngineError> {
        self.running(container)?.resize(terminal::size_of(size));
        Ok(())
    }

    async fn update(&self, container: &Container, update: &Update) -> Result<Vec<String>, EngineError> {
        let member = self.member(container)?;
        limits::update(&self.files, member.cgroup.path(), &member.model, update).await
    }

    fn stdin(&self, container: &Container) -> Result<Self::Input, EngineError> {
        let member = self.member(container)?;
        let process = &member.spec.process;
        Ok(match process.stdin {
            true => Stdin::Shared { input: Rc::clone(&member.input), terminal: process.tty },
            false => Stdin::Nowhere,
        })
    }

    fn top(&self, container: &Container) -> Result<ProcessTable, EngineError> {
        match self.pod.members.get(container.index) {
            Some(_) => Ok(processes::of_pids(self.running(container)?.cgroup.pids())),
            None => Ok(processes::all()),
        }
    }

    fn stats(&self, container: &Container) -> Result<Sample, EngineError> {
        Ok(match self.pod.members.get(container.index) {
            Some(member) if container.state.borrow().is_running() => stats::of(&member.cgroup),
            Some(_) => Sample { read: Some(SystemTime::now()), ..Sample::default() },
            None => stats::of_guest(),
        })
    }

    fn exec(
        &self,
        container: &Container,
        spec: &ExecSpec,
    ) -> Result<impl Future<Output = Result<ExecProcess<Stdin, Output>, ExecError>> + 'static, EngineError>
    {
        exec::run(&self.pod, container, spec)
    }

    async fn stat(&self, container: &Container, path: &str) -> Result<PathStat, EngineError> {
        self.files.stat(self.subject(container)?, path).await
    }

    async fn read_archive(
        &self,
        container: &Container,
        path: &str,
    ) -> Result<(PathStat, Chunks), EngineError> {
        self.files.read(self.subject(container)?, path).await
    }

    async fn write_archive(
        &self,
        container: &Container,
        path: &str,
        options: WriteOptions,
        archive: Chunks,
    ) -> Result<(), EngineError> {
        let user = &container.spec.process.user;
        self.files.write(self.subject(container)?, user, path, options, archive).await
    }

    async fn changes(&self, container: &Container) -> Result<Vec<Change>, EngineError> {
        self.files.changes(self.layers(container)?).await
    }

    async fn export(&self, container: &Container) -> Result<Chunks, EngineError> {
        self.member(container)?;
        self.files.export(PathBuf::from(&self.pod.disks.trees[container.index].root))
    }

    async fn layer(&self, container: &Container) -> Result<Chunks, EngineError> {
        let mounts = container.spec.mounts.iter().map(|mount| mount.guest_path.clone()).collect();
        self.files.layer(self.layers(container)?, mounts)
    }

    async fn disk_usage(&self, container: &Container) -> Result<(u64, u64), EngineError> {
        self.files.disk_usage(self.layers(container)?).await
    }

    fn shutdown(&self, reason: &str, grace: Option<Duration>) {
        self.pod.stop(grace, reason);
    }
}
