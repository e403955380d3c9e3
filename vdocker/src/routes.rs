//! The table of routes: method, path, what it does in the policy's eyes, and the function that does it.

mod ping;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use hyper::Method;

use crate::container::Container;
use crate::context::Context;
use crate::engine::{Engine, EngineError, Verb};
use crate::query;
use crate::response::Response;

/// What a handler returns.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response, EngineError>>>>;

/// A line of the table.
pub(crate) struct Route<E: Engine> {
    method: Method,
    /// Segments after the first slash; `{id}` stands for any one.
    pattern: &'static str,
    pub(crate) verb: Verb,
    pub(crate) handler: Handler<E>,
}

/// The function of a route.
pub(crate) enum Handler<E: Engine> {
    /// For the pod as a whole.
    Pod(Box<dyn Fn(Context<E>) -> Answer>),
    /// For the container that `{id}` names.
    Container(Box<dyn Fn(Context<E>, Rc<Container>) -> Answer>),
}

/// All routes.
pub(crate) fn table<E: Engine>() -> Vec<Route<E>> {
    vec![
        pod(Method::GET, "_ping", Verb::Inspect, ping::ping),
        pod(Method::HEAD, "_ping", Verb::Inspect, ping::ping),
    ]
}

/// What stands for `{id}` in a path that the route is for, decoded; empty without one. `None`: the route is not for
/// it.
pub(crate) fn matches<E: Engine>(route: &Route<E>, method: &Method, path: &str) -> Option<String> {
    if route.method != method {
        return None;
    }
    let mut id = String::new();
    let mut wanted = route.pattern.split('/');
    for segment in path.strip_prefix('/')?.split('/') {
        match wanted.next()? {
            "{id}" if !segment.is_empty() => id = query::decode(segment, false)?,
            literal if literal == segment => {}
            _ => return None,
        }
    }
    wanted.next().is_none().then_some(id)
}

fn pod<E: Engine, F>(
    method: Method,
    pattern: &'static str,
    verb: Verb,
    handler: impl Fn(Context<E>) -> F + 'static,
) -> Route<E>
where
    F: Future<Output = Result<Response, EngineError>> + 'static,
{
    let handler = Handler::Pod(Box::new(move |context| Box::pin(handler(context))));
    Route { method, pattern, verb, handler }
}

fn container<E: Engine, F>(
    method: Method,
    pattern: &'static str,
    verb: Verb,
    handler: impl Fn(Context<E>, Rc<Container>) -> F + 'static,
) -> Route<E>
where
    F: Future<Output = Result<Response, EngineError>> + 'static,
{
    let handler =
        Handler::Container(Box::new(move |context, container| Box::pin(handler(context, container))));
    Route { method, pattern, verb, handler }
}
