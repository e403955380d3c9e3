//! What a process writes, as PID 1 reads it: a pipe or a terminal, until all that the process wrote is taken.

use crate::latch::Latch;
use crate::watch::watch;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, Interest, ReadBuf};

/// Output bytes taken after the process has ended, at most: what a full pipe holds. More can only come from a
/// foreign process that was given the pipe, and that must not hold up whoever waits for the end.
const MAX_AFTER_END: usize = 1 << 20;

/// PID 1's end of a process's standard output, standard error or terminal.
#[derive(Debug)]
pub(crate) struct Output {
    fd: AsyncFd<OwnedFd>,
    ended: Rc<Latch>,
    after_end: usize,
}

impl Output {
    /// Over a non-blocking descriptor. `ended`: the process is gone, and what is not there yet is not its own.
    ///
    /// # Errors
    /// What epoll(7) says.
    pub(crate) fn new(fd: OwnedFd, ended: Rc<Latch>) -> io::Result<Self> {
        Ok(Self { fd: watch(fd, Interest::READABLE)?, ended, after_end: 0 })
    }

    /// Reads once: so many bytes, 0 at the end of output.
    pub(crate) fn poll_bytes(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<usize> {
        loop {
            let ended = self.ended.is_set();
            if !ended && let Poll::Pending = self.wait(context) {
                return Poll::Pending;
            }
            match rustix::io::read(self.fd.get_ref(), &mut *buffer) {
                Ok(count) if count > 0 && self.after_end <= MAX_AFTER_END => {
                    if ended {
                        self.after_end += count;
                    }
                    return Poll::Ready(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !ended => self.clear_ready(context),
                // The end; for a terminal EIO, which it also says before anybody has opened the other side, but
                // the new process has from its clone on.
                _ => return Poll::Ready(0),
            }
        }
    }

    /// Ready when something may be there, or the process has ended.
    fn wait(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.fd.poll_read_ready(context) {
            Poll::Pending => self.ended.poll_set(context),
            Poll::Ready(_) => Poll::Ready(()),
        }
    }

    fn clear_ready(&self, context: &mut Context<'_>) {
        if let Poll::Ready(Ok(mut ready)) = self.fd.poll_read_ready(context) {
            ready.clear_ready();
        }
    }
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = ready!(self.poll_bytes(context, buffer.initialize_unfilled()));
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    fn output() -> (OwnedFd, Output, Rc<Latch>) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&read, true).unwrap();
        let ended = Rc::new(Latch::default());
        let output = Output::new(read, Rc::clone(&ended)).unwrap();
        (write, output, ended)
    }

    #[tokio::test]
    async fn output_ends_with_the_last_writer() {
        let (write, mut output, _ended) = output();
        rustix::io::write(&write, b"text").unwrap();
        drop(write);
        let mut text = String::new();
        output.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "text");
    }

    #[tokio::test]
    async fn a_pipe_that_is_held_by_others_ends_with_the_process() {
        let (write, mut output, ended) = output();
        rustix::io::write(&write, b"last").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(output.read(&mut buffer).await.unwrap(), 4);
        let (count, ()) = tokio::join!(output.read(&mut buffer), async {
            tokio::task::yield_now().await;
            rustix::io::write(&write, b"words").unwrap();
            ended.set();
        });
        assert_eq!(count.unwrap(), 5, "what was written before the end is taken");
        assert_eq!(output.read(&mut buffer).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_foreign_writer_cannot_go_on_for_ever() {
        let (write, mut output, ended) = output();
        ended.set();
        let mut buffer = vec![0; 1 << 16];
        let mut taken = 0;
        loop {
            rustix::io::write(&write, &buffer).unwrap();
            match output.read(&mut buffer).await.unwrap() {
                0 => break,
                count => taken += count,
            }
        }
        assert!((MAX_AFTER_END..=MAX_AFTER_END + buffer.len()).contains(&taken));
    }
}
