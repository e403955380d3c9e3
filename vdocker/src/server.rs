//! The server: gives each connection to hyper, counts what is open, and ends it all in order.
//!
//! Everything runs on one thread, in a [`tokio::task::LocalSet`]: whoever accepts connections spawns
//! [`Server::serve_connection`] for each.

mod connection;
mod panics;
mod router;

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use self::connection::Wire;
use crate::engine::Engine;
use crate::exec::registry::Registry;
use crate::hijack::Socket;
use crate::routes::{self, Route};

/// Connections at a time; more are told that the server is busy.
pub const MAX_CONNECTIONS: usize = 256;

/// Hijacked streams at a time.
pub const MAX_STREAMS: usize = 128;

/// The Docker Engine API of an engine.
pub struct Server<E: Engine>(Rc<Api<E>>);

/// What all connections share.
pub(crate) struct Api<E: Engine> {
    pub(crate) engine: Rc<E>,
    pub(crate) execs: Registry,
    pub(crate) closing: watch::Sender<bool>,
    routes: Vec<Route<E>>,
    connections: Gauge,
    streams: Gauge,
}

impl<E: Engine> Clone for Server<E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<E: Engine> Server<E> {
    /// A server of that engine without connections.
    #[must_use]
    pub fn new(engine: Rc<E>) -> Self {
        Self(Rc::new(Api {
            engine,
            execs: Registry::default(),
            closing: watch::Sender::new(false),
            routes: routes::table(),
            connections: Gauge::new(MAX_CONNECTIONS),
            streams: Gauge::new(MAX_STREAMS),
        }))
    }

    /// Serves a connection to its end: requests one after the other, and the stream that one of them may turn it
    /// into. A panic in it ends it alone.
    pub async fn serve_connection<T>(&self, io: T)
    where
        T: Socket,
    {
        match self.0.connections.enter() {
            Some(_open) => panics::contained(connection::serve(Rc::clone(&self.0), io)).await,
            None => connection::refuse(io).await,
        }
    }

    /// Asks all connections to end: idle ones at once, the others after their request; streams give out their last
    /// bytes first. Returns when none is left (`true`), or after the time given (`false`).
    pub async fn close(&self, grace: Duration) -> bool {
        self.0.closing.send_replace(true);
        tokio::time::timeout(grace, self.0.connections.emptied()).await.is_ok()
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.count()
    }

    /// Connections that are hijacked streams.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.0.streams.count()
    }
}

impl<E: Engine> Api<E> {
    /// Returns once the server is asked to end.
    pub(crate) async fn closing(&self) {
        // The sender lives as long as `self`.
        let mut closing = self.closing.subscribe();
        let _closing = closing.wait_for(|closing| *closing).await;
    }

    /// Counts a hijacked stream for as long as the guard lives; `None`: there are too many.
    pub(crate) fn enter_stream(&self) -> Option<Entered> {
        self.streams.enter()
    }
}

/// Counts what goes on, up to a limit.
struct Gauge {
    count: watch::Sender<usize>,
    limit: usize,
}

/// One that is counted, until it is dropped.
pub(crate) struct Entered(watch::Sender<usize>);

impl Gauge {
    fn new(limit: usize) -> Self {
        Self { count: watch::Sender::new(0), limit }
    }

    fn count(&self) -> usize {
        *self.count.borrow()
    }

    fn enter(&self) -> Option<Entered> {
        let is_free = self.count() < self.limit;
        is_free.then(|| {
            self.count.send_modify(|count| *count += 1);
            Entered(self.count.clone())
        })
    }

    async fn emptied(&self) {
        let mut count = self.count.subscribe();
        let _none = count.wait_for(|count| *count == 0).await;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
