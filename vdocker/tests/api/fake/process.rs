//! Processes of the host in place of those of containers, with pipes or a terminal.

use std::cell::RefCell;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWrite;
use tokio::process::Child;
use tokio::sync::oneshot;
use vdocker::engine::TerminalSize;
use vdocker::exec::{ExecError, ExecProcess, ExecSpec};

use super::pty::{Pty, PtyStream};
use super::{Input, Output};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to run.
#[derive(Default)]
pub(super) struct Wanted<'w> {
    pub(super) cmd: &'w [String],
    pub(super) env: &'w [String],
    pub(super) workdir: &'w str,
    pub(super) tty: bool,
    pub(super) stdin: bool,
    pub(super) size: TerminalSize,
}

/// A process that runs.
pub(super) struct Spawned {
    pub(super) child: Group,
    pub(super) pid: u32,
    pub(super) stdin: Option<SharedInput>,
    pub(super) stdout: Output,
    pub(super) stderr: Option<Output>,
    pub(super) pty: Option<Rc<Pty>>,
}

/// A process that ends with the value, with all that it has started.
pub(super) struct Group {
    child: Child,
    /// Until its end is known.
    pid: Option<u32>,
}

impl Group {
    /// Waits for its end.
    pub(super) async fn wait(&mut self) -> u8 {
        let status = self.child.wait().await.unwrap();
        self.pid = None;
        code(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            signal(pid, 9);
        }
    }
}

/// Starts a process in the folder that stands for a container's root.
pub(super) fn spawn(root: &Path, wanted: &Wanted<'_>) -> Result<Spawned, ExecError> {
    let (program, arguments) = wanted.cmd.split_first().unwrap();
    check_program(program)?;
    // util-linux's setsid makes the terminal the controlling one and becomes the program.
    let mut command = std::process::Command::new(if wanted.tty { "setsid" } else { program });
    if wanted.tty {
        command.args(["--ctty", program]);
    } else {
        command.process_group(0);
    }
    command.args(arguments).env_clear().env("PATH", PATH);
    for (name, value) in wanted.env.iter().filter_map(|each| each.split_once('=')) {
        command.env(name, value);
    }
    command.current_dir(if wanted.workdir.is_empty() { root } else { Path::new(wanted.workdir) });
    let pty = wanted.tty.then(|| Pty::open(wanted.size));
    match &pty {
        Some((_, slave)) => {
            let [stdin, stdout, stderr] = [(); 3].map(|()| Stdio::from(slave.try_clone().unwrap()));
            command.stdin(stdin).stdout(stdout).stderr(stderr);
        }
        None => {
            let stdin = if wanted.stdin { Stdio::piped() } else { Stdio::null() };
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        }
    }
    let mut command = tokio::process::Command::from(command);
    let mut child = command.spawn().map_err(|error| failure(program, 126, &error.to_string()))?;
    let pid = child.id().unwrap();
    let (stdin, stdout, stderr, pty) = match pty {
        Some((pty, _slave)) => {
            let stream = PtyStream(Rc::clone(&pty));
            let stdin = wanted.stdin.then(|| SharedInput::new(stream.clone()));
            (stdin, Box::new(stream) as Output, None, Some(pty))
        }
        None => {
            let stderr = Box::new(child.stderr.take().unwrap()) as Output;
            let stdin = child.stdin.take().map(SharedInput::new);
            (stdin, Box::new(child.stdout.take().unwrap()) as Output, Some(stderr), None)
        }
    };
    Ok(Spawned { child: Group { child, pid: Some(pid) }, pid, stdin, stdout, stderr, pty })
}

/// Runs a program beside a container's first. Whose user it is to be, it finds in `EXEC_USER`.
pub(super) fn exec(root: &Path, spec: &ExecSpec) -> Result<ExecProcess<Input, Output>, ExecError> {
    let privileged = u8::from(spec.privileged);
    let own = [format!("EXEC_USER={}", spec.user), format!("EXEC_PRIVILEGED={privileged}")];
    let env: Vec<_> = spec.env.iter().cloned().chain(own).collect();
    let wanted = Wanted {
        cmd: &spec.cmd,
        env: &env,
        workdir: &spec.workdir,
        tty: spec.tty,
        stdin: spec.stdin,
        size: spec.size,
    };
    let Spawned { mut child, pid, stdin, stdout, stderr, pty } = spawn(root, &wanted)?;
    let (ended, exit) = oneshot::channel();
    tokio::task::spawn_local(async move {
        // Nobody may want to know.
        let _unheard = ended.send(child.wait().await);
    });
    Ok(ExecProcess {
        pid,
        stdin: stdin.map(|stdin| Box::new(stdin) as Input),
        stdout,
        stderr,
        resize: Box::new(move |size| {
            if let Some(pty) = &pty {
                pty.resize(size);
            }
        }),
        kill: Box::new(move || signal(pid, 9)),
        exit,
    })
}

/// Signals a process and those it has started; one that is gone hears nothing.
pub(super) fn signal(pid: u32, number: u32) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let signal = Signal::from_named_raw(number.try_into().unwrap()).unwrap();
    let _gone = kill_process_group(pid, signal);
}

/// Docker's exit code.
fn code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap()
}

fn check_program(program: &str) -> Result<(), ExecError> {
    let places: Vec<_> = match program.contains('/') {
        true => vec![program.to_owned()],
        false => PATH.split(':').map(|folder| format!("{folder}/{program}")).collect(),
    };
    let Some(found) = places.iter().find_map(|place| std::fs::metadata(place).ok()) else {
        return Err(failure(program, 127, "executable file not found in $PATH: unknown"));
    };
    if found.is_dir() || found.permissions().mode() & 0o111 == 0 {
        return Err(failure(program, 126, "permission denied: unknown"));
    }
    Ok(())
}

fn failure(program: &str, code: u8, why: &str) -> ExecError {
    let message = format!("exec failed: unable to start container process: exec: {program:?}: {why}");
    ExecError { code, message: format!("OCI runtime exec failed: {message}") }
}

/// Standard input that several have; the first that ends it ends it for all.
#[derive(Clone)]
pub(super) struct SharedInput(Rc<RefCell<Option<Input>>>);

impl SharedInput {
    fn new(input: impl AsyncWrite + Unpin + 'static) -> Self {
        Self(Rc::new(RefCell::new(Some(Box::new(input)))))
    }

    fn with<T>(&self, with: impl FnOnce(Pin<&mut Input>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.0.borrow_mut() {
            Some(input) => with(Pin::new(input)),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncWrite for SharedInput {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|input| input.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|input| input.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.take();
        Poll::Ready(Ok(()))
    }
}
