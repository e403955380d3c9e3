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
use vdocker::Server;

/// How long after a pod's end its clients may get on with nothing before power is cut.
const PATIENCE: Duration = Duration::from_secs(2);

/// From a connection that could not be accepted to the next try.
const NEXT_TRY: Duration = Duration::from_millis(100);

/// The API's server, made for the first connection.
pub(crate) struct Api {
    engine: Rc<Engine>,
    server: OnceCell<Server<Engine>>,
    connections: Rc<Connections>,
}

impl Api {
    /// Over that engine.
    pub(crate) fn new(engine: Rc<Engine>) -> Self {
        Self { engine, server: OnceCell::new(), connections: Rc::default() }
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
            let server = server.clone();
            tokio::task::spawn_local(async move { server.serve_connection(connection).await });
        }
    }

    /// Ends all connections: their last answers and bytes reach the host, if it takes them.
    pub(crate) async fn end(&self) {
        let Some(server) = self.server.get() else { return };
        self.connections.end();
        loop {
            let before = self.connections.moved();
            if server.close(PATIENCE).await || self.connections.moved() == before {
                break;
            }
        }
        self.connections.taken(PATIENCE).await;
    }
}
