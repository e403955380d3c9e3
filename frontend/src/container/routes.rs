//! The routes of containers.

use hyper::Method;

use super::{attach, create, lifecycle, wait};
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
    ]
}
