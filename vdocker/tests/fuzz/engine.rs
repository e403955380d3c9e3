//! An engine with a container that runs and does nothing, whatever it is asked for: no request may reach the host.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::{Empty, Sink, empty, sink};
use tokio::sync::{mpsc, oneshot, watch};
use vdocker::archive::{Change, ChangeKind, Chunks, PathStat, WriteOptions};
use vdocker::engine::{StopOptions, System, TerminalSize};
use vdocker::events::Events;
use vdocker::exec::{ExecError, ExecProcess, ExecSpec};
use vdocker::log::Stream;
use vdocker::stats::{ProcessRow, ProcessTable, Sample, Update};
use vdocker::{Container, ContainerState, Engine, EngineError, Log, Status, Verb};

pub(crate) struct IdleEngine {
    containers: Vec<Rc<Container>>,
    guest: Rc<Container>,
    events: Events,
    readings: Cell<u64>,
}

impl IdleEngine {
    pub(crate) fn new() -> Self {
        Self {
            containers: vec![container("web", 0)],
            guest: container("cradle", 1),
            events: Events::default(),
            readings: Cell::new(0),
        }
    }
}

fn container(name: &str, index: usize) -> Rc<Container> {
    let spec = serde_json::from_value(serde_json::json!({
        "name": name,
        "image": { "ref": "busybox", "digest": "", "disk": 0, "writable": "tmpfs" },
        "process": {
            "cmd": ["sh"], "workdir": "/", "tty": false, "stdin": true,
            "capabilities": [], "stopSignal": 15, "stopTimeout": 10,
        },
        "hostname": name,
        "labels": { "tier": "front" },
        "shmSize": 0,
    }));
    let state = ContainerState { status: Status::Running, pid: 7, ..ContainerState::default() };
    let log = Log::in_memory();
    log.push(Stream::Stdout, Bytes::from_static(b"one\ntwo\nthr"));
    log.push(Stream::Stderr, Bytes::from_static(b"error\n"));
    Rc::new(Container {
        id: format!("{index:x}a").repeat(32),
        index,
        spec: spec.expect("the specification is complete"),
        created: SystemTime::UNIX_EPOCH,
        state: watch::Sender::new(state),
        log,
    })
}

fn chunks(pieces: &[&'static [u8]]) -> Chunks {
    let (sender, chunks) = mpsc::channel(pieces.len());
    for piece in pieces {
        // There is room for all of them.
        let _sent = sender.try_send(Ok::<_, io::Error>(Bytes::from_static(piece)));
    }
    chunks
}

fn stat_of(path: &str) -> PathStat {
    PathStat {
        name: path.rsplit('/').next().unwrap_or_default().to_owned(),
        size: path.len() as u64,
        mode: 0o644,
        mtime: SystemTime::UNIX_EPOCH,
        link_target: String::new(),
    }
}

impl Engine for IdleEngine {
    type Input = Sink;
    type Output = Empty;

    fn permit(&self, verb: Verb, _container: Option<&Container>) -> Result<(), EngineError> {
        match verb {
            Verb::Restart => Err(EngineError::Denied("not for you".into())),
            _ => Ok(()),
        }
    }

    fn system(&self) -> System {
        System::default()
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

    async fn start(&self, _container: &Container) -> Result<(), EngineError> {
        Err(EngineError::NotModified)
    }

    async fn stop(&self, _container: &Container, options: StopOptions) -> Result<(), EngineError> {
        tokio::time::sleep(options.grace.flatten().unwrap_or_default().min(Duration::from_secs(60))).await;
        Ok(())
    }

    async fn restart(&self, _container: &Container, _options: StopOptions) -> Result<(), EngineError> {
        Ok(())
    }

    fn kill(&self, _container: &Container, _signal: u32) -> Result<(), EngineError> {
        Ok(())
    }

    async fn pause(&self, _container: &Container, _frozen: bool) -> Result<(), EngineError> {
        Err(EngineError::Conflict("it is so already".into()))
    }

    fn resize(&self, _container: &Container, _size: TerminalSize) -> Result<(), EngineError> {
        Ok(())
    }

    async fn update(&self, _container: &Container, _update: &Update) -> Result<Vec<String>, EngineError> {
        Ok(vec!["a warning".into()])
    }

    fn stdin(&self, _container: &Container) -> Result<Sink, EngineError> {
        Ok(sink())
    }

    fn top(&self, _container: &Container) -> Result<ProcessTable, EngineError> {
        Ok(ProcessTable { rows: vec![ProcessRow { state: 'S', ..ProcessRow::default() }] })
    }

    fn stats(&self, _container: &Container) -> Result<Sample, EngineError> {
        self.readings.set(self.readings.get() + 1);
        Ok(Sample { cpu_total: self.readings.get(), ..Sample::default() })
    }

    fn exec(
        &self,
        _container: &Container,
        spec: &ExecSpec,
    ) -> Result<impl Future<Output = Result<ExecProcess<Sink, Empty>, ExecError>> + 'static, EngineError>
    {
        if spec.privileged {
            return Err(EngineError::Conflict("it has just ended".into()));
        }
        let ExecSpec { cmd, stdin, tty, .. } = spec.clone();
        Ok(async move {
            if cmd.len() > 1 {
                return Err(ExecError { code: 127, message: "executable file not found in $PATH".into() });
            }
            let (exit, code) = oneshot::channel();
            // The receiver is in our hand.
            let _sent = exit.send(3);
            Ok(ExecProcess {
                pid: 8,
                stdin: stdin.then(sink),
                stdout: empty(),
                stderr: (!tty).then(empty),
                resize: Box::new(|_size| {}),
                kill: Box::new(|| {}),
                exit: code,
            })
        })
    }

    async fn stat(&self, _container: &Container, path: &str) -> Result<PathStat, EngineError> {
        Ok(stat_of(path))
    }

    async fn read_archive(
        &self,
        _container: &Container,
        path: &str,
    ) -> Result<(PathStat, Chunks), EngineError> {
        Ok((stat_of(path), chunks(&[b"some", b"bytes"])))
    }

    async fn write_archive(
        &self,
        _container: &Container,
        _path: &str,
        _options: WriteOptions,
        mut archive: Chunks,
    ) -> Result<(), EngineError> {
        while let Some(chunk) = archive.recv().await {
            chunk.map_err(|error| EngineError::BadRequest(error.to_string()))?;
        }
        Ok(())
    }

    async fn changes(&self, _container: &Container) -> Result<Vec<Change>, EngineError> {
        Ok(vec![Change { path: "/tmp".into(), kind: ChangeKind::Modified }])
    }

    async fn export(&self, _container: &Container) -> Result<Chunks, EngineError> {
        Ok(chunks(&[b"all"]))
    }

    async fn layer(&self, _container: &Container) -> Result<Chunks, EngineError> {
        Ok(chunks(&[b"layer"]))
    }

    async fn disk_usage(&self, _container: &Container) -> Result<(u64, u64), EngineError> {
        Ok((1, 2))
    }

    fn shutdown(&self, _reason: &str, _grace: Option<Duration>) {}
}
