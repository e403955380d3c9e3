//! Starting and ending the fake engine's processes, and what the API is told of it. A container that is to be restarted
//! waits for its restart for ever.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use vdocker::engine::StopOptions;
use vdocker::events::Event;
use vdocker::log::Stream;
use vdocker::{Container, ContainerState, Engine, EngineError, Status, health};

use super::process::{self, SharedInput, Spawned, Wanted};
use super::pty::Pty;
use super::{FakeEngine, Output};

/// A container's process.
pub(super) struct Run {
    pub(super) pid: u32,
    pub(super) stdin: Option<SharedInput>,
    pub(super) pty: Option<Rc<Pty>>,
}

impl FakeEngine {
    /// Starts a container's process, and a task that waits for its end.
    pub(super) fn start_process(&self, container: &Container) -> Result<(), EngineError> {
        if self.runs.borrow()[container.index].is_some() {
            return Err(EngineError::NotModified);
        }
        container.log.begin_run();
        let process = &container.spec.process;
        let wanted =
            Wanted { cmd: &process.cmd, tty: process.tty, stdin: process.stdin, ..Wanted::default() };
        let spawned = process::spawn(&self.root(container), &wanted).map_err(|error| {
            container.state.send_modify(|state| {
                (state.error, state.exit_code, state.exits) =
                    (error.message.clone(), error.code, state.exits + 1);
            });
            EngineError::BadRequest(error.message)
        })?;
        let Spawned { mut child, pid, stdin, stdout, stderr, pty } = spawned;
        self.runs.borrow_mut()[container.index] = Some(Run { pid, stdin, pty });
        container.state.send_modify(|state| begin(state, container, pid));
        self.events.push(Event::now(container, "start", &[]));
        let container = Rc::clone(&self.containers[container.index]);
        let (runs, events) = (Rc::clone(&self.runs), Rc::clone(&self.events));
        tokio::task::spawn_local(async move {
            let stderr = async {
                if let Some(stderr) = stderr {
                    copy(stderr, &container, Stream::Stderr).await;
                }
            };
            let (code, ..) = tokio::join!(child.wait(), copy(stdout, &container, Stream::Stdout), stderr);
            container.log.end_run();
            runs.borrow_mut()[container.index] = None;
            let more = [("execDuration", "0"), ("exitCode", &*code.to_string())];
            events.push(Event::now(&container, "die", &more));
            container.state.send_modify(|state| {
                let restarts = container.spec.lifecycle.restart_on_failure && code != 0;
                state.status = if restarts { Status::Restarting } else { Status::Exited };
                (state.pid, state.exit_code) = (0, code);
                (state.finished, state.exits) = (Some(SystemTime::now()), state.exits + 1);
            });
        });
        Ok(())
    }

    pub(super) async fn stop_process(
        &self,
        container: &Container,
        options: StopOptions,
    ) -> Result<(), EngineError> {
        if container.state.borrow().status == Status::Restarting {
            container.state.send_modify(|state| state.status = Status::Exited);
            return Ok(());
        }
        let pid = self.pid(container).map_err(|_| EngineError::NotModified)?;
        let mut changes = container.state.subscribe();
        let exits = changes.borrow().exits;
        process::signal(pid, options.signal.unwrap_or(container.spec.process.stop_signal));
        let ended = changes.wait_for(|state| state.exits != exits);
        let own = Duration::from_secs(container.spec.process.stop_timeout.into());
        let is_late = match options.grace.unwrap_or(Some(own)) {
            Some(grace) => tokio::time::timeout(grace, ended).await.is_err(),
            None => ended.await.is_err(),
        };
        if is_late {
            process::signal(pid, 9);
        }
        let _ended = changes.wait_for(|state| state.exits != exits).await;
        Ok(())
    }

    pub(super) fn freeze(&self, container: &Container, frozen: bool) -> Result<(), EngineError> {
        const STOP: u32 = 19;
        const CONTINUE: u32 = 18;
        process::signal(self.pid(container)?, if frozen { STOP } else { CONTINUE });
        let status = if frozen { Status::Paused } else { Status::Running };
        container.state.send_modify(|state| state.status = status);
        Ok(())
    }

    /// Forgets a container's process, which has not been noted as ended yet.
    pub(crate) fn lose(&self, container: &Container) {
        self.runs.borrow_mut()[container.index] = None;
    }

    /// Ends all processes, and marks all containers as gone.
    pub(crate) async fn end(&self) {
        for container in self.containers() {
            let mut changes = container.state.subscribe();
            let exits = changes.borrow().exits;
            if let Ok(pid) = self.pid(container) {
                process::signal(pid, 9);
                let _ended = changes.wait_for(|state| state.exits != exits).await;
            }
            container.state.send_modify(|state| state.removed = true);
        }
    }
}

fn begin(state: &mut ContainerState, container: &Container, pid: u32) {
    (state.status, state.pid, state.exit_code) = (Status::Running, pid, 0);
    (state.error, state.started) = (String::new(), Some(SystemTime::now()));
    state.health = health::initial(&container.spec);
}

/// Puts what a process writes into its log.
async fn copy(mut output: Output, container: &Container, stream: Stream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        container.log.push(stream, Bytes::copy_from_slice(&buffer[..length]));
    }
}
