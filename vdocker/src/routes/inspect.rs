//! What a container is and does: inspect, the processes in it, and what differs from its image.

use std::rc::Rc;
use std::time::SystemTime;

use hyper::StatusCode;
use serde::Serialize;

use crate::api::container::Inspect;
use crate::container::Container;
use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::events::Event;
use crate::response::{self, Response};
use crate::routes::lifecycle::must_run;
use crate::top::{self, View};

/// `GET /containers/{id}/json`.
pub(super) async fn inspect<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let size =
        if context.query.flag("size") { Some(context.engine.disk_usage(&container).await?) } else { None };
    let state = container.state.borrow().clone();
    response::json(StatusCode::OK, &Inspect::new(&container, &state, context.api.execs.of(&container), size))
}

/// `GET /containers/{id}/top`.
pub(super) async fn top<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    must_run(&container)?;
    let engine = &*context.engine;
    let arguments = context.query.text("ps_args").unwrap_or("-ef");
    let view = View { now: SystemTime::now(), memory: engine.system().memory };
    let top = top::show(&engine.top(&container)?, arguments, view)?;
    engine.events().push(Event::now(&container, "top", &[]));
    response::json(StatusCode::OK, &top)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ChangedPath {
    path: String,
    kind: u8,
}

/// `GET /containers/{id}/changes`.
pub(super) async fn changes<E: Engine>(
    context: Context<E>,
    container: Rc<Container>,
) -> Result<Response, EngineError> {
    let changes = context.engine.changes(&container).await?;
    let changes: Vec<_> = changes
        .into_iter()
        .map(|change| ChangedPath { path: change.path, kind: change.kind as u8 })
        .collect();
    // Docker says null for none.
    response::json(StatusCode::OK, &(!changes.is_empty()).then_some(changes))
}
