//! `GET /containers/{id}/stats`: one reading, or one each second for as long as the client listens.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;

use crate::api::stats::Stats;
use crate::body::Body;
use crate::container::Container;
use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::response::{self, Response};
use crate::stats::Sample;

/// Between two readings.
const INTERVAL: Duration = Duration::from_secs(1);

/// `GET /containers/{id}/stats`.
pub(super) async fn stats<E: Engine>(
    mut context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let (stream, one_shot) = (context.query.flag_or("stream", true), context.query.flag("one-shot"));
    if stream && one_shot {
        return Err(EngineError::BadRequest("cannot have stream=true and one-shot=true".into()));
    }
    let engine = Rc::clone(&context.engine);
    let mut before = None;
    let mut now = read(&*engine, &container)?;
    if !stream && (one_shot || now.is_none()) {
        return response::json(StatusCode::OK, &describe(&container, now.as_ref(), None));
    }
    context.follow().await?;
    let api = Rc::clone(&context.api);
    let body = Body::stream(async move |sink| {
        let mut is_first = true;
        loop {
            // One that wants a single answer gets the second, in which the time between two readings is known.
            if stream || !is_first {
                let mut line = serde_json::to_vec(&describe(&container, now.as_ref(), before.as_ref()))?;
                line.push(b'\n');
                sink.send(Bytes::from(line)).await;
            }
            if (!stream && !is_first) || container.state.borrow().removed {
                return Ok(());
            }
            is_first = false;
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = api.open.closing() => return Ok(()),
            }
            before = now.take();
            now = read(&*engine, &container).map_err(std::io::Error::other)?;
        }
    });
    Ok(response::typed(StatusCode::OK, "application/json", body))
}

/// A reading; `None` for a container that does not run.
fn read<E: Engine>(engine: &E, container: &Container) -> Result<Option<Sample>, EngineError> {
    let is_running = container.state.borrow().is_running();
    is_running.then(|| engine.stats(container)).transpose()
}

fn describe(container: &Container, now: Option<&Sample>, before: Option<&Sample>) -> Stats {
    Stats::new(&container.spec.name, &container.id, now, before)
}
