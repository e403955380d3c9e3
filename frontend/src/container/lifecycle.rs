//! What changes whether a container runs, as requests ask for it.

use std::rc::Rc;

use hyper::{Method, StatusCode};
use vdocker::response::{self, Response};
use vdocker::{EngineError, signal};

use super::record::Status;
use super::{Container, networking, remove, start, stop};
use crate::context::Context;
use crate::pods::client;
use crate::proxy;

fn found(context: &Context) -> Result<Rc<Container>, EngineError> {
    context.daemon.containers.find(&context.name)
}

fn done() -> Result<Response, EngineError> {
    Ok(response::status(StatusCode::NO_CONTENT))
}

/// Does what a client has asked for to its end, also where the client goes.
pub(crate) async fn whole<T: 'static>(
    work: impl Future<Output = Result<T, EngineError>> + 'static,
) -> Result<T, EngineError> {
    let done = tokio::task::spawn_local(work).await;
    done.unwrap_or_else(|error| Err(EngineError::Failed(error.to_string())))
}

/// `POST /containers/{id}/start`.
pub(super) async fn start(context: Context) -> Result<Response, EngineError> {
    let (container, daemon) = (found(&context)?, Rc::clone(&context.daemon));
    if context.query.text("checkpoint").is_some() {
        return Err(EngineError::BadRequest("checkpoints are not supported".into()));
    }
    whole(async move { start::start(&daemon, &container).await }).await?;
    done()
}

/// `POST /containers/{id}/stop`.
pub(super) async fn stop(context: Context) -> Result<Response, EngineError> {
    let (container, daemon) = (found(&context)?, Rc::clone(&context.daemon));
    let options = stop::Options::read(&context.query)?;
    whole(async move { stop::stop(&daemon, &container, &options).await }).await?;
    done()
}

/// `POST /containers/{id}/restart`.
pub(super) async fn restart(context: Context) -> Result<Response, EngineError> {
    let (container, daemon) = (found(&context)?, Rc::clone(&context.daemon));
    let options = stop::Options::read(&context.query)?;
    whole(async move { stop::restart(&daemon, &container, &options).await }).await?;
    done()
}

/// `POST /containers/{id}/kill`.
pub(super) async fn kill(context: Context) -> Result<Response, EngineError> {
    let (container, daemon) = (found(&context)?, Rc::clone(&context.daemon));
    let number = context.query.text("signal").map_or(Ok(signal::KILL), signal::parse)?;
    whole(async move { stop::kill(&daemon, &container, number).await }).await?;
    done()
}

/// `DELETE /containers/{id}`.
pub(super) async fn remove(context: Context) -> Result<Response, EngineError> {
    let (container, daemon) = (found(&context)?, Rc::clone(&context.daemon));
    if context.query.flag("link") {
        return Err(EngineError::BadRequest("links are not supported".into()));
    }
    let options = remove::Options { force: context.query.flag("force"), volumes: context.query.flag("v") };
    whole(async move { remove::remove(&daemon, &container, options).await }).await?;
    done()
}

/// `POST /containers/{id}/pause`.
pub(super) async fn pause(context: Context) -> Result<Response, EngineError> {
    freeze(context, "pause", Status::Paused).await
}

/// `POST /containers/{id}/unpause`.
pub(super) async fn unpause(context: Context) -> Result<Response, EngineError> {
    freeze(context, "unpause", Status::Running).await
}

async fn freeze(context: Context, verb: &'static str, after: Status) -> Result<Response, EngineError> {
    let (container, daemon) = (found(&context)?, Rc::clone(&context.daemon));
    let id = container.id.clone();
    let wrong = match (container.status(), after) {
        (Status::Paused, Status::Paused) => "is already paused",
        (Status::Running, Status::Paused) | (Status::Paused, _) => "",
        (Status::Restarting, _) => "is restarting, wait until the container is running",
        (_, Status::Paused) => "is not running",
        _ => "is not paused",
    };
    if !wrong.is_empty() {
        return Err(EngineError::Conflict(format!("Container {id} {wrong}")));
    }
    whole(async move {
        let dir = daemon.pods.of(&id).map_err(|error| crate::failure::failed(&error))?;
        let exits = container.life.borrow().exits;
        if let Err(error) = client::ask(&dir, Method::POST, &format!("/containers/{id}/{verb}")).await {
            return Err(proxy::broken(&container, exits, error).await);
        }
        let change = |life: &mut super::Life| {
            // Not that of a run that is over.
            if life.exits == exits && matches!(life.state.status, Status::Running | Status::Paused) {
                life.state.status = after;
            }
        };
        Ok(container.change(&daemon, change, []).await?)
    })
    .await?;
    done()
}

/// `POST /containers/{id}/rename`.
pub(super) async fn rename(context: Context) -> Result<Response, EngineError> {
    let (container, daemon) = (found(&context)?, Rc::clone(&context.daemon));
    let wanted = context.query.text("name").unwrap_or_default();
    if wanted.is_empty() {
        return Err(EngineError::BadRequest("Neither old nor new names may be empty".into()));
    }
    let new = super::names::checked(wanted)?;
    if new == container.name() {
        return Err(EngineError::BadRequest(
            "Renaming a container with the same name as its current name".into(),
        ));
    }
    daemon.containers.take_name(&new, &container.id)?;
    let renamed = whole(async move {
        let _operation = container.operation.lock().await;
        if container.life.borrow().removed {
            daemon.containers.free_name(&new);
            return Err(EngineError::NotFound(format!("No such container: {}", container.id)));
        }
        // Another request may have changed it until now.
        let old = container.name();
        container.record.borrow_mut().name.clone_from(&new);
        let event = container.event("rename", &[("oldName", &format!("/{old}"))]);
        let kept = container.change(&daemon, |_| {}, [event]).await;
        let free =
            if kept.is_ok() { old } else { std::mem::replace(&mut container.record.borrow_mut().name, old) };
        daemon.containers.free_name(&free);
        if kept.is_ok() && container.has_pod() {
            networking::rename(&daemon, &container).await;
        }
        Ok(kept?)
    });
    renamed.await?;
    done()
}
