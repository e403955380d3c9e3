//! The pod's Docker API: connections of the host on [`spec::vsock::VDOCKER_PORT`], and their end with the pod.

use crate::connection::{Connection, Connections};
use crate::engine::Engine;
use crate::latch::Latch;
use crate::vsock;
use crate::watch::watch;
use rustix::fd::OwnedFd;
use std::cell::OnceCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::sync::Notify;
use vdocker::server::MAX_CONNECTIONS;
use vdocker::{Pod, Server, task};

/// How long after a pod's end its clients may get on with nothing before power is cut.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a client that gets on with something is waited for so long: no stream keeps the machine for ever.
const MOST_TURNS: u32 = 300;

/// From a connection that could not be accepted to the next try.
const NEXT_TRY: Duration = Duration::from_millis(100);

/// How often those are accepted that have connected before the end: some may have been on their way at the first time.
const LAST_CALLS: u32 = 2;

/// The API's server, made for the first connection.
pub(crate) struct Api {
    engine: Rc<Engine>,
    listener: Rc<OwnedFd>,
    server: OnceCell<Server<Pod<Engine>>>,
    connections: Rc<Connections>,
    /// Nobody is accepted any more but at [`Self::end`].
    ending: Latch,
    /// Connections that are left are dropped.
    over: Rc<Notify>,
}

impl Api {
    /// Over that engine, for those who connect to the listener.
    pub(crate) fn new(engine: Rc<Engine>, listener: OwnedFd) -> Self {
        Self {
            engine,
            listener: Rc::new(listener),
            server: OnceCell::new(),
            connections: Rc::default(),
            ending: Latch::default(),
            over: Rc::default(),
        }
    }

    /// Accepts and serves connections until the pod's end.
    ///
    /// # Errors
    /// A listener that cannot be waited for.
    pub(crate) async fn run(&self) -> io::Result<()> {
        let listener = watch(Rc::clone(&self.listener), Interest::READABLE)?;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.ending.wait() => return Ok(()),
                accepted = listener.async_io(Interest::READABLE, |listener| vsock::accept(listener)) => accepted,
            };
            match accepted {
                Ok(Some(socket)) => self.serve(socket),
                Ok(None) => {}
                // A client that has gone again, or no memory for one: the next may fare better.
                Err(_) => tokio::time::sleep(NEXT_TRY).await,
            }
        }
    }

    /// Serves a connection until it ends.
    fn serve(&self, socket: OwnedFd) {
        let Ok(connection) = Connection::new(socket, Rc::clone(&self.connections)) else { return };
        let server = self.server.get_or_init(|| {
            self.engine.prepare();
            Server::new(Rc::clone(&self.engine))
        });
        // It counts from here: an end that comes before the task's first turn waits for it too.
        let (served, over) = (server.serve_connection(connection), Rc::clone(&self.over));
        task::spawn(async move {
            tokio::select! {
                () = served => {}
                () = over.notified() => {}
            }
        });
    }

    /// Ends all connections, those too that wait to be accepted: each is told what there is to tell, and the last bytes
    /// reach the host, if it takes them. Whether all that clients have begun has ended.
    pub(crate) async fn end(&self) -> bool {
        self.ending.set();
        self.connections.end();
        for _ in 0..LAST_CALLS {
            // As many at most as the server takes.
            for _ in 0..MAX_CONNECTIONS {
                match vsock::accept(&self.listener) {
                    Ok(socket) => drop(socket.map(|socket| self.serve(socket))),
                    // Nobody is left, or there is no memory for one.
                    Err(_) => break,
                }
            }
            let Some(server) = self.server.get() else { return true };
            self.close(server).await;
        }
        self.over.notify_waiters();
        // The dropped ones let go of files, and begin to wait for the host.
        tokio::task::yield_now().await;
        self.connections.taken(PATIENCE).await;
        self.engine.end().await
    }

    /// Waits for the ends of connections while they get on with something.
    async fn close(&self, server: &Server<Pod<Engine>>) {
        for _ in 0..MOST_TURNS {
            let before = self.connections.moved();
            if server.close(PATIENCE).await || self.connections.moved() == before {
                return;
            }
        }
    }
}
