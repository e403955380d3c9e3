//! Where a network is: in the network namespace of the host, or in one of its own, which one thread of the process is in.
//! Sockets belong to the namespace of the thread that makes them, and work in all threads.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, SyncSender};

use nix::sched::{CloneFlags, setns, unshare};

type Job = Box<dyn FnOnce() + Send>;

/// Where a network is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Where this process is.
    Host,
    /// Where this thread is, which does what it is told.
    Own(SyncSender<Job>),
}

impl Place {
    /// Makes a network namespace.
    pub(super) fn own() -> io::Result<Self> {
        Self::inside(|| unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from))
    }

    /// Goes into one that is there.
    pub(super) fn join(namespace: OwnedFd) -> io::Result<Self> {
        Self::inside(move || setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from))
    }

    /// A descriptor of a namespace of its own.
    pub(super) fn namespace(&self) -> io::Result<Option<File>> {
        match self {
            Self::Host => Ok(None),
            Self::Own(_) => self.run(|| File::open("/proc/thread-self/ns/net"))?.map(Some),
        }
    }

    fn inside(enter: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let (sender, jobs) = mpsc::sync_channel::<Job>(1);
        let (tell, told) = mpsc::sync_channel(1);
        let work = move || {
            let made = enter();
            let usable = made.is_ok();
            let _ = tell.send(made);
            while usable && let Ok(job) = jobs.recv() {
                job();
            }
        };
        std::thread::Builder::new().name("inside".into()).spawn(work)?;
        told.recv().map_err(io::Error::other)??;
        Ok(Self::Own(sender))
    }

    /// Whether it is a namespace of its own.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Runs `job` there. It should take no time: the caller waits.
    pub(super) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let Self::Own(jobs) = self else { return Ok(job()) };
        let (tell, told) = mpsc::sync_channel(1);
        let job: Job = Box::new(move || {
            let _ = tell.send(job());
        });
        let gone = || io::Error::other("the thread in the network's namespace has ended");
        jobs.send(job).map_err(|_| gone())?;
        told.recv().map_err(|_| gone())
    }
}
