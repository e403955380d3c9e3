//! The table of routes: method, path, what it does in the policy's eyes, and the function that does it.

mod archive;
mod attach;
mod events;
mod exec;
mod inspect;
mod lifecycle;
mod list;
mod logs;
mod ping;
mod refused;
mod stats;
mod system;
mod update;
mod wait;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use hyper::Method;

use crate::container::Container;
use crate::context::Context;
use crate::engine::{Engine, EngineError, TerminalSize, Verb};
use crate::exec::registry::Exec;
use crate::query::{self, Query};
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
    /// For the exec that `{id}` names.
    Exec(Box<dyn Fn(Context<E>, Rc<Exec>) -> Answer>),
}

/// All routes.
pub(crate) fn table<E: Engine>() -> Vec<Route<E>> {
    let mut routes = pod_routes();
    routes.extend(container_routes());
    routes.extend(stream_routes());
    routes.extend(lifecycle_routes());
    routes.extend(refused::routes());
    routes
}

/// About the pod as a whole.
fn pod_routes<E: Engine>() -> Vec<Route<E>> {
    let mut routes = vec![
        pod(Method::GET, "_ping", Verb::Inspect, ping::ping),
        pod(Method::HEAD, "_ping", Verb::Inspect, ping::ping),
        pod(Method::GET, "version", Verb::Inspect, system::version),
        pod(Method::GET, "info", Verb::Inspect, system::info),
        pod(Method::GET, "events", Verb::Events, events::events),
        pod(Method::GET, "containers/json", Verb::Inspect, list::list),
        pod(Method::GET, "images/json", Verb::Inspect, system::images),
        pod(Method::GET, "volumes", Verb::Inspect, system::volumes),
        pod(Method::GET, "networks", Verb::Inspect, system::networks),
        pod(Method::GET, "networks/{id}", Verb::Inspect, system::network),
        pod(Method::GET, "plugins", Verb::Inspect, system::nothing),
        pod(Method::POST, "cradle/shutdown", Verb::Shutdown, system::shutdown),
    ];
    let of_swarms = ["swarm", "nodes", "services", "tasks", "secrets", "configs"];
    routes.extend(of_swarms.map(|list| pod(Method::GET, list, Verb::Inspect, system::no_swarm)));
    routes
}

/// About what a container is, does and holds.
fn container_routes<E: Engine>() -> Vec<Route<E>> {
    vec![
        container(Method::GET, "containers/{id}/json", Verb::Inspect, inspect::inspect),
        container(Method::GET, "containers/{id}/top", Verb::Top, inspect::top),
        container(Method::GET, "containers/{id}/stats", Verb::Stats, stats::stats),
        container(Method::GET, "containers/{id}/changes", Verb::ReadFiles, inspect::changes),
        container(Method::GET, "containers/{id}/export", Verb::ReadFiles, archive::export),
        container(Method::GET, "containers/{id}/layer", Verb::ReadFiles, archive::layer),
        container(Method::HEAD, "containers/{id}/archive", Verb::ReadFiles, archive::stat),
        container(Method::GET, "containers/{id}/archive", Verb::ReadFiles, archive::read),
        container(Method::PUT, "containers/{id}/archive", Verb::WriteFiles, archive::write),
    ]
}

/// About what a container's processes say and hear.
fn stream_routes<E: Engine>() -> Vec<Route<E>> {
    vec![
        container(Method::GET, "containers/{id}/logs", Verb::Logs, logs::logs),
        container(Method::POST, "containers/{id}/attach", Verb::Logs, attach::attach),
        container(Method::GET, "containers/{id}/attach/ws", Verb::Logs, attach::websocket),
        container(Method::POST, "containers/{id}/exec", Verb::Exec, exec::create),
        exec(Method::POST, "exec/{id}/start", Verb::Exec, exec::start),
        exec(Method::POST, "exec/{id}/resize", Verb::Exec, exec::resize),
        exec(Method::GET, "exec/{id}/json", Verb::Inspect, exec::inspect),
    ]
}

/// About whether a container runs.
fn lifecycle_routes<E: Engine>() -> Vec<Route<E>> {
    vec![
        container(Method::POST, "containers/{id}/wait", Verb::Wait, wait::wait),
        container(Method::POST, "containers/{id}/start", Verb::Start, lifecycle::start),
        container(Method::POST, "containers/{id}/stop", Verb::Stop, lifecycle::stop),
        container(Method::POST, "containers/{id}/restart", Verb::Restart, lifecycle::restart),
        container(Method::POST, "containers/{id}/kill", Verb::Kill, lifecycle::kill),
        container(Method::POST, "containers/{id}/pause", Verb::Pause, lifecycle::pause),
        container(Method::POST, "containers/{id}/unpause", Verb::Pause, lifecycle::unpause),
        container(Method::POST, "containers/{id}/resize", Verb::Resize, lifecycle::resize),
        container(Method::POST, "containers/{id}/update", Verb::Update, update::update),
        container(Method::POST, "containers/{id}/rename", Verb::Inspect, refused::rename),
        container(Method::DELETE, "containers/{id}", Verb::Inspect, refused::remove),
    ]
}

impl<E: Engine> Route<E> {
    /// What stands for `{id}` in a path that the route is for, decoded; empty without one. `None`: the route is not
    /// for it.
    pub(crate) fn matches(&self, method: &Method, path: &str) -> Option<String> {
        if self.method == method { id_in(self.pattern, path) } else { None }
    }
}

fn id_in(pattern: &str, path: &str) -> Option<String> {
    let mut id = String::new();
    let mut wanted = pattern.split('/');
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

fn exec<E: Engine, F>(
    method: Method,
    pattern: &'static str,
    verb: Verb,
    handler: impl Fn(Context<E>, Rc<Exec>) -> F + 'static,
) -> Route<E>
where
    F: Future<Output = Result<Response, EngineError>> + 'static,
{
    let handler = Handler::Exec(Box::new(move |context, exec| Box::pin(handler(context, exec))));
    Route { method, pattern, verb, handler }
}

/// The size of a terminal, from `h` and `w`.
fn terminal_size(query: &Query) -> Result<TerminalSize, EngineError> {
    let length = |name: &str, what: &str| {
        let text = query.get(name).unwrap_or_default();
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let reason = if is_number || text.starts_with('-') { "value out of range" } else { "invalid syntax" };
        let number = is_number.then(|| text.parse::<u32>().ok()).flatten();
        let number = number
            .ok_or_else(|| EngineError::BadRequest(format!("invalid resize {what} {text:?}: {reason}")))?;
        Ok(u16::try_from(number).unwrap_or(u16::MAX))
    };
    Ok(TerminalSize { rows: length("h", "height")?, columns: length("w", "width")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_as_a_whole() {
        let id = |path| id_in("containers/{id}/json", path);
        assert_eq!(id("/containers/web/json").as_deref(), Some("web"));
        assert_eq!(id("/containers/%2Fweb%20x/json").as_deref(), Some("/web x"));
        assert_eq!(id_in("info", "/info").as_deref(), Some(""));
        for path in [
            "containers/web/json",
            "/containers//json",
            "/containers/web",
            "/containers/web/json/",
            "/containers/web/json/x",
            "/containers/a/b/json",
            "/containers/%zz/json",
            "/containers/%ff/json",
            "/containers/%00/json",
            "/Containers/web/json",
            "/containers/{id}/",
            "/",
            "",
        ] {
            assert_eq!(id(path), None, "{path}");
        }
    }

    #[test]
    fn sizes_are_whole_numbers() {
        let size = |text| terminal_size(&Query::parse(text).unwrap()).map_err(|error| error.to_string());
        assert_eq!(size("h=24&w=80"), Ok(TerminalSize { rows: 24, columns: 80 }));
        assert_eq!(size("h=0&w=4294967295"), Ok(TerminalSize { rows: 0, columns: u16::MAX }));
        assert_eq!(size("w=80"), Err("invalid resize height \"\": invalid syntax".into()));
        assert_eq!(size("h=1&w=x"), Err("invalid resize width \"x\": invalid syntax".into()));
        assert_eq!(size("h=1&w=+1"), Err("invalid resize width \" 1\": invalid syntax".into()));
        for far in ["h=-1&w=1", "h=4294967296&w=1"] {
            assert!(size(far).unwrap_err().ends_with("value out of range"), "{far}");
        }
    }
}
