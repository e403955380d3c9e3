//! What the pod is: `/version`, `/info`, and the lists of things that a pod has few or none of.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde_json::json;

use crate::api::container::mounts;
use crate::api::image::ImageSummary;
use crate::api::network::{MODE, NETWORK};
use crate::api::system::{Info, Version};
use crate::context::Context;
use crate::engine::{Engine, EngineError, StopOptions};
use crate::response::{self, Response};
use crate::routes::lifecycle::stop_options;
use crate::time;

/// `GET /version`.
pub(super) async fn version<E: Engine>(context: Context<E>) -> Result<Response, EngineError> {
    response::json(StatusCode::OK, &Version::new(&context.engine.system()))
}

/// `GET /info`.
pub(super) async fn info<E: Engine>(context: Context<E>) -> Result<Response, EngineError> {
    let engine = &*context.engine;
    let containers = engine.containers().iter().map(|container| &**container);
    let images = ImageSummary::all(containers.clone()).len();
    response::json(StatusCode::OK, &Info::new(&engine.system(), containers, images))
}

/// `GET /images/json`: the images of the pod's containers.
pub(super) async fn images<E: Engine>(context: Context<E>) -> Result<Response, EngineError> {
    let containers = context.engine.containers().iter().map(|container| &**container);
    response::json(StatusCode::OK, &ImageSummary::all(containers))
}

/// `GET /volumes`: the anonymous volumes of the pod's containers.
pub(super) async fn volumes<E: Engine>(context: Context<E>) -> Result<Response, EngineError> {
    let mut volumes = BTreeMap::new();
    for container in context.engine.containers() {
        let created = time::trimmed(container.created);
        for mount in mounts(&container.spec) {
            let volume = json!({
                "CreatedAt": created, "Driver": "local", "Labels": null, "Mountpoint": "", "Name": mount.name,
                "Options": null, "Scope": "local",
            });
            volumes.insert(mount.name, volume);
        }
    }
    let volumes: Vec<_> = volumes.into_values().collect();
    response::json(StatusCode::OK, &json!({ "Volumes": volumes, "Warnings": null }))
}

/// `GET /networks`: the pod's own, whatever the filters.
pub(super) async fn networks<E: Engine>(_context: Context<E>) -> Result<Response, EngineError> {
    Ok(response::typed(StatusCode::OK, "application/json", format!("[{NETWORK}]\n")))
}

/// `GET /networks/{name}`.
pub(super) async fn network<E: Engine>(context: Context<E>) -> Result<Response, EngineError> {
    match context.id.as_str() {
        MODE => Ok(response::typed(StatusCode::OK, "application/json", NETWORK)),
        name => Err(EngineError::NotFound(format!("network {name} not found"))),
    }
}

/// `GET /plugins`: there are none in a pod.
pub(super) async fn nothing<E: Engine>(_context: Context<E>) -> Result<Response, EngineError> {
    response::json(StatusCode::OK, &json!([]))
}

/// `GET /swarm` and all that only a manager of a swarm has.
pub(super) async fn no_swarm<E: Engine>(_context: Context<E>) -> Result<Response, EngineError> {
    Err(EngineError::Busy("This node is not a swarm manager: a pod is in no swarm.".into()))
}

/// `POST /cradle/shutdown`: stops all containers in order and ends the pod.
pub(super) async fn shutdown<E: Engine>(context: Context<E>) -> Result<Response, EngineError> {
    let StopOptions { grace, .. } = stop_options(&context.query)?;
    let reason = context.query.text("reason").unwrap_or("asked for through the API");
    context.engine.shutdown(reason, grace.flatten());
    Ok(response::status(StatusCode::NO_CONTENT))
}
