//! A process of a container as PID 1 has just made it: its pid, its streams, the pipe that tells of its exec.

use crate::container::cgroup::Cgroup;
use crate::container::enter::Entry;
use crate::container::failure::Failure;
use crate::container::init;
use crate::container::join::Join;
use crate::container::spawn;
use crate::container::stdio::Stdio;
use crate::container::terminal::{self, Terminal};
use crate::disks::Tree;
use crate::mountfd::MountFd;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};
use rustix::termios::Winsize;
use spec::ContainerSpec;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use vdocker::exec::ExecSpec;

/// A process from its clone on.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its pid in PID 1's namespace.
    pub(crate) pid: Pid,
    /// Open until the program is executed or could not be: [`Failure::read`].
    pub(crate) starting: OwnedFd,
    /// PID 1's end of standard input, where it is connected.
    pub(crate) stdin: Option<OwnedFd>,
    /// PID 1's ends of standard output (or the terminal) and standard error.
    pub(crate) outputs: [Option<OwnedFd>; 2],
    /// The terminal, for its size.
    pub(crate) terminal: Option<OwnedFd>,
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

/// A container that a program is run in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// Its first process, which has not been reaped.
    pub(crate) first: Pid,
    /// Its control group.
    pub(crate) cgroup: &'a Cgroup,
    /// Its terminals.
    pub(crate) devpts: &'a MountFd,
}

impl Process {
    /// Starts the container's first process, and returns its instance of devpts too. The process is still being set
    /// up on return.
    ///
    /// # Errors
    /// What kept PID 1 from cloning.
    pub(crate) fn start(
        spec: &ContainerSpec,
        place: Place<'_>,
        size: Winsize,
        first: bool,
    ) -> io::Result<(Self, MountFd)> {
        let devpts = terminal::devpts()?;
        let terminal = if spec.process.tty { Some(Terminal::open(&devpts, size)?) } else { None };
        let streams = Streams::open(spec.process.stdin, terminal.as_ref())?;
        let stdio = Stdio { fds: streams.inner.each_ref().map(AsFd::as_fd), terminal: terminal.as_ref() };
        let init = if spec.process.init { Some(init::file()?) } else { None };
        let entry = Entry {
            spec,
            root: &place.tree.root,
            etc: &place.tree.etc,
            volumes: place.volumes,
            devpts: &devpts,
            init: init.as_ref(),
            stdio,
            first,
        };
        let mut kept: Vec<_> = stdio.descriptors().chain([devpts.as_fd()]).collect();
        kept.extend(init.as_ref().map(AsFd::as_fd));
        let (pid, starting) =
            Self::clone(place.cgroup, spawn::NEW_NAMESPACES, &kept, |report| entry.run(report))?;
        Ok((streams.of(pid, starting, terminal), devpts))
    }

    /// Runs a program in a container beside its first process. It is still being set up on return.
    ///
    /// # Errors
    /// What kept PID 1 from cloning: ESRCH or ENOMEM where the container's first process has ended.
    pub(crate) fn join(spec: &ContainerSpec, exec: &ExecSpec, target: Target<'_>) -> io::Result<Self> {
        let size = terminal::size_of(exec.size);
        let terminal = if exec.tty { Some(Terminal::open(target.devpts, size)?) } else { None };
        let streams = Streams::open(exec.stdin, terminal.as_ref())?;
        let stdio = Stdio { fds: streams.inner.each_ref().map(AsFd::as_fd), terminal: terminal.as_ref() };
        let first = rustix::process::pidfd_open(target.first, PidfdFlags::empty())?;
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        let join = Join { spec, exec, first: first.as_fd(), stdio };
        let (pid, starting) = spawn::in_pid_namespace(first.as_fd(), own.as_fd(), || {
            let kept: Vec<_> = stdio.descriptors().chain([first.as_fd()]).collect();
            Self::clone(target.cgroup, 0, &kept, |_| join.run())
        })?;
        Ok(streams.of(pid, starting, terminal))
    }

    /// Makes a process that becomes its program or tells why not, and the pipe by which it does. Of PID 1's
    /// descriptors it has those in `kept`.
    fn clone(
        cgroup: &Cgroup,
        namespaces: libc::c_int,
        kept: &[BorrowedFd<'_>],
        body: impl FnOnce(BorrowedFd<'_>) -> Result<Infallible, Failure>,
    ) -> io::Result<(Pid, OwnedFd)> {
        let (starting, report) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&starting, true)?;
        let kept: Vec<_> = kept.iter().copied().chain([report.as_fd()]).collect();
        let body = || {
            spawn::close_others(&kept).map_err(|error| Failure::new("cannot close descriptors", &error))?;
            body(report.as_fd())
        };
        let pid = spawn::clone(Some(cgroup.as_fd()), namespaces, || {
            let failure = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
                Ok(Err(failure)) => failure,
                _ => Failure::setup("guest-init panicked while it set up the container"),
            };
            failure.report(&report);
        })?;
        Ok((pid, starting))
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
    /// PID 1's sides of a process that has the others.
    fn of(self, pid: Pid, starting: OwnedFd, terminal: Option<Terminal>) -> Process {
        let terminal = terminal.map(|terminal| terminal.master);
        Process { pid, starting, stdin: self.stdin, outputs: self.outputs, terminal }
    }
}
