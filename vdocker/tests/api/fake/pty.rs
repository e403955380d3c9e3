//! The engine's side of a pseudo-terminal, for the event loop.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use vdocker::engine::TerminalSize;

/// A terminal.
pub(crate) struct Pty(AsyncFd<OwnedFd>);

impl Pty {
    /// A new terminal, and the side of it that is for programs.
    pub(super) fn open(size: TerminalSize) -> (Rc<Self>, File) {
        let engine_side = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&engine_side).unwrap();
        unlockpt(&engine_side).unwrap();
        let path = ptsname(&engine_side, Vec::new()).unwrap();
        let program_side = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
        let flags = fcntl_getfl(&engine_side).unwrap();
        fcntl_setfl(&engine_side, flags | OFlags::NONBLOCK).unwrap();
        #[expect(deprecated, reason = "what takes its place is unsafe; an OwnedFd is what it says")]
        let watched = AsyncFd::new(engine_side).unwrap();
        let pty = Rc::new(Self(watched));
        if size != TerminalSize::default() {
            pty.resize(size);
        }
        (pty, program_side)
    }

    /// Changes its size.
    pub(crate) fn resize(&self, size: TerminalSize) {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.0.get_ref(), size).unwrap();
    }
}

/// Reads and writes a terminal.
#[derive(Clone)]
pub(super) struct PtyStream(pub(super) Rc<Pty>);

impl AsyncRead for PtyStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.0.poll_read_ready(context))?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), buffer.initialize_unfilled())?));
            match read {
                Ok(Ok(length)) => buffer.advance(length),
                // A terminal that no program has open.
                Ok(Err(error)) if error.raw_os_error() == Some(5) => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => continue,
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for PtyStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.0.poll_write_ready(context))?;
            if let Ok(written) = ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
