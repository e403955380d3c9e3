//! Attach (Docker Engine API, "Attach to a container"), over a hijacked connection and over a WebSocket.

use std::rc::Rc;

use hyper::StatusCode;

use crate::attach::{self, Attachment};
use crate::container::{Container, Status};
use crate::context::Context;
use crate::detach::DetachKeys;
use crate::encoding::Encoding;
use crate::engine::{Engine, EngineError, Verb};
use crate::events::Event;
use crate::exec::registry::Streams;
use crate::query::Query;
use crate::resolve;
use crate::response::Response;
use crate::websocket::{self, Opcode};

/// `POST /containers/{id}/attach`.
pub(super) async fn attach<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    can_attach(&context, &container)?;
    let encoding = if container.spec.process.tty { Encoding::Raw } else { Encoding::Multiplexed };
    let attachment = attachment(&context.query, container, streams(&context.query), encoding)?;
    let api = Rc::clone(&context.api);
    tell(&context, &attachment);
    context.hijack_as(encoding, async move |stream| attach::run(api, attachment, stream).await).await
}

/// `GET /containers/{id}/attach/ws`.
pub(super) async fn websocket<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    can_attach(&context, &container)?;
    let accepted =
        websocket::accept(&context.headers).map_err(|error| EngineError::BadRequest(error.to_string()))?;
    let streams = match context.version.at_least(42) {
        true => streams(&context.query),
        false => Streams { stdin: true, stdout: true, stderr: true },
    };
    let opcode = if context.version.at_least(28) { Opcode::Binary } else { Opcode::Text };
    let attachment = attachment(&context.query, container, streams, Encoding::WebSocket(opcode))?;
    let api = Rc::clone(&context.api);
    tell(&context, &attachment);
    let run = async move |stream| attach::websocket::run(api, attachment, stream).await;
    context.hijack(StatusCode::SWITCHING_PROTOCOLS, &accepted.headers(), run).await
}

fn attachment(
    query: &Query,
    container: Rc<Container>,
    streams: Streams,
    encoding: Encoding,
) -> Result<Attachment, EngineError> {
    let keys = DetachKeys::wanted(query.text("detachKeys").unwrap_or_default())?;
    let keys = container.spec.process.tty.then_some(keys);
    let run = query.flag("run").then(|| container.log.run());
    let (logs, stream) = (query.flag("logs"), query.flag("stream"));
    Ok(Attachment { container, streams, logs, run, stream, encoding, keys })
}

fn streams(query: &Query) -> Streams {
    Streams { stdin: query.flag("stdin"), stdout: query.flag("stdout"), stderr: query.flag("stderr") }
}

/// A container that does not run can be attached to: the client gets what its next run writes, or with `run` (ours) what
/// the last one has written.
fn can_attach<E: Engine>(context: &Context<E>, container: &Container) -> Result<(), EngineError> {
    if ["stream", "run"].iter().any(|name| context.query.flag(name)) {
        resolve::permit(&*context.engine, Verb::Attach, container)?;
    }
    let id = &context.id;
    let reason = match container.state.borrow().status {
        Status::Paused => "is paused, unpause the container before attach",
        Status::Restarting if context.query.flag("run") => return Ok(()),
        Status::Restarting => "is restarting, wait until the container is running",
        Status::Created | Status::Running | Status::Exited => return Ok(()),
    };
    Err(EngineError::Conflict(format!("container {id} {reason}")))
}

fn tell<E: Engine>(context: &Context<E>, attachment: &Attachment) {
    context.engine.events().push(Event::now(&attachment.container, "attach", &[]));
}
