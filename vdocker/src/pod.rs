//! The Docker Engine API of one pod: an [`Engine`] behind a [`Server`].

use std::rc::Rc;

use crate::engine::Engine;
use crate::exec::registry::Registry;
use crate::response::Response;
use crate::router;
use crate::routes::{self, Route};
use crate::server::{Open, Request, Server, Service};

/// What all connections of a pod share.
pub struct Pod<E: Engine> {
    pub(crate) engine: Rc<E>,
    pub(crate) execs: Registry,
    pub(crate) open: Rc<Open>,
    pub(crate) routes: Vec<Route<E>>,
}

impl<E: Engine> Service for Pod<E> {
    fn answer(self: Rc<Self>, request: Request) -> impl Future<Output = Response> {
        router::dispatch(self, request)
    }
}

impl<E: Engine> Server<Pod<E>> {
    /// A server of that engine without connections.
    #[must_use]
    pub fn new(engine: Rc<E>) -> Self {
        Self::serving(|open| Pod { engine, execs: Registry::default(), open, routes: routes::table() })
    }
}
