//! From a request to its route: version, path, policy; then the route's answer with Docker's common headers.

use std::rc::Rc;

use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::pod::Pod;
use crate::query::Query;
use crate::resolve;
use crate::response::{self, Response};
use crate::routes::{Answer, Handler, Route};
use crate::server::Request;
use crate::version::{self, ApiVersion, VersionError};

/// Answers a request.
pub(crate) async fn dispatch<E: Engine>(api: Rc<Pod<E>>, request: Request) -> Response {
    let mut response = route(api, request).await.unwrap_or_else(|error| response::error(&error));
    response::common_headers(response.headers_mut());
    response
}

async fn route<E: Engine>(api: Rc<Pod<E>>, request: Request) -> Result<Response, EngineError> {
    let Request { parts, body, wire } = request;
    let (version, path) = version::split(parts.uri.path());
    let found = api.routes.iter().find_map(|route| Some((route, route.matches(&parts.method, path)?)));
    let Some((route, id)) = found else {
        return Err(EngineError::NotFound("page not found".into()));
    };
    let version = match version.map_or(Ok(ApiVersion::default()), ApiVersion::negotiate) {
        Ok(version) => version,
        Err(error @ VersionError::TooOld(_)) => return Ok(response::too_old(&error)),
        Err(error @ VersionError::TooNew(_)) => return Err(EngineError::BadRequest(error.to_string())),
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let engine = Rc::clone(&api.engine);
    let api_of_request = Rc::clone(&api);
    let context =
        Context { engine, api: api_of_request, version, query, id, headers: parts.headers, body, wire };
    start(route, context)?.await
}

/// Asks the policy, and calls the handler.
fn start<E: Engine>(route: &Route<E>, context: Context<E>) -> Result<Answer, EngineError> {
    let engine = &*context.engine;
    match &route.handler {
        Handler::Pod(handler) => {
            engine.permit(route.verb, None)?;
            Ok(handler(context))
        }
        Handler::Container(handler) => {
            let container = resolve::container(engine, &context.id)?;
            resolve::permit(engine, route.verb, &container)?;
            Ok(handler(context, container))
        }
        Handler::Exec(handler) => {
            let exec = context.api.execs.find(&context.id)?;
            engine.permit(route.verb, Some(&exec.container))?;
            Ok(handler(context, exec))
        }
    }
}
