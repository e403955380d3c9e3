//! `GET /containers/json`: the pod's containers, newest first.

use std::rc::Rc;

use hyper::StatusCode;

use crate::api::container::mounts;
use crate::api::list::{FILTERS, HEALTHS, STATUSES, Summary};
use crate::api::network;
use crate::container::{Container, ContainerState, HealthStatus, Status};
use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::filters::Filters;
use crate::pattern::Pattern;
use crate::resolve;
use crate::response::{self, Response};

/// What is listed.
struct Selection {
    filters: Filters,
    names: Vec<Pattern>,
    ids: Vec<Pattern>,
    exited: Vec<u8>,
    /// Only containers older than that.
    before: Option<Rc<Container>>,
    /// Only containers newer than that.
    since: Option<Rc<Container>>,
    all: bool,
}

/// `GET /containers/json`.
pub(super) async fn list<E: Engine>(context: Context<E>) -> Result<Response, EngineError> {
    let engine = &*context.engine;
    let limit = context
        .query
        .number("limit")?
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|&limit| limit > 0);
    let mut selection = Selection::new(engine, Filters::from_query(&context.query, &FILTERS)?)?;
    selection.all |= context.query.flag("all") || limit.is_some();
    let size = context.query.flag("size");
    // Newest first: they are made in their order.
    let containers = engine.containers().iter().rev();
    let mut summaries = Vec::new();
    for container in containers.filter(|container| selection.has(container)).take(limit.unwrap_or(usize::MAX))
    {
        let size = if size { Some(engine.disk_usage(container).await?) } else { None };
        let state = container.state.borrow().clone();
        summaries.push(Summary::new(container, &state, size));
    }
    response::json(StatusCode::OK, &summaries)
}

/// What containers are ordered by: all of a pod are made at about the same time.
fn age(container: &Container) -> (std::time::SystemTime, usize) {
    (container.created, container.index)
}

impl Selection {
    fn new<E: Engine>(engine: &E, filters: Filters) -> Result<Self, EngineError> {
        let known = |key: &str, words: &[&str]| match filters.values(key).find(|value| !words.contains(value))
        {
            Some(value) => Err(invalid(key, value)),
            None => Ok(()),
        };
        known("status", &STATUSES)?;
        known("health", &HEALTHS)?;
        filters.truth("is-task")?;
        let exited = filters.values("exited").map(|code| match code.parse::<i64>() {
            // A code that no process can have is asked for in vain.
            Ok(code) => Ok(u8::try_from(code).ok()),
            Err(_) => Err(invalid("exited", code)),
        });
        let exited = exited.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let one =
            |key: &str| filters.values(key).next().map(|name| resolve::container(engine, name)).transpose();
        Ok(Self {
            names: filters.patterns("name")?,
            ids: filters.patterns("id")?,
            exited,
            before: one("before")?,
            since: one("since")?,
            all: filters.has("status") || filters.has("before") || filters.has("since"),
            filters,
        })
    }

    fn has(&self, container: &Container) -> bool {
        let state = container.state.borrow();
        let shown = self.all || state.is_running() || state.status == Status::Restarting;
        shown && self.has_identity(container) && self.has_state(&state) && self.has_resources(container)
    }

    fn has_identity(&self, container: &Container) -> bool {
        let name = &container.spec.name;
        let slashed = format!("/{name}");
        let named = |pattern: &Pattern| pattern.matches(name) || pattern.matches(&slashed);
        (self.names.is_empty() || self.names.iter().any(named))
            && (self.ids.is_empty() || self.ids.iter().any(|pattern| pattern.matches(&container.id)))
            && self.before.as_ref().is_none_or(|other| age(container) < age(other))
            && self.since.as_ref().is_none_or(|other| age(container) > age(other))
            && self.filters.any("ancestor", |wanted| is_image(container, wanted))
            && self.filters.labels("label", &container.spec.labels)
    }

    fn has_state(&self, state: &ContainerState) -> bool {
        let health = state.health.as_ref().map_or("none", |health| HealthStatus::word(health.status));
        let has_ended = state.status == Status::Exited && state.started.is_some();
        self.filters.exact("status", state.status.word())
            && self.filters.exact("health", health)
            && (!self.filters.has("exited") || (has_ended && self.exited.contains(&state.exit_code)))
    }

    /// No container of a pod publishes a port or is a task of a swarm; all are on the network of the guest.
    fn has_resources(&self, container: &Container) -> bool {
        !self.filters.has("publish")
            && !self.filters.has("expose")
            && self.filters.truth("is-task") != Ok(Some(true))
            && self.filters.exact("network", network::MODE)
            && self.filters.any("volume", |wanted| {
                mounts(&container.spec)
                    .iter()
                    .any(|mount| mount.name == wanted || mount.destination == wanted)
            })
    }
}

fn invalid(key: &str, value: &str) -> EngineError {
    EngineError::BadRequest(format!("invalid filter '{key}={value}'"))
}

/// Whether a container is of that image: by reference, with or without what Docker leaves out, or digest.
fn is_image(container: &Container, wanted: &str) -> bool {
    let image = &container.spec.image;
    let short = |reference: &str| {
        let name = reference.strip_prefix("docker.io/").unwrap_or(reference);
        let name = name.strip_prefix("library/").unwrap_or(name);
        name.strip_suffix(":latest").unwrap_or(name).to_owned()
    };
    let digest = image.digest.strip_prefix("sha256:").unwrap_or(&image.digest);
    let is_digest =
        wanted.len() >= 12 && digest.starts_with(wanted.strip_prefix("sha256:").unwrap_or(wanted));
    short(&image.reference) == short(wanted) || is_digest
}
