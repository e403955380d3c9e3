//! `/networks/{id}/connect` and `…/disconnect`: what networks a container has at its next start. The networks of a virtual
//! machine that runs stay as they are.

use bollard_stubs::models;
use hyper::StatusCode;
use serde::Deserialize;
use vdocker::EngineError;
use vdocker::response::{self, Response};

use super::Network;
use crate::container::record::Status;
use crate::container::{Container, endpoints};
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
    let is_on = container.is_on(&network.id);
    if container.has_pod() {
        return Err(if is_on { already(&container, &network) } else { refused(&container, "connect") });
    }
    // Docker takes no notice of a second time.
    if !is_on {
        let settings = wish.endpoint_config.unwrap_or_default();
        endpoints::connect(&container, &network, settings)?;
        container.change(daemon, |_| {}, []).await?;
    }
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
    if container.has_pod() {
        return Err(refused(&container, "disconnect"));
    }
    endpoints::disconnect(&container, &network);
    container.change(daemon, |_| {}, []).await?;
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

fn refused(container: &Container, verb: &str) -> EngineError {
    let name = container.name();
    EngineError::Unsupported(format!(
        "container {name} runs, and the networks of a virtual machine cannot be changed while it runs: \
         stop {name}, {verb} it, and start it again"
    ))
}
