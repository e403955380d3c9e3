//! What the API needs of whoever has the containers: [`Engine`], and how it says no.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::archive::{Change, Chunks, PathStat, WriteOptions};
use crate::container::Container;
use crate::events::Events;
use crate::exec::{ExecError, ExecProcess, ExecSpec};
use crate::stats::{ProcessTable, Sample, Update};

/// What a request wants to do. A policy grants or denies each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Learn of the pod: version, info, lists, inspect.
    Inspect,
    /// Read what a container has written.
    Logs,
    /// Attach to a container's streams. Asked after [`Verb::Logs`], which is enough for what was written before.
    Attach,
    /// Wait for a container's end.
    Wait,
    /// Send a signal to a container.
    Kill,
    /// Stop a container.
    Stop,
    /// Start a container.
    Start,
    /// Stop and start a container.
    Restart,
    /// Freeze or thaw a container.
    Pause,
    /// Change the size of a terminal.
    Resize,
    /// List the processes of a container.
    Top,
    /// Read resource usage.
    Stats,
    /// Change a container's limits.
    Update,
    /// Run a program in a container.
    Exec,
    /// Run it with all capabilities, which is power over the whole guest. Asked after [`Verb::Exec`].
    ExecPrivileged,
    /// Read files of a container: copy out, stat, export, changes.
    ReadFiles,
    /// Write files of a container.
    WriteFiles,
    /// Follow events.
    Events,
    /// End the pod.
    Shutdown,
}

/// Why the engine does not do what it was asked; each is one status of the Docker Engine API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// 304: it is so already.
    #[error("not modified")]
    NotModified,
    /// 400: the request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// 403: the policy denies it.
    #[error("{0}")]
    Denied(String),
    /// 404: what it speaks of does not exist.
    #[error("{0}")]
    NotFound(String),
    /// 409: the container is in the wrong state for it.
    #[error("{0}")]
    Conflict(String),
    /// 500: it failed.
    #[error("{0}")]
    Failed(String),
    /// 501: no pod can do it.
    #[error("{0}")]
    Unsupported(String),
    /// 503: too much goes on already.
    #[error("{0}")]
    Busy(String),
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// How to stop a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// In place of the container's own stop signal; its number on x86-64.
    pub signal: Option<u32>,
    /// From the signal to the kill, in place of the container's own; `None` inside: never kill.
    pub grace: Option<Option<Duration>>,
}

/// What `/info` and `/version` say of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// The pod's id, 64 hexadecimal digits.
    pub id: String,
    /// The host name.
    pub hostname: String,
    /// As `uname -r`.
    pub kernel: String,
    /// vCPUs.
    pub cpus: usize,
    /// Memory in bytes.
    pub memory: u64,
    /// When the pod was started.
    pub booted: Option<SystemTime>,
}

/// Whoever has the containers. All calls come from one thread; those that are not `async` return at once.
///
/// Containers are given out as [`Container`], which the engine keeps current: its state, its log.
#[expect(async_fn_in_trait, reason = "everything runs on one thread: no future has to be Send")]
pub trait Engine: 'static {
    /// Standard input of a process. `shutdown` closes it, dropping it does not.
    type Input: AsyncWrite + Unpin + 'static;
    /// Standard output or error of an exec'd process, or its terminal.
    type Output: AsyncRead + Unpin + 'static;

    /// Grants or denies ([`EngineError::Denied`]) a verb before anything is done for it; without a container, for
    /// the pod as a whole.
    ///
    /// # Errors
    /// [`EngineError::Denied`] with a reason for the client.
    fn permit(&self, verb: Verb, container: Option<&Container>) -> Result<(), EngineError>;

    /// What the machine is.
    fn system(&self) -> System;

    /// The pod's containers in order. The guest itself is not among them.
    fn containers(&self) -> &[Rc<Container>];

    /// The guest itself as a container, whose log is the kernel's and PID 1's.
    fn guest(&self) -> Rc<Container>;

    /// What has happened.
    fn events(&self) -> &Events;

    /// Starts a container that does not run.
    ///
    /// # Errors
    /// [`EngineError::NotModified`] where it runs; [`EngineError::BadRequest`] with runc's words where the program
    /// cannot be executed.
    async fn start(&self, container: &Container) -> Result<(), EngineError>;

    /// Stops a container and waits for its end. It is not restarted by its rules.
    ///
    /// # Errors
    /// [`EngineError::NotModified`] where it does not run.
    async fn stop(&self, container: &Container, options: StopOptions) -> Result<(), EngineError>;

    /// Stops a container where it runs, and starts it.
    ///
    /// # Errors
    /// Those of stop and start.
    async fn restart(&self, container: &Container, options: StopOptions) -> Result<(), EngineError>;

    /// Sends a signal to a container's first process. For the guest itself: ends the pod.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] where it does not run.
    fn kill(&self, container: &Container, signal: u32) -> Result<(), EngineError>;

    /// Freezes or thaws all processes of a container.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] where it does not run, or is so already.
    async fn pause(&self, container: &Container, frozen: bool) -> Result<(), EngineError>;

    /// Changes the size of a container's terminal.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] where it does not run.
    fn resize(&self, container: &Container, size: TerminalSize) -> Result<(), EngineError>;

    /// Changes limits of a running container; they last as long as the machine. The warnings are for the client.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for a limit that cannot be, or not be obeyed.
    async fn update(&self, container: &Container, update: &Update) -> Result<Vec<String>, EngineError>;

    /// Standard input of a container's first process, shared with all that have it.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] where it does not run.
    fn stdin(&self, container: &Container) -> Result<Self::Input, EngineError>;

    /// The processes of a container.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] where it does not run.
    fn top(&self, container: &Container) -> Result<ProcessTable, EngineError>;

    /// What a container uses now; zeros where it does not run.
    ///
    /// # Errors
    /// [`EngineError::Failed`].
    fn stats(&self, container: &Container) -> Result<Sample, EngineError>;

    /// Makes a process in a container. What is returned is ready once that has executed its program, or could not:
    /// [`ExecError`] has the code and words that Docker has for it. Dropping it before ends the process.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] where the container does not run, or is paused; others where there is no process.
    #[expect(clippy::type_complexity, reason = "it is what a call gives, and has no other name")]
    fn exec(
        &self,
        container: &Container,
        spec: &ExecSpec,
    ) -> Result<
        impl Future<Output = Result<ExecProcess<Self::Input, Self::Output>, ExecError>> + 'static,
        EngineError,
    >;

    /// What is at a path of a container. A link at its end is not followed, links on the way are, inside the root.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] and those of reading.
    async fn stat(&self, container: &Container, path: &str) -> Result<PathStat, EngineError>;

    /// A tar archive of what is at a path, and its stat. Dropping the chunks ends the work.
    ///
    /// # Errors
    /// Those of [`Engine::stat`].
    async fn read_archive(
        &self,
        container: &Container,
        path: &str,
    ) -> Result<(PathStat, Chunks), EngineError>;

    /// Unpacks a tar archive into the directory at a path. An error among the chunks ends the work.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] where the directory is missing, [`EngineError::BadRequest`] where the archive or
    /// the options forbid it, [`EngineError::Denied`] for a read-only place.
    async fn write_archive(
        &self,
        container: &Container,
        path: &str,
        options: WriteOptions,
        archive: Chunks,
    ) -> Result<(), EngineError>;

    /// What differs from the image.
    ///
    /// # Errors
    /// Those of reading.
    async fn changes(&self, container: &Container) -> Result<Vec<Change>, EngineError>;

    /// A tar archive of the whole root file system, mounts left out.
    ///
    /// # Errors
    /// Those of reading.
    async fn export(&self, container: &Container) -> Result<Chunks, EngineError>;

    /// What the container has written, as a layer for an image (OCI image specification): a tar archive with whiteouts,
    /// mounts left out.
    ///
    /// # Errors
    /// Those of reading.
    async fn layer(&self, container: &Container) -> Result<Chunks, EngineError>;

    /// Bytes that the container has written, and bytes of its whole root file system.
    ///
    /// # Errors
    /// Those of reading.
    async fn disk_usage(&self, container: &Container) -> Result<(u64, u64), EngineError>;

    /// Stops all containers in order and ends the machine; the reason goes into the exit record. Returns at once.
    fn shutdown(&self, reason: &str, grace: Option<Duration>);
}
