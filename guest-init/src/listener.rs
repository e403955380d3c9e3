//! The pod's Docker API: connections of the host on [`spec::vsock::VDOCKER_PORT`], and their end with the pod.

use crate::connection::{Connection, Connections};
use crate::engine::Engine;
use crate::vsock;
use crate::watch::watch;
use rustix::fd::OwnedFd;
use std::cell::OnceCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::sync::Notify;
use vdocker::{Pod, Server};

/// How long after a pod's end its clients may get on with nothing before power is cut.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a client that gets on with something is waited for so long: no stream keeps the machine for ever.
const MOST_TURNS: u32 = 300;

/// From a connection that could not be accepted to the next try.
const NEXT_TRY: Duration = Duration::from_millis(100);

/// The API's server, made for the first connection.
pub(crate) struct Api {
    engine: Rc<Engine>,
    server: OnceCell<Server<Pod<Engine>>>,
    connections: Rc<Connections>,
    /// Connections that are left are dropped.
    over: Rc<Notify>,
}

impl Api {
    /// Over that engine.
    pub(crate) fn new(engine: Rc<Engine>) -> Self {
        Self { engine, server: OnceCell::new(), connections: Rc::default(), over: Rc::default() }
    }

    /// Accepts and serves connections for as long as the pod lives.
    ///
    /// # Errors
    /// A listener that cannot be waited for.
    pub(crate) async fn run(&self, listener: OwnedFd) -> io::Result<()> {
        let listener = watch(listener, Interest::READABLE)?;
        loop {
            let socket = match listener.async_io(Interest::READABLE, vsock::accept).await {
                Ok(Some(socket)) => socket,
                Ok(None) => continue,
                // A client that has gone again, or no memory for one: the next may fare better.
                Err(_) => {
                    tokio::time::sleep(NEXT_TRY).await;
                    continue;
                }
            };
            let Ok(connection) = Connection::new(socket, Rc::clone(&self.connections)) else { continue };
            let server = self.server.get_or_init(|| {
                self.engine.prepare();
                Server::new(Rc::clone(&self.engine))
            });
            let (server, over) = (server.clone(), Rc::clone(&self.over));
            tokio::task::spawn_local(async move {
                tokio::select! {
                    () = server.serve_connection(connection) => {}
                    () = over.notified() => {}
                }
            });
        }
    }

    /// Ends all connections: their last answers and bytes reach the host, if it takes them. Whether all that clients
    /// have begun has ended.
    pub(crate) async fn end(&self) -> bool {
        let Some(server) = self.server.get() else { return true };
        self.connections.end();
        for _ in 0..MOST_TURNS {
            let before = self.connections.moved();
            if server.close(PATIENCE).await || self.connections.moved() == before {
                break;
            }
        }
        self.over.notify_waiters();
        // The dropped ones let go of files, and begin to wait for the host.
        tokio::task::yield_now().await;
        self.connections.taken(PATIENCE).await;
        self.engine.end().await
    }
}
