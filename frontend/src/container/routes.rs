//! The routes of containers.

use hyper::Method;

use super::{attach, create, exec, files, inspect, lifecycle, list, prune, update, wait};
use crate::routes::{Route, route};

/// All routes.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        route(Method::POST, "containers/create", create::create),
        route(Method::POST, "containers/{id}/attach", attach::attach),
        route(Method::POST, "containers/{id}/wait", wait::wait),
        route(Method::POST, "containers/{id}/start", lifecycle::start),
        route(Method::POST, "containers/{id}/stop", lifecycle::stop),
        route(Method::POST, "containers/{id}/restart", lifecycle::restart),
        route(Method::POST, "containers/{id}/kill", lifecycle::kill),
        route(Method::POST, "containers/{id}/pause", lifecycle::pause),
        route(Method::POST, "containers/{id}/unpause", lifecycle::unpause),
        route(Method::POST, "containers/{id}/rename", lifecycle::rename),
        route(Method::DELETE, "containers/{id}", lifecycle::remove),
        route(Method::GET, "containers/json", list::list),
        route(Method::POST, "containers/prune", prune::prune),
        route(Method::GET, "containers/{id}/json", inspect::inspect),
        route(Method::POST, "containers/{id}/update", update::update),
        route(Method::GET, "containers/{id}/logs", files::logs),
        route(Method::HEAD, "containers/{id}/archive", files::archive),
        route(Method::GET, "containers/{id}/archive", files::archive),
        route(Method::PUT, "containers/{id}/archive", files::archive),
        route(Method::GET, "containers/{id}/changes", files::changes),
        route(Method::GET, "containers/{id}/export", files::export),
        route(Method::GET, "containers/{id}/top", files::top),
        route(Method::GET, "containers/{id}/stats", files::stats),
        route(Method::POST, "containers/{id}/resize", files::resize),
        route(Method::GET, "containers/{id}/attach/ws", attach::websocket),
        route(Method::POST, "containers/{id}/exec", exec::create),
        route(Method::POST, "exec/{id}/start", exec::start),
        route(Method::POST, "exec/{id}/resize", exec::resize),
        route(Method::GET, "exec/{id}/json", exec::inspect),
    ]
}
