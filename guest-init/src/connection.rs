//! A connection of the host to the pod's API: a stream socket as tasks read and write it, and what is open when the
//! pod ends.
#![expect(unsafe_code, reason = "an upload's buffers would be zeroed before each read")]

use crate::watch::watch;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::Shutdown;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::sync::Notify;
use vdocker::task;

/// All connections together.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Bytes that were moved, either way.
    moved: Cell<u64>,
    /// Whether a connection that ends waits for the host to have taken its last bytes.
    ending: Cell<bool>,
    /// Connections that wait so.
    lingering: Cell<usize>,
    gone: Notify,
}

impl Connections {
    /// From now on, connections that end wait for the host to have taken their last bytes.
    pub(crate) fn end(&self) {
        self.ending.set(true);
    }

    /// Bytes that were moved on all connections, either way: where it stays the same, nobody gets on.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.get()
    }

    /// Waits until all bytes are taken, at most that long.
    pub(crate) async fn taken(&self, patience: Duration) {
        let gone = async {
            while self.lingering.get() > 0 {
                self.gone.notified().await;
            }
        };
        // A host that does not take them does not get them.
        let _impatient = tokio::time::timeout(patience, gone).await;
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Rc<AsyncFd<OwnedFd>>,
    all: Rc<Connections>,
}

impl Connection {
    /// Over a non-blocking stream socket.
    ///
    /// # Errors
    /// What epoll(7) says.
    pub(crate) fn new(socket: OwnedFd, all: Rc<Connections>) -> io::Result<Self> {
        let socket = watch(socket, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket: Rc::new(socket), all })
    }

    fn count(&self, bytes: usize) -> usize {
        self.all.moved.set(self.all.moved.get().wrapping_add(bytes as u64));
        bytes
    }

    fn poll_send(&self, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.socket.poll_write_ready(context))?;
            match rustix::io::writev(ready.get_inner(), parts) {
                Ok(count) => return Poll::Ready(Ok(self.count(count))),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(context))?;
            // SAFETY: nothing but the kernel writes into the space, and it takes nothing back.
            let space = unsafe { buffer.unfilled_mut() };
            match rustix::io::read(ready.get_inner(), space) {
                Ok((read, _)) => {
                    let count = read.len();
                    // SAFETY: the kernel has written that many bytes at the space's beginning.
                    unsafe { buffer.assume_init(count) };
                    buffer.advance(self.count(count));
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match rustix::net::shutdown(self.socket.get_ref(), Shutdown::Write) {
            // The host has gone first.
            Err(Errno::NOTCONN) => Ok(()),
            other => other.map_err(io::Error::from),
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.all.ending.get() {
            return;
        }
        let (socket, all) = (Rc::clone(&self.socket), Rc::clone(&self.all));
        all.lingering.set(all.lingering.get() + 1);
        task::spawn(async move {
            linger(&socket).await;
            drop(socket);
            all.lingering.set(all.lingering.get() - 1);
            all.gone.notify_waiters();
        });
    }
}

/// Waits until the other side closes too: it has then taken all.
async fn linger(socket: &AsyncFd<OwnedFd>) {
    // Where the other side is gone, the read below says so.
    let _gone = rustix::net::shutdown(socket.get_ref(), Shutdown::Write);
    let mut late = [0; 1024];
    let mut read = |socket: &OwnedFd| Ok(rustix::io::read(socket, &mut late)?);
    while socket.async_io(Interest::READABLE, &mut read).await.is_ok_and(|count| count > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::LocalSet;

    fn pair() -> (Connection, UnixStream, Rc<Connections>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let all = Rc::new(Connections::default());
        (Connection::new(ours.into(), Rc::clone(&all)).unwrap(), theirs, all)
    }

    #[tokio::test]
    async fn each_direction_ends_on_its_own() {
        let (mut connection, mut host, all) = pair();
        host.write_all(b"question").unwrap();
        host.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "question");
        let parts = [IoSlice::new(b"an"), IoSlice::new(b"swer")];
        assert_eq!(connection.write_vectored(&parts).await.unwrap(), 6);
        connection.shutdown().await.unwrap();
        let mut text = String::new();
        host.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answer");
        assert_eq!(all.moved(), 14);
    }

    #[tokio::test]
    async fn a_full_socket_makes_the_writer_wait() {
        let (mut connection, mut host, _all) = pair();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            host.read_to_end(&mut bytes).unwrap();
            bytes.len()
        });
        connection.write_all(&vec![7; 3 << 20]).await.unwrap();
        drop(connection);
        assert_eq!(reader.join().unwrap(), 3 << 20);
    }

    #[tokio::test]
    async fn at_the_end_the_last_bytes_are_waited_for() {
        let (mut connection, mut host, all) = pair();
        let local = LocalSet::new();
        local
            .run_until(async {
                connection.write_all(b"last").await.unwrap();
                all.end();
                drop(connection);
                assert_eq!(all.lingering.get(), 1);
                let reader = std::thread::spawn(move || {
                    let mut text = String::new();
                    host.read_to_string(&mut text).unwrap();
                    text
                });
                all.taken(Duration::from_secs(60)).await;
                assert_eq!(all.lingering.get(), 0);
                assert_eq!(reader.join().unwrap(), "last");
            })
            .await;
    }
}
