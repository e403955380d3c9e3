//! `--restart`: a parent that holds the pod's lock and starts a process for each life of the virtual machine, since
//! one that ran a guest has given up what it takes to boot another.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cli::RunArgs;
use crate::failure::Failure;
use pod::{PodDir, PodLock, PodState, RestartPolicy, SocketDir, StateFile, Status, socket, state};

use super::is_running;
use super::signals::{Arrival, Signals, is_termination};

/// The first and the longest wait before a restart; it doubles in between, as Docker's does.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A life of this length makes the next wait the first again.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// What the parent waits for.
enum Notice {
    Signal(Arrival),
    Ended(io::Result<ExitStatus>),
}

/// The parent's view of a pod.
struct Supervisor<'a> {
    args: &'a RunArgs,
    dir: &'a PodDir,
    notices: Receiver<Notice>,
    sender: Sender<Notice>,
    /// A signal asked for the end: no more restarts.
    ending: bool,
}

/// Runs the pod again and again as its policy says; answers the last exit code.
pub(crate) fn supervise(
    args: &RunArgs,
    dir: &PodDir,
    lock: &PodLock,
    policy: RestartPolicy,
) -> Result<u8, Failure> {
    // The children hold the lock too: it is free when the last process of the pod has gone.
    rustix::io::fcntl_setfd(lock.file(), rustix::io::FdFlags::empty())
        .context("cannot pass on the pod's lock")?;
    let signals = Signals::block().context("cannot watch for signals")?;
    let (sender, notices) = mpsc::channel();
    let to_parent = sender.clone();
    let watch = move || {
        while let Ok(arrival) = signals.next() {
            if to_parent.send(Notice::Signal(arrival)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).context("cannot start a thread")?;
    let ended = Supervisor { args, dir, notices, sender, ending: false }.run(policy);
    // The process that ran the guest may remove nothing. Sockets that cannot be removed refuse connections.
    if let Ok(sockets) = SocketDir::open(dir) {
        let _ = [socket::DOCKER, socket::CONTROL].map(|name| sockets.remove(name));
    }
    ended
}

impl Supervisor<'_> {
    fn run(&mut self, policy: RestartPolicy) -> Result<u8, Failure> {
        let mut wait = FIRST_WAIT;
        for restarts in 0.. {
            let begun = Instant::now();
            let before = self.state();
            let (pid, status) = self.live(restarts)?;
            let code = code(status);
            let state = self.state().filter(|state| state.pid == pid && Some(state) != before.as_ref());
            let Some(mut state) = state else {
                // It never came to boot, and said why: another try would end the same way.
                return Ok(code);
            };
            if state.status == Status::Running {
                // It was killed, and could not say so.
                state.status = exited(code);
            }
            if self.ending || state.stopped || !policy.restarts(code, restarts) {
                self.keep(&state)?;
                return Ok(code);
            }
            if begun.elapsed() >= LONG_LIFE {
                wait = FIRST_WAIT;
            }
            state.pid = std::process::id();
            state.status = Status::Restarting { code };
            self.keep(&state)?;
            if !self.sleep(wait) {
                state.status = exited(code);
                self.keep(&state)?;
                return Ok(code);
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        Ok(crate::failure::CODE_RUN_FAILED)
    }

    /// One life of the machine: its process's pid and end. Signals of other processes are passed on; those of the
    /// terminal reach the child by themselves.
    fn live(&mut self, restarts: u32) -> Result<(u32, ExitStatus), Failure> {
        // The same program, also where another has been installed in its place.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("kcradle");
        command.arg("run").args(["--supervised", &restarts.to_string()]);
        let flags = [
            ("--timeline", self.args.timeline),
            ("--json", self.args.json),
            ("--console", self.args.console),
        ];
        command.args(flags.iter().filter(|(_, given)| *given).map(|(flag, _)| flag));
        command
            .args(self.args.networks.arguments())
            .args(self.args.limits.arguments())
            .arg("--")
            .arg(self.dir.path());
        let mut child = command.spawn().context("cannot start the pod's process")?;
        let pid = child.id();
        let handle = open_pidfd(pid);
        let sender = self.sender.clone();
        let reap = move || sender.send(Notice::Ended(child.wait()));
        std::thread::Builder::new().name("reap".into()).spawn(reap).context("cannot start a thread")?;
        loop {
            match self.notices.recv().context("cannot wait for the pod's process")? {
                Notice::Ended(status) => {
                    return Ok((pid, status.context("cannot wait for the pod's process")?));
                }
                Notice::Signal(Arrival::Resized) => {}
                Notice::Signal(Arrival::Forward { number, sent }) => {
                    self.ending |= is_termination(number);
                    if sent && let (Ok(handle), Some(signal)) = (&handle, signal(number)) {
                        // A child that has gone needs no signal.
                        let _ = pidfd_send_signal(handle, signal);
                    }
                }
            }
        }
    }

    /// Waits before a restart; false where the wait was ended by a signal.
    fn sleep(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            match self.notices.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Notice::Signal(Arrival::Forward { number, .. })) if is_termination(number) => {
                    return false;
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// The state file, where it is there and whole.
    fn state(&self) -> Option<PodState> {
        self.dir.read_state().ok().flatten()
    }

    fn keep(&self, state: &PodState) -> Result<(), Failure> {
        StateFile::begin(self.dir, state.clone()).context("cannot write state.json")?;
        Ok(())
    }
}

/// What a child of the supervisor does first: it ends with its parent, and sees that there is one.
pub(crate) fn join_parent(dir: &PodDir) -> Result<(), Failure> {
    // It was started by a link's name.
    rustix::thread::set_name(c"kcradle").context("cannot name the process")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("cannot bind to the parent process")?;
    // The parent's lock is the pod's: without it two processes could run the same pod.
    if is_running(dir)? { Ok(()) } else { Err(Failure::new("--supervised is for kcradle itself")) }
}

fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn signal(number: u32) -> Option<Signal> {
    Signal::from_named_raw(i32::try_from(number).ok()?)
}

fn exited(code: u8) -> Status {
    Status::Exited { finished: state::now(), code, record: None, error: None }
}

/// The exit code of a process as a shell counts.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::failure::CODE_RUN_FAILED)
}
