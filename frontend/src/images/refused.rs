//! What this engine does not do with images, and what does it instead.

use hyper::{Method, StatusCode};
use serde_json::json;
use vdocker::EngineError;
use vdocker::response;

use crate::routes::{Route, route};

const BUILD: &str = "cradle builds no images: build with `docker buildx build --builder …` on a BuildKit of your own, with \
    podman or with kaniko, then `docker push` it to a registry that is pulled from here, or `docker load` the archive \
    (`docker buildx build -o type=docker,dest=image.tar …`, `podman save`)";
const SEARCH: &str = "cradle searches no registries: look at hub.docker.com, or at the registry's own pages";

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    let nothing = json!({"CachesDeleted": null, "SpaceReclaimed": 0});
    vec![
        route(Method::POST, "build", async |_| Err(EngineError::Unsupported(BUILD.to_owned()))),
        route(Method::POST, "build/cancel", async |_| Err(EngineError::Unsupported(BUILD.to_owned()))),
        route(Method::POST, "build/prune", move |_| {
            let nothing = nothing.clone();
            async move { response::json(StatusCode::OK, &nothing) }
        }),
        route(Method::GET, "images/search", async |_| Err(EngineError::Unsupported(SEARCH.to_owned()))),
    ]
}
