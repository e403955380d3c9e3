//! The host's end of the pod's life: the stdio stream ([`crate::stream`]) as tasks use it.

use crate::latch::Latch;
use crate::stream::{Frame, Stream, StreamError};
use crate::watch::watch;
use rustix::fd::OwnedFd;
use spec::frame::Kind;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

/// The stdio stream, shared by all who have something to tell the host.
#[derive(Debug)]
pub(crate) struct Host {
    stream: RefCell<Stream>,
    /// Something waits for the host.
    outgoing: Notify,
    /// The host has taken something.
    taken: Notify,
    /// Set when the stream cannot be used any more.
    pub(crate) broken: Latch,
    error: RefCell<Option<StreamError>>,
}

impl Host {
    /// Over the boot's stream.
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream: RefCell::new(stream),
            outgoing: Notify::new(),
            taken: Notify::new(),
            broken: Latch::default(),
            error: RefCell::default(),
        }
    }

    /// Queues bytes for the host; without one they are forgotten, so that containers can end.
    pub(crate) fn push(&self, kind: Kind, container: usize, payload: &[u8]) {
        if !self.broken.is_set() {
            self.stream.borrow_mut().push(kind, container, payload);
            self.outgoing.notify_one();
        }
    }

    /// Waits until more container output may be queued.
    pub(crate) async fn room(&self) {
        while !self.stream.borrow().has_room() {
            self.taken.notified().await;
        }
    }

    /// Waits until the host's socket has taken everything.
    pub(crate) async fn sent(&self) {
        while self.stream.borrow().has_output() {
            self.taken.notified().await;
        }
    }

    /// The stream is broken: what waits is thrown away.
    pub(crate) fn give_up(&self, error: StreamError) {
        self.error.borrow_mut().get_or_insert(error);
        self.stream.borrow_mut().throw_away();
        self.broken.set();
        self.taken.notify_waiters();
    }

    /// Why the stream is broken.
    pub(crate) fn error(&self) -> StreamError {
        self.error.borrow_mut().take().unwrap_or(StreamError::Closed)
    }

    /// Carries frames both ways until the stream breaks; `obey` gets those from the host.
    pub(crate) async fn run(&self, obey: impl FnMut(&Frame) -> Result<(), StreamError>) {
        let socket = self.stream.borrow().socket();
        let carried = async {
            let socket =
                watch(socket, Interest::READABLE | Interest::WRITABLE).map_err(StreamError::Socket)?;
            tokio::select! {
                error = self.send(&socket) => error,
                error = self.receive(&socket, obey) => error,
            }
        };
        if let Err(error) = carried.await {
            self.give_up(error);
        }
    }

    async fn send(&self, socket: &AsyncFd<Rc<OwnedFd>>) -> Result<(), StreamError> {
        loop {
            self.stream.borrow_mut().flush()?;
            self.taken.notify_waiters();
            if self.stream.borrow().has_output() {
                let write = || socket.async_io(Interest::WRITABLE, |_| self.flush_some());
                write().await.map_err(StreamError::Socket)?;
            } else {
                self.outgoing.notified().await;
            }
        }
    }

    /// Sends what the socket takes; `WouldBlock` where that is nothing.
    fn flush_some(&self) -> io::Result<()> {
        let mut stream = self.stream.borrow_mut();
        let before = stream.waiting();
        match stream.flush() {
            Ok(()) if stream.waiting() == before && before > 0 => Err(io::ErrorKind::WouldBlock.into()),
            Ok(()) => Ok(()),
            Err(StreamError::Socket(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    async fn receive(
        &self,
        socket: &AsyncFd<Rc<OwnedFd>>,
        mut obey: impl FnMut(&Frame) -> Result<(), StreamError>,
    ) -> Result<(), StreamError> {
        loop {
            let mut ready = socket.readable().await.map_err(StreamError::Socket)?;
            let received = self.stream.borrow_mut().receive()?;
            let Some(frames) = received else {
                ready.clear_ready();
                continue;
            };
            for frame in frames {
                obey(&frame)?;
            }
        }
    }
}
