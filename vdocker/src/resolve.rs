//! Which container a path means: its name, `container.N`, its id or the unique start of one; `cradle` and `host`
//! are the guest itself.

use std::rc::Rc;

use crate::container::Container;
use crate::engine::{Engine, EngineError, Verb};

/// Finds the container that a client means. Names win over ids, as Docker has it.
///
/// # Errors
/// [`EngineError::NotFound`] and, for a start that several ids have, [`EngineError::BadRequest`], in Docker's words.
pub(crate) fn container<E: Engine>(engine: &E, wanted: &str) -> Result<Rc<Container>, EngineError> {
    let name = wanted.strip_prefix('/').unwrap_or(wanted);
    let containers = engine.containers();
    let named = containers.iter().find(|container| container.id == name || container.spec.name == name);
    if let Some(container) = named.or_else(|| by_index(containers, name)) {
        return Ok(Rc::clone(container));
    }
    if matches!(name, "cradle" | "host") {
        return Ok(engine.guest());
    }
    by_prefix(engine, name)
}

/// Whether a verb can be meant for the guest itself.
///
/// # Errors
/// [`EngineError::Conflict`] for the verbs that need a container.
pub(crate) fn permit_guest<E: Engine>(
    engine: &E,
    verb: Verb,
    container: &Container,
) -> Result<(), EngineError> {
    let of_guest = matches!(
        verb,
        Verb::Inspect
            | Verb::Logs
            | Verb::Wait
            | Verb::Kill
            | Verb::Stop
            | Verb::Stats
            | Verb::Top
            | Verb::Shutdown
    );
    if of_guest || container.index < engine.containers().len() {
        return Ok(());
    }
    Err(EngineError::Conflict(format!("{} is the pod's guest itself, not a container", container.spec.name)))
}

fn by_index<'c>(containers: &'c [Rc<Container>], name: &str) -> Option<&'c Rc<Container>> {
    let digits = name.strip_prefix("container.")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| containers.get(digits.parse::<usize>().ok()?)).flatten()
}

fn by_prefix<E: Engine>(engine: &E, prefix: &str) -> Result<Rc<Container>, EngineError> {
    let guest = engine.guest();
    let mut found = engine
        .containers()
        .iter()
        .chain([&guest])
        .filter(|container| !prefix.is_empty() && container.id.starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(container), None) => Ok(Rc::clone(container)),
        (Some(_), Some(_)) => {
            Err(EngineError::BadRequest(format!("multiple IDs found with provided prefix: {prefix}")))
        }
        (None, _) => Err(EngineError::NotFound(format!("No such container: {prefix}"))),
    }
}
