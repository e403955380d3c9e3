//! A container's running process as PID 1 sees it: its pid, its streams, the pipe that tells of its exec.

use crate::container::cgroup::Cgroup;
use crate::container::enter::Entry;
use crate::container::failure::Failure;
use crate::container::spawn;
use crate::container::terminal::{self, Terminal};
use crate::disks::Tree;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitStatus};
use rustix::termios::Winsize;
use spec::ContainerSpec;
use std::io;
use std::path::Path;

/// Output bytes taken after the process has ended, at most: what a full pipe holds. More can only come from a
/// foreign process that was given the pipe, and that must not hold up the pod's end.
const MAX_AFTER_END: usize = 1 << 20;

/// A process from its clone until its last output is taken.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its pid in PID 1's namespace.
    pub(crate) pid: Pid,
    /// Open until the program is executed or could not be.
    pub(crate) starting: Option<OwnedFd>,
    /// Why the program could not be executed.
    pub(crate) failure: Option<Failure>,
    /// PID 1's end of standard input, while open.
    pub(crate) stdin: Option<OwnedFd>,
    /// PID 1's ends of standard output (or the terminal) and standard error, while open.
    pub(crate) outputs: [Option<OwnedFd>; 2],
    /// The terminal, for its size.
    pub(crate) terminal: Option<OwnedFd>,
    /// How it ended.
    pub(crate) status: Option<WaitStatus>,
    after_end: usize,
}

/// What reading an output gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// So many bytes, at the start of the buffer.
    Bytes(usize),
    /// Nothing now.
    None,
}

/// Where a container's process is started from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Its file tree.
    pub(crate) tree: &'a Tree,
    /// Its control group.
    pub(crate) cgroup: &'a Cgroup,
    /// The folder of anonymous volumes.
    pub(crate) volumes: &'a Path,
}

impl Process {
    /// Starts the container's process. It is still being set up on return: see [`Self::poll_start`].
    ///
    /// # Errors
    /// What kept PID 1 from cloning.
    pub(crate) fn start(
        spec: &ContainerSpec,
        place: Place<'_>,
        size: Winsize,
        first: bool,
    ) -> io::Result<Self> {
        let devpts = terminal::devpts()?;
        let terminal = if spec.process.tty { Some(Terminal::open(&devpts, size)?) } else { None };
        let streams = Streams::open(spec.process.stdin, terminal.as_ref())?;
        let (starting, report) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&starting, true)?;
        let entry = Entry {
            spec,
            root: &place.tree.root,
            etc: &place.tree.etc,
            volumes: place.volumes,
            devpts: &devpts,
            stdio: streams.inner.each_ref().map(AsFd::as_fd),
            terminal: terminal.as_ref(),
            first,
        };
        let pid = spawn::clone_into(place.cgroup.as_fd(), || {
            let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| entry.run()));
            let failure = match run {
                Ok(Err(failure)) => failure,
                _ => Failure::setup("guest-init panicked while it set up the container"),
            };
            failure.report(&report);
        })?;
        Ok(Self {
            pid,
            starting: Some(starting),
            failure: None,
            stdin: streams.stdin,
            outputs: streams.outputs,
            terminal: terminal.map(|terminal| terminal.master),
            status: None,
            after_end: 0,
        })
    }

    /// Looks whether the program was executed. True once, when it was.
    pub(crate) fn poll_start(&mut self) -> bool {
        let Some(pipe) = &self.starting else { return false };
        match Failure::read(pipe) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Ok(None) => {
                self.starting = None;
                // Killed during the set-up: the pipe closes with nothing in it, as after exec.
                true
            }
            Ok(Some(failure)) => {
                self.failure = Some(failure);
                self.starting = None;
                false
            }
            Err(error) => {
                self.failure = Some(Failure::new("cannot learn of the start", &error));
                self.starting = None;
                false
            }
        }
    }

    /// Reads an output (0 standard output or the terminal, 1 standard error). At its end it is closed; after
    /// the process's end, so it is when nothing is there.
    pub(crate) fn read_output(&mut self, which: usize, buffer: &mut [u8]) -> Output {
        let Some(fd) = self.outputs.get(which).and_then(Option::as_ref) else { return Output::None };
        match rustix::io::read(fd, buffer) {
            Ok(count) if count > 0 && self.after_end <= MAX_AFTER_END => {
                if self.status.is_some() {
                    self.after_end += count;
                }
                return Output::Bytes(count);
            }
            Err(Errno::INTR) => return Output::None,
            Err(Errno::AGAIN) if self.status.is_none() => return Output::None,
            // The end; for a terminal EIO, which it also says before anybody has opened the other side, but
            // the new process has from its clone on.
            _ => self.outputs[which] = None,
        }
        Output::None
    }

    /// Whether the process has ended and all its output is taken.
    pub(crate) fn is_over(&self) -> bool {
        self.status.is_some() && self.outputs.iter().all(Option::is_none)
    }
}

/// The standard streams' two sides.
struct Streams {
    inner: [OwnedFd; 3],
    stdin: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
}

impl Streams {
    fn open(keep_stdin: bool, terminal: Option<&Terminal>) -> io::Result<Self> {
        if let Some(terminal) = terminal {
            let peer = &terminal.peer;
            let stdin = if keep_stdin { Some(terminal.master.try_clone()?) } else { None };
            return Ok(Self {
                inner: [peer.try_clone()?, peer.try_clone()?, peer.try_clone()?],
                stdin,
                outputs: [Some(terminal.master.try_clone()?), None],
            });
        }
        let (in_read, stdin) = if keep_stdin {
            let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&write, true)?;
            (read, Some(write))
        } else {
            (rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, None)
        };
        let (out_read, out_write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (err_read, err_write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&out_read, true)?;
        rustix::io::ioctl_fionbio(&err_read, true)?;
        Ok(Self { inner: [in_read, out_write, err_write], stdin, outputs: [Some(out_read), Some(err_read)] })
    }
}
