//! An engine whose containers are processes of the host and folders of a temporary directory: what the API needs,
//! without a machine. It isolates nothing.

mod files;
mod lifecycle;
pub(crate) mod process;
mod pty;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use spec::ContainerSpec;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use vdocker::archive::{Change, Chunks, PathStat, WriteOptions};
use vdocker::engine::{StopOptions, System, TerminalSize};
use vdocker::events::Events;
use vdocker::exec::{ExecError, ExecProcess, ExecSpec};
use vdocker::log::LogLimits;
use vdocker::stats::{ProcessRow, ProcessTable, Sample, Update};
use vdocker::{Container, ContainerState, Engine, EngineError, Log, Verb, health};

use lifecycle::Run;

pub(crate) type Input = Box<dyn AsyncWrite + Unpin>;
pub(crate) type Output = Box<dyn AsyncRead + Unpin>;

/// The engine.
pub(crate) struct FakeEngine {
    containers: Vec<Rc<Container>>,
    guest: Rc<Container>,
    events: Rc<Events>,
    /// The container's process while it runs, by index.
    runs: Rc<RefCell<Vec<Option<Run>>>>,
    files: TempDir,
    denied: Vec<Verb>,
    /// Lets a program start that is held up.
    pub(crate) held_up: Rc<Notify>,
    /// How often usage was read: each reading finds more of it.
    readings: Cell<u64>,
    /// The reason of a shutdown.
    pub(crate) ending: watch::Sender<Option<String>>,
}

impl FakeEngine {
    /// An engine with those containers, none of them started.
    pub(crate) fn new(specs: Vec<ContainerSpec>, denied: Vec<Verb>) -> Self {
        let count = specs.len();
        let guest = serde_json::from_value(crate::pod::spec_json("cradle", &["init"])).unwrap();
        let files = tempfile::tempdir().unwrap();
        for index in 0..count {
            std::fs::create_dir(files.path().join(index.to_string())).unwrap();
        }
        Self {
            containers: specs
                .into_iter()
                .enumerate()
                .map(|(index, spec)| container(index, spec, files.path()))
                .collect(),
            guest: container(count, guest, files.path()),
            events: Rc::default(),
            runs: Rc::new(RefCell::new((0..count).map(|_| None).collect())),
            files,
            denied,
            held_up: Rc::default(),
            readings: Cell::new(0),
            ending: watch::Sender::new(None),
        }
    }

    /// A container's file tree.
    fn root(&self, container: &Container) -> PathBuf {
        self.files.path().join(container.index.to_string())
    }

    fn pid(&self, container: &Container) -> Result<u32, EngineError> {
        let runs = self.runs.borrow();
        let run = runs.get(container.index).and_then(Option::as_ref);
        run.map(|run| run.pid)
            .ok_or_else(|| EngineError::Conflict(format!("container {} is not running", container.id)))
    }
}

/// Ids that share no beginning.
fn container(index: usize, spec: ContainerSpec, files: &Path) -> Rc<Container> {
    let limits = spec.limits.clone();
    let state = ContainerState { limits, health: health::initial(&spec), ..ContainerState::default() };
    Rc::new(Container {
        id: format!("{index:x}").repeat(64),
        index,
        spec,
        created: SystemTime::now(),
        state: watch::Sender::new(state),
        log: Log::on_disk(files.join(format!("log-{index}")), LogLimits::default()),
    })
}

impl Engine for FakeEngine {
    type Input = Input;
    type Output = Output;

    fn permit(&self, verb: Verb, _container: Option<&Container>) -> Result<(), EngineError> {
        match self.denied.contains(&verb) {
            true => Err(EngineError::Denied(format!("{verb:?} is not for you"))),
            false => Ok(()),
        }
    }

    fn system(&self) -> System {
        System {
            id: "5e".repeat(32),
            hostname: "pod".into(),
            kernel: "6.12.0-fake".into(),
            cpus: 2,
            memory: 512 << 20,
            booted: Some(SystemTime::now()),
        }
    }

    fn containers(&self) -> &[Rc<Container>] {
        &self.containers
    }

    fn guest(&self) -> Rc<Container> {
        Rc::clone(&self.guest)
    }

    fn events(&self) -> &Events {
        &self.events
    }

    async fn start(&self, container: &Container) -> Result<(), EngineError> {
        self.start_process(container)
    }

    async fn stop(&self, container: &Container, options: StopOptions) -> Result<(), EngineError> {
        self.stop_process(container, options).await
    }

    async fn restart(&self, container: &Container, options: StopOptions) -> Result<(), EngineError> {
        match self.stop_process(container, options).await {
            Ok(()) | Err(EngineError::NotModified) => self.start_process(container),
            Err(error) => Err(error),
        }
    }

    fn kill(&self, container: &Container, signal: u32) -> Result<(), EngineError> {
        if container.index == self.containers.len() {
            self.shutdown("killed", None);
            return Ok(());
        }
        process::signal(self.pid(container)?, signal);
        Ok(())
    }

    async fn pause(&self, container: &Container, frozen: bool) -> Result<(), EngineError> {
        self.freeze(container, frozen)
    }

    fn resize(&self, container: &Container, size: TerminalSize) -> Result<(), EngineError> {
        self.pid(container)?;
        if let Some(pty) = self.runs.borrow()[container.index].as_ref().and_then(|run| run.pty.as_ref()) {
            pty.resize(size);
        }
        Ok(())
    }

    async fn update(&self, container: &Container, update: &Update) -> Result<Vec<String>, EngineError> {
        self.pid(container)?;
        if update.memory.is_some_and(|bytes| bytes < 6 << 20) {
            return Err(EngineError::BadRequest("Minimum memory limit allowed is 6MB".into()));
        }
        container.state.send_modify(|state| {
            let limits = &mut state.limits;
            limits.memory = update.memory.or(limits.memory);
            limits.pids = update.pids.or(limits.pids).filter(|&pids| pids > 0);
            limits.cpu_millis = update.cpu_millis.or(limits.cpu_millis).filter(|&millis| millis > 0);
        });
        Ok(Vec::new())
    }

    fn stdin(&self, container: &Container) -> Result<Self::Input, EngineError> {
        self.pid(container)?;
        let runs = self.runs.borrow();
        let stdin = runs[container.index].as_ref().and_then(|run| run.stdin.as_ref());
        Ok(stdin.map_or_else(|| Box::new(tokio::io::sink()) as Input, |stdin| Box::new(stdin.clone())))
    }

    fn top(&self, container: &Container) -> Result<ProcessTable, EngineError> {
        let pid = self.pid(container)?;
        let row = ProcessRow {
            pid,
            ppid: 1,
            started: container.state.borrow().started,
            tty: "?".into(),
            state: 'S',
            rss_kib: 1024,
            vsz_kib: 4096,
            name: container.spec.process.cmd[0].clone(),
            command: container.spec.process.cmd.join(" "),
            ..ProcessRow::default()
        };
        Ok(ProcessTable { rows: vec![row] })
    }

    /// From one reading to the next a tenth of both vCPUs is used for a second.
    fn stats(&self, _container: &Container) -> Result<Sample, EngineError> {
        let reading = self.readings.get() + 1;
        self.readings.set(reading);
        Ok(Sample {
            read: Some(SystemTime::now()),
            cpu_total: reading * 100_000_000,
            cpu_user: reading * 90_000_000,
            cpu_system: reading * 10_000_000,
            guest_cpu_total: reading * 2_000_000_000,
            cpus: 2,
            memory: 10 << 20,
            memory_limit: 64 << 20,
            memory_stat: vec![("inactive_file".into(), 2 << 20), ("anon".into(), 8 << 20)],
            pids: 3,
            io: vec![vdocker::stats::IoSample {
                device: (254, 0),
                read_bytes: 1_000_000,
                write_bytes: 2_000_000,
                reads: 10,
                writes: 20,
            }],
            ..Sample::default()
        })
    }

    /// A program named `held-up` is started when the test lets it: what it is to run are its arguments.
    fn exec(
        &self,
        container: &Container,
        spec: &ExecSpec,
    ) -> Result<impl Future<Output = Result<ExecProcess<Input, Output>, ExecError>> + 'static, EngineError>
    {
        self.pid(container)?;
        let (root, mut spec) = (self.root(container), spec.clone());
        let held_up = (spec.cmd[0] == "held-up").then(|| Rc::clone(&self.held_up));
        Ok(async move {
            if let Some(held_up) = held_up {
                held_up.notified().await;
                spec.cmd.remove(0);
            }
            process::exec(&root, &spec)
        })
    }

    async fn stat(&self, container: &Container, path: &str) -> Result<PathStat, EngineError> {
        files::stat(&self.root(container), path)
    }

    async fn read_archive(
        &self,
        container: &Container,
        path: &str,
    ) -> Result<(PathStat, Chunks), EngineError> {
        let root = self.root(container);
        Ok((files::stat(&root, path)?, files::pack(&root, path)?))
    }

    async fn write_archive(
        &self,
        container: &Container,
        path: &str,
        _options: WriteOptions,
        archive: Chunks,
    ) -> Result<(), EngineError> {
        files::unpack(&self.root(container), path, archive).await
    }

    async fn changes(&self, container: &Container) -> Result<Vec<Change>, EngineError> {
        Ok(files::changes(&self.root(container)))
    }

    async fn export(&self, container: &Container) -> Result<Chunks, EngineError> {
        files::pack(&self.root(container), "/")
    }

    async fn layer(&self, container: &Container) -> Result<Chunks, EngineError> {
        files::pack(&self.root(container), "/")
    }

    async fn disk_usage(&self, _container: &Container) -> Result<(u64, u64), EngineError> {
        Ok((1_000, 5_000_000))
    }

    fn shutdown(&self, reason: &str, _grace: Option<Duration>) {
        self.ending.send_replace(Some(reason.to_owned()));
    }
}
