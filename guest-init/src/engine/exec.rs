//! Programs run in containers beside their first processes.

use crate::container::failure::Failure;
use crate::container::process::{Process, Target};
use crate::container::terminal;
use crate::latch::Latch;
use crate::output::Output;
use crate::pod::{self, Pod};
use crate::stdin::Stdin;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::Pid;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use vdocker::exec::{ExecError, ExecProcess, ExecSpec};
use vdocker::{Container, EngineError, Status, task};

/// Programs that run in a container at a time, beside its first process.
const MAX_EXECS: usize = 256;

/// How long a process may take to execute its program: its container can stop it on the way.
const MOST_SETUP: Duration = Duration::from_secs(120);

/// A process that is being set up: killed where nobody waits for that any more, as its container can hold it up.
struct Starting {
    pod: Rc<Pod>,
    pid: Pid,
    done: bool,
}

impl Starting {
    /// Waits until it has executed its program, or could not.
    async fn executed(mut self, pipe: OwnedFd, container: &str) -> Result<Pid, ExecError> {
        let message = || format!("container {container} holds up the start of what is run in it");
        let failure = tokio::time::timeout(MOST_SETUP, Failure::wait(pipe)).await;
        match failure.map_err(|_| ExecError { code: 126, message: message() })? {
            Some(failure) => Err(refused(failure)),
            None => {
                self.done = true;
                Ok(self.pid)
            }
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.done {
            self.pod.reaper.signal(self.pid, libc::SIGKILL.unsigned_abs());
        }
    }
}

/// One of the programs that may run at a time.
struct Slot(Rc<Cell<usize>>);

impl Slot {
    fn take(count: &Rc<Cell<usize>>) -> Option<Self> {
        (count.get() < MAX_EXECS).then(|| {
            count.set(count.get() + 1);
            Self(Rc::clone(count))
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// See [`vdocker::Engine::exec`].
pub(super) fn run(
    pod: &Rc<Pod>,
    container: &Container,
    spec: &ExecSpec,
) -> Result<impl Future<Output = Result<ExecProcess<Stdin, Output>, ExecError>> + use<>, EngineError> {
    check(spec)?;
    let (process, exit, ended) = begin(pod, container, spec)?;
    let start = Starting { pod: Rc::clone(pod), pid: process.pid, done: false };
    let Process { starting, stdin, outputs: [stdout, stderr], terminal, .. } = process;
    let watched = |fd: OwnedFd| Output::new(fd, Rc::clone(&ended)).map_err(|error| failed(&error));
    let stdin = stdin.map(|fd| Stdin::own(fd, spec.tty)).transpose().map_err(|error| failed(&error))?;
    let stdout = stdout.map(watched).transpose()?;
    let stdout = stdout.ok_or_else(|| EngineError::Failed("no output".to_owned()))?;
    let stderr = stderr.map(watched).transpose()?;
    let resize = move |size| {
        if let Some(terminal) = &terminal {
            // A terminal whose other side is closed has no use for a size.
            let _closed = rustix::termios::tcsetwinsize(terminal, terminal::size_of(size));
        }
    };
    let (pod, id) = (Rc::clone(pod), container.id.clone());
    Ok(async move {
        let pid = start.executed(starting, &id).await?;
        Ok(ExecProcess {
            pid: pid.as_raw_nonzero().get().unsigned_abs(),
            stdin,
            stdout,
            stderr,
            resize: Box::new(resize),
            kill: Box::new(move || pod.reaper.signal(pid, libc::SIGKILL.unsigned_abs())),
            exit,
        })
    })
}

/// Makes the process, and sees to it that its end is told: the code before the end of its output.
fn begin(
    pod: &Pod,
    container: &Container,
    spec: &ExecSpec,
) -> Result<(Process, oneshot::Receiver<u8>, Rc<Latch>), EngineError> {
    let id = &container.id;
    let gone = || EngineError::Conflict(format!("container {id} is not running"));
    let member = pod.members.get(container.index).ok_or_else(gone)?;
    let busy = || EngineError::Busy(format!("too many programs are run in container {id}"));
    let slot = Slot::take(&member.execs).ok_or_else(busy)?;
    let running = member.running.borrow();
    // A process that has been reaped has lost its number.
    let running = running.as_ref().filter(|running| pod.reaper.has(running.pid)).ok_or_else(gone)?;
    match container.state.borrow().status {
        Status::Running => {}
        Status::Paused => {
            let words = format!("Container {id} is paused, unpause the container before exec");
            return Err(EngineError::Conflict(words));
        }
        _ => return Err(gone()),
    }
    let target = Target { first: running.pid, cgroup: &member.cgroup, devpts: &running.devpts };
    let process = Process::join(member.spec, spec, target).map_err(|error| {
        // Its first process has just ended, and the kernel makes no more in its namespace.
        let has_ended = [Errno::SRCH, Errno::NOMEM].map(|errno| Some(errno.raw_os_error()));
        if has_ended.contains(&error.raw_os_error()) { gone() } else { failed(&error) }
    })?;
    let status = pod.reaper.expect(process.pid);
    let (tell, exit) = oneshot::channel();
    let ended = Rc::new(Latch::default());
    let latch = Rc::clone(&ended);
    task::spawn(async move {
        let code = status.await.map_or(u8::MAX, |status| pod::exit_of(status).code);
        let _nobody = tell.send(code);
        latch.set();
        drop(slot);
    });
    Ok((process, exit, ended))
}

/// Strings are handed to the kernel, for which NUL ends them.
fn check(spec: &ExecSpec) -> Result<(), EngineError> {
    let strings = spec.cmd.iter().chain(&spec.env).chain([&spec.workdir, &spec.user]);
    match strings.into_iter().any(|string| string.contains('\0')) {
        true => Err(EngineError::BadRequest("a NUL byte in what is to be run".to_owned())),
        false => Ok(()),
    }
}

/// What Docker says where the program was not executed.
fn refused(failure: Failure) -> ExecError {
    let Failure { code, message } = failure;
    if message.starts_with("unable to find ") {
        // Docker itself finds that out, before it asks runc.
        return ExecError { code: 126, message };
    }
    let code = if code == 125 { 128 } else { code };
    let message = format!(
        "OCI runtime exec failed: exec failed: unable to start container process: {message}: unknown"
    );
    ExecError { code, message }
}

fn failed(error: &io::Error) -> EngineError {
    EngineError::Failed(format!("cannot make a process: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_dockers() {
        let failure = |code, message: &str| refused(Failure { code, message: message.to_owned() });
        let missing = failure(127, "exec: \"nosuch\": executable file not found in $PATH");
        assert_eq!(missing.code, 127);
        assert_eq!(
            missing.message,
            "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nosuch\": executable \
             file not found in $PATH: unknown"
        );
        assert_eq!(failure(125, "cannot join namespaces: invalid argument").code, 128);
        let user = "unable to find user nosuch: no matching entries in passwd file";
        assert_eq!(failure(125, user), ExecError { code: 126, message: user.to_owned() });
    }

    #[test]
    fn slots_come_back() {
        let count = Rc::new(Cell::new(MAX_EXECS - 1));
        let slot = Slot::take(&count).unwrap();
        assert!(Slot::take(&count).is_none());
        drop(slot);
        assert!(Slot::take(&count).is_some());
    }

    #[test]
    fn nul_bytes_are_refused() {
        let spec = ExecSpec { cmd: vec!["a\0b".into()], ..ExecSpec::default() };
        assert!(matches!(check(&spec), Err(EngineError::BadRequest(_))));
        assert!(check(&ExecSpec { cmd: vec!["ab".into()], ..ExecSpec::default() }).is_ok());
    }
}
