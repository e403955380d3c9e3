//! What changes whether a container runs: start, stop, restart, kill, pause, unpause; and the size of its terminal.

use std::rc::Rc;
use std::time::Duration;

use hyper::StatusCode;

use crate::container::{Container, Status};
use crate::context::Context;
use crate::engine::{Engine, EngineError, StopOptions};
use crate::events::Event;
use crate::query::Query;
use crate::response::{self, Response};
use crate::signal;

/// How long the answer to a kill waits for the end of what was killed.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// `POST /containers/{id}/start`.
pub(super) async fn start<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    if context.query.text("checkpoint").is_some() {
        return Err(EngineError::BadRequest("a pod's containers have no checkpoints".into()));
    }
    if container.state.borrow().status == Status::Paused {
        return Err(EngineError::Conflict("cannot start a paused container, try unpause instead".into()));
    }
    context.engine.start(&container).await?;
    done()
}

/// `POST /containers/{id}/stop`; for the guest itself: ends the pod.
pub(super) async fn stop<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let options = stop_options(&context.query)?;
    if is_guest(&context, &container) {
        context.engine.shutdown("stopped through the API", options.grace.flatten());
        return done();
    }
    context.engine.stop(&container, options).await?;
    tell(&context, &container, "stop");
    done()
}

/// `POST /containers/{id}/restart`.
pub(super) async fn restart<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    context.engine.restart(&container, stop_options(&context.query)?).await?;
    tell(&context, &container, "restart");
    done()
}

/// `POST /containers/{id}/kill`.
pub(super) async fn kill<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let signal = context.query.text("signal").map_or(Ok(signal::KILL), signal::parse)?;
    if !is_guest(&context, &container) {
        if cancels_restart(&container, signal) {
            context.engine.stop(&container, StopOptions::default()).await?;
            return done();
        }
        must_run(&container).map_err(|error| {
            EngineError::Conflict(format!("cannot kill container: {}: {error}", context.id))
        })?;
    }
    let mut changes = container.state.subscribe();
    let exits = changes.borrow().exits;
    context.engine.kill(&container, signal)?;
    let event = Event::now(&container, "kill", &[("signal", &signal.to_string())]);
    context.engine.events().push(event);
    if signal == signal::KILL && !is_guest(&context, &container) {
        // As Docker does: who has killed finds it dead.
        let over = changes.wait_for(|state| state.exits != exits || state.removed);
        let _late = tokio::time::timeout(KILL_WAIT, over).await;
    }
    done()
}

/// `POST /containers/{id}/pause`.
pub(super) async fn pause<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    must_run(&container)?;
    if container.state.borrow().status == Status::Paused {
        return Err(EngineError::Conflict(format!("container {} is already paused", container.id)));
    }
    context.engine.pause(&container, true).await?;
    tell(&context, &container, "pause");
    done()
}

/// `POST /containers/{id}/unpause`.
pub(super) async fn unpause<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    if container.state.borrow().status != Status::Paused {
        return Err(EngineError::Conflict(format!("container {} is not paused", container.id)));
    }
    context.engine.pause(&container, false).await?;
    tell(&context, &container, "unpause");
    done()
}

/// `POST /containers/{id}/resize`.
pub(super) async fn resize<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let size = super::terminal_size(&context.query)?;
    must_run(&container)?;
    context.engine.resize(&container, size)?;
    let (height, width) = (size.rows.to_string(), size.columns.to_string());
    let event = Event::now(&container, "resize", &[("height", &height), ("width", &width)]);
    context.engine.events().push(event);
    Ok(response::status(StatusCode::OK))
}

/// Whether a signal that finds no process means that there is to be none.
fn cancels_restart(container: &Container, signal: u32) -> bool {
    let ends = signal == signal::KILL || signal == container.spec.process.stop_signal;
    ends && container.state.borrow().status == Status::Restarting
}

/// The parameters `t` in seconds, negative for no kill, and `signal`.
pub(super) fn stop_options(query: &Query) -> Result<StopOptions, EngineError> {
    let signal = query.text("signal").map(signal::parse).transpose()?;
    let grace = query.number("t")?.map(|seconds| u64::try_from(seconds).ok().map(Duration::from_secs));
    Ok(StopOptions { signal, grace })
}

/// Refuses a container without a process.
pub(super) fn must_run(container: &Container) -> Result<(), EngineError> {
    match container.state.borrow().status {
        Status::Running | Status::Paused => Ok(()),
        Status::Restarting => Err(EngineError::Conflict(format!(
            "container {} is restarting, wait until the container is running",
            container.id
        ))),
        Status::Created | Status::Exited => {
            Err(EngineError::Conflict(format!("container {} is not running", container.id)))
        }
    }
}

fn is_guest<E: Engine>(context: &Context<E>, container: &Container) -> bool {
    container.index >= context.engine.containers().len()
}

fn tell<E: Engine>(context: &Context<E>, container: &Container, action: &str) {
    context.engine.events().push(Event::now(container, action, &[]));
}

fn done() -> Result<Response, EngineError> {
    Ok(response::status(StatusCode::NO_CONTENT))
}
