//! What a container has written, and its files: answered by its pod, which is booted for it where the container does not
//! run.

use std::rc::Rc;

use hyper::StatusCode;
use vdocker::EngineError;
use vdocker::api::stats::Stats;
use vdocker::response::{self, Response};

use super::Container;
use crate::context::Context;
use crate::proxy;

fn found(context: &Context) -> Result<Rc<Container>, EngineError> {
    context.daemon.containers.find(&context.name)
}

/// `GET /containers/{id}/logs`.
pub(super) async fn logs(mut context: Context) -> Result<Response, EngineError> {
    let container = found(&context)?;
    if !context.query.flag("stdout") && !context.query.flag("stderr") {
        return Err(EngineError::BadRequest("Bad parameters: you must choose at least one stream".into()));
    }
    if container
        .record
        .borrow()
        .host_config
        .log_config
        .as_ref()
        .is_some_and(|log| log.typ.as_deref() == Some("none"))
    {
        return Err(EngineError::Unsupported("configured logging driver does not support reading".into()));
    }
    let has_run = container.state().started.is_some() || container.is_reachable.get();
    if !has_run && !context.query.flag("follow") {
        let is_told = !container.has_terminal() && context.version.at_least(42);
        return Ok(proxy::nothing(match is_told {
            true => "application/vnd.docker.multiplexed-stream",
            false => "application/vnd.docker.raw-stream",
        }));
    }
    if context.query.flag("follow") {
        context.follow().await?;
    }
    proxy::to_any(context, &container, "logs").await
}

/// `HEAD`, `GET` and `PUT /containers/{id}/archive`.
pub(super) async fn archive(context: Context) -> Result<Response, EngineError> {
    let container = found(&context)?;
    proxy::to_any(context, &container, "archive").await
}

/// `GET /containers/{id}/changes`.
pub(super) async fn changes(context: Context) -> Result<Response, EngineError> {
    let container = found(&context)?;
    proxy::to_any(context, &container, "changes").await
}

/// `GET /containers/{id}/export`.
pub(super) async fn export(context: Context) -> Result<Response, EngineError> {
    let container = found(&context)?;
    proxy::to_any(context, &container, "export").await
}

/// `GET /containers/{id}/top`.
pub(super) async fn top(context: Context) -> Result<Response, EngineError> {
    let container = found(&context)?;
    proxy::to_running(context, &container, "top").await
}

/// `POST /containers/{id}/resize`.
pub(super) async fn resize(context: Context) -> Result<Response, EngineError> {
    let container = found(&context)?;
    proxy::to_running(context, &container, "resize").await
}

/// `GET /containers/{id}/stats`; zeros for a container that does not run.
pub(super) async fn stats(mut context: Context) -> Result<Response, EngineError> {
    let container = found(&context)?;
    let stream = context.query.flag_or("stream", true);
    if stream && context.query.flag("one-shot") {
        return Err(EngineError::BadRequest("cannot have stream=true and one-shot=true".into()));
    }
    if !container.is_reachable.get() {
        return response::json(StatusCode::OK, &Stats::new(&container.name(), &container.id, None, None));
    }
    if stream {
        context.follow().await?;
    }
    // The pod knows its container by id.
    let of_pod = format!("\"name\":\"/{}\"", container.id);
    let answer = proxy::to_any(context, &container, "stats").await?;
    Ok(proxy::replaced(answer, of_pod, format!("\"name\":\"/{}\"", container.name())))
}
