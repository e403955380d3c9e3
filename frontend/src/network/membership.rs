//! `/networks/{id}/connect` and `…/disconnect`: what networks a container has from now on, where it runs, or from its next
//! start.

use bollard_stubs::models;
use hyper::StatusCode;
use serde::Deserialize;
use vdocker::EngineError;
use vdocker::response::{self, Response};

use super::Network;
use crate::container::record::Status;
use crate::container::{Container, endpoints, networking};
use crate::context::Context;

/// What connect and disconnect take.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Wish {
    container: String,
    endpoint_config: Option<models::EndpointSettings>,
    force: Option<bool>,
}

/// `POST /networks/{id}/connect`.
pub(super) async fn connect(mut context: Context) -> Result<Response, EngineError> {
    let wish: Wish = context.json().await?;
    let daemon = &context.daemon;
    let container = daemon.containers.find(&wish.container)?;
    let network = daemon.networks.find(&context.name)?;
    let _operation = container.operation.lock().await;
    check_state(&container)?;
    let is_running = container.process.borrow().is_some();
    if container.is_on(&network.id) {
        // Docker takes no notice of a second time while it does not run.
        return if is_running {
            Err(already(&container, &network))
        } else {
            Ok(response::status(StatusCode::OK))
        };
    }
    let settings = wish.endpoint_config.unwrap_or_default();
    endpoints::connect(&container, &network, settings)?;
    let mut events = Vec::new();
    if is_running {
        if let Err(error) = networking::plug(daemon, &container, &network.id).await {
            endpoints::disconnect(&container, &network);
            return Err(error);
        }
        events.push(network.event("connect", &[("container", &container.id)]));
    }
    container.change(daemon, |_| {}, events).await?;
    Ok(response::status(StatusCode::OK))
}

/// `POST /networks/{id}/disconnect`.
pub(super) async fn disconnect(mut context: Context) -> Result<Response, EngineError> {
    let wish: Wish = context.json().await?;
    let daemon = &context.daemon;
    let container = match daemon.containers.find(&wish.container) {
        // A container that is gone is on no network.
        Err(EngineError::NotFound(_)) if wish.force == Some(true) => {
            daemon.networks.find(&context.name)?;
            return Ok(response::status(StatusCode::OK));
        }
        found => found?,
    };
    let network = daemon.networks.find(&context.name)?;
    let _operation = container.operation.lock().await;
    check_state(&container)?;
    if !container.is_on(&network.id) {
        return Err(EngineError::Denied(format!(
            "container {} is not connected to the network {}",
            container.id, network.name
        )));
    }
    let settings = endpoints::disconnect(&container, &network);
    let mut events = Vec::new();
    if container.process.borrow().is_some() {
        if let Err(error) = networking::unplug(daemon, &container, &network.id).await {
            endpoints::restore(&container, settings);
            return Err(error);
        }
        events.push(network.event("disconnect", &[("container", &container.id)]));
    }
    container.change(daemon, |_| {}, events).await?;
    Ok(response::status(StatusCode::OK))
}

fn check_state(container: &Container) -> Result<(), EngineError> {
    let is_going =
        matches!(container.status(), Status::Removing | Status::Dead) || container.life.borrow().removed;
    if !is_going {
        return Ok(());
    }
    Err(EngineError::Conflict(format!(
        "Container {} is marked for removal and cannot be connected or disconnected to the network",
        container.id
    )))
}

fn already(container: &Container, network: &Network) -> EngineError {
    let (name, network) = (container.name(), &network.name);
    EngineError::Denied(format!("endpoint with name {name} already exists in network {network}"))
}
