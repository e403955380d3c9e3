//! Standard input of a process as the pod's API writes it.

use crate::input::Input;
use crate::watch::watch;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWrite, Interest};

/// Where bytes for a process go.
#[derive(Debug)]
pub(crate) enum Stdin {
    /// Through the container's own input, which the host has too.
    Shared {
        /// That input.
        input: Rc<Input>,
        /// Whether it goes to a terminal, which has no end of input.
        terminal: bool,
    },
    /// To a process that was run in a container; `None` after its end.
    Own {
        /// The pipe or the terminal.
        fd: Option<AsyncFd<OwnedFd>>,
        /// Whether it is a terminal, which has no end of input.
        terminal: bool,
    },
    /// Nowhere: the process has none.
    Nowhere,
}

impl Stdin {
    /// Over a non-blocking descriptor.
    ///
    /// # Errors
    /// What epoll(7) says.
    pub(crate) fn own(fd: OwnedFd, terminal: bool) -> io::Result<Self> {
        Ok(Self::Own { fd: Some(watch(fd, Interest::WRITABLE)?), terminal })
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let fd = match &*self {
            Self::Shared { input, .. } => return input.poll_push(context, bytes),
            Self::Nowhere => return Poll::Ready(Ok(bytes.len())),
            Self::Own { fd: Some(fd), .. } => fd,
            Self::Own { fd: None, .. } => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        loop {
            let mut ready = ready!(fd.poll_write_ready(context))?;
            match rustix::io::write(ready.get_inner(), bytes) {
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                done => return Poll::Ready(done.map_err(io::Error::from)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Shared { input, terminal: false } => input.end(),
            Self::Own { fd, terminal: false } => *fd = None,
            Self::Shared { .. } | Self::Own { .. } | Self::Nowhere => {}
        }
        Poll::Ready(Ok(()))
    }
}
