//! The server: gives each connection to hyper and each request to a [`Service`], counts what is open, and ends it all in
//! order.
//!
//! Everything runs on one thread, in a [`tokio::task::LocalSet`]: whoever accepts connections spawns
//! [`Server::serve_connection`] for each.

mod connection;
mod panics;
mod wire;

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use hyper::http::request::Parts;
use tokio::sync::watch;

pub use self::wire::Wire;
use crate::hijack::Socket;
use crate::request_body::RequestBody;
use crate::response::Response;

/// Connections at a time; more are told that the server is busy.
pub const MAX_CONNECTIONS: usize = 256;

/// Hijacked streams at a time.
pub const MAX_STREAMS: usize = 128;

/// What answers requests.
pub trait Service: 'static {
    /// Answers a request. May never return: then the request's [`Wire`] was told to take the connection over.
    fn answer(self: Rc<Self>, request: Request) -> impl Future<Output = Response>;
}

/// A request as a service gets it.
#[derive(Debug)]
pub struct Request {
    /// Method, target and headers.
    pub parts: Parts,
    /// The body, not yet read.
    pub body: RequestBody,
    /// What it may do with its connection.
    pub wire: Wire,
}

/// A service that connections reach.
#[derive(Debug)]
pub struct Server<S> {
    service: Rc<S>,
    open: Rc<Open>,
}

impl<S> Clone for Server<S> {
    fn clone(&self) -> Self {
        Self { service: Rc::clone(&self.service), open: Rc::clone(&self.open) }
    }
}

impl<S: Service> Server<S> {
    /// A server without connections. The service is made with what it shares with them.
    #[must_use]
    pub fn serving(service: impl FnOnce(Rc<Open>) -> S) -> Self {
        Self::limited(MAX_CONNECTIONS, MAX_STREAMS, service)
    }

    /// [`Server::serving`] with so many connections, and so many of them streams, at most.
    #[must_use]
    pub fn limited(connections: usize, streams: usize, service: impl FnOnce(Rc<Open>) -> S) -> Self {
        let open = Open {
            closing: watch::Sender::new(false),
            connections: Gauge::new(connections),
            streams: Gauge::new(streams),
        };
        let open = Rc::new(open);
        Self { service: Rc::new(service(Rc::clone(&open))), open }
    }

    /// Serves a connection to its end: requests one after the other, and the stream that one of them may turn it
    /// into. A panic in it ends it alone. The connection is open from this call on, for [`Server::close`] too.
    pub fn serve_connection<T>(&self, io: T) -> impl Future<Output = ()> + use<S, T>
    where
        T: Socket,
    {
        let (server, entered) = (self.clone(), self.open.connections.enter());
        async move {
            match entered {
                Some(_open) => panics::contained(connection::serve(server, io)).await,
                None => connection::refuse(io).await,
            }
        }
    }

    /// Asks all connections to end: idle ones at once, the others after their request; streams give out their last
    /// bytes first. Returns when none is left (`true`), or after the time given (`false`).
    pub async fn close(&self, grace: Duration) -> bool {
        self.open.closing.send_replace(true);
        tokio::time::timeout(grace, self.open.connections.emptied()).await.is_ok()
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &Rc<S> {
        &self.service
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.connections()
    }

    /// Connections that are hijacked streams.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.open.streams()
    }
}

/// What is open, and whether it is to end.
#[derive(Debug)]
pub struct Open {
    /// Sends `true` once the server is asked to end.
    pub(crate) closing: watch::Sender<bool>,
    connections: Gauge,
    streams: Gauge,
}

impl Open {
    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Connections that are hijacked streams.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.count()
    }

    /// Returns once the server is asked to end.
    pub async fn closing(&self) {
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
#[derive(Debug)]
struct Gauge {
    count: watch::Sender<usize>,
    limit: usize,
}

/// One that is counted, until it is dropped.
#[derive(Debug)]
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
