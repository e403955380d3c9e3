//! A program run in a container beside its first process (Docker Engine API, "Exec").

mod outputs;
pub(crate) mod registry;
pub(crate) mod session;

use tokio::sync::oneshot;

use crate::engine::TerminalSize;

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments; the first is looked up in the container's PATH.
    pub cmd: Vec<String>,
    /// `NAME=VALUE`, beyond the container's own environment.
    pub env: Vec<String>,
    /// The working directory; empty: the container's.
    pub workdir: String,
    /// `user[:group]`; empty: the container's.
    pub user: String,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether its standard input is connected; else it is at its end.
    pub stdin: bool,
    /// Whether it gets all capabilities.
    pub privileged: bool,
    /// The terminal's first size.
    pub size: TerminalSize,
}

/// A program that is running.
pub struct ExecProcess<I, O> {
    /// Its pid in the guest.
    pub pid: u32,
    /// Its standard input, where asked for.
    pub stdin: Option<I>,
    /// Its standard output, or its terminal.
    pub stdout: O,
    /// Its standard error; `None` with a terminal.
    pub stderr: Option<O>,
    /// Changes the size of its terminal; does nothing without one.
    pub resize: Box<dyn Fn(TerminalSize)>,
    /// Kills it.
    pub kill: Box<dyn Fn()>,
    /// Its exit code, once, also when the container ends under it: 128 + signal where a signal ended it.
    pub exit: oneshot::Receiver<u8>,
}

/// Why a program cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExecError {
    /// What a shell would say: 126 not executable, 127 not found, 128 anything else as Docker has it.
    pub code: u8,
    /// In runc's words.
    pub message: String,
}
