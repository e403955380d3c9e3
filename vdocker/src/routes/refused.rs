//! What Docker does and a pod does not: each request is told why, instead of being met with an unknown path.

use std::rc::Rc;

use hyper::Method;

use crate::container::Container;
use crate::context::Context;
use crate::engine::{Engine, EngineError, Verb};
use crate::response::Response;
use crate::routes::{Route, pod};

const CONTAINERS: &str = "a pod has the containers that it was summoned with: none can be added";
const IMAGES: &str = "a pod has the images of its containers and no others";
const NETWORKS: &str = "the containers of a pod share the network of the pod: there are no others";
const VOLUMES: &str = "a pod has the volumes of its containers and no others";
const PRUNE: &str = "all that a pod has is in use: there is nothing to prune";
const PLUGINS: &str = "a pod has no plugins";
const BUILDS: &str = "a pod builds no images";
const SWARM: &str = "a pod is in no swarm";

/// Requests that are refused, and why.
const REFUSED: [(Method, &str, &str); 34] = [
    (Method::POST, "containers/create", CONTAINERS),
    (Method::POST, "containers/prune", PRUNE),
    (Method::POST, "images/create", IMAGES),
    (Method::POST, "images/load", IMAGES),
    (Method::GET, "images/get", IMAGES),
    (Method::GET, "images/search", IMAGES),
    (Method::POST, "images/prune", PRUNE),
    (Method::POST, "commit", IMAGES),
    (Method::POST, "build", BUILDS),
    (Method::POST, "build/prune", BUILDS),
    (Method::POST, "session", BUILDS),
    (Method::POST, "grpc", BUILDS),
    (Method::POST, "networks/create", NETWORKS),
    (Method::POST, "networks/prune", PRUNE),
    (Method::POST, "volumes/create", VOLUMES),
    (Method::POST, "volumes/prune", PRUNE),
    (Method::POST, "plugins/pull", PLUGINS),
    (Method::POST, "plugins/create", PLUGINS),
    (Method::POST, "swarm/init", SWARM),
    (Method::POST, "swarm/join", SWARM),
    (Method::POST, "swarm/leave", SWARM),
    (Method::POST, "services/create", SWARM),
    (Method::POST, "auth", "a pod fetches no images and logs in nowhere"),
    (Method::GET, "system/df", "a pod does not know what its images take: see `docker ps --size`"),
    (Method::GET, "distribution/{id}/json", IMAGES),
    (Method::DELETE, "images/{id}", IMAGES),
    (Method::GET, "images/{id}/get", IMAGES),
    (Method::GET, "images/{id}/history", IMAGES),
    (Method::POST, "images/{id}/push", IMAGES),
    (Method::POST, "images/{id}/tag", IMAGES),
    (Method::DELETE, "networks/{id}", NETWORKS),
    (Method::POST, "networks/{id}/connect", NETWORKS),
    (Method::POST, "networks/{id}/disconnect", NETWORKS),
    (Method::DELETE, "volumes/{id}", VOLUMES),
];

/// What is looked for by name and not found, as Docker says it before and behind the name. Clients that do not know
/// what a name is of go on with the next kind.
const MISSING: [(&str, &str, &str); 2] =
    [("images/{id}/json", "No such image: ", ""), ("volumes/{id}", "get ", ": no such volume")];

/// The routes of all that is refused for the pod as a whole.
pub(super) fn routes<E: Engine>() -> impl Iterator<Item = Route<E>> {
    let refused = REFUSED.into_iter().map(|(method, pattern, reason)| {
        pod(method, pattern, Verb::Inspect, async move |_context: Context<E>| {
            Err(EngineError::Unsupported(reason.into()))
        })
    });
    refused.chain(MISSING.into_iter().map(|(pattern, before, behind)| {
        pod(Method::GET, pattern, Verb::Inspect, move |context: Context<E>| {
            std::future::ready(Err(EngineError::NotFound(format!("{before}{}{behind}", context.id))))
        })
    }))
}

/// `DELETE /containers/{id}`.
pub(super) async fn remove<E: Engine>(
    _context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    Err(EngineError::Conflict(format!(
        "cannot remove container {}: it lives as long as its pod",
        container.spec.name
    )))
}

/// `POST /containers/{id}/rename`.
pub(super) async fn rename<E: Engine>(
    _context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    Err(EngineError::Conflict(format!(
        "cannot rename container {}: its name is part of its pod's specification",
        container.spec.name
    )))
}
