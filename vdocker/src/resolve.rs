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
    find(engine.containers(), &engine.guest(), wanted).map(Rc::clone)
}

fn find<'c>(
    containers: &'c [Rc<Container>],
    guest: &'c Rc<Container>,
    wanted: &str,
) -> Result<&'c Rc<Container>, EngineError> {
    let name = wanted.strip_prefix('/').unwrap_or(wanted);
    let named = containers.iter().find(|container| container.id == name || container.spec.name == name);
    if let Some(container) = named.or_else(|| by_index(containers, name)) {
        return Ok(container);
    }
    if matches!(name, "cradle" | "host") {
        return Ok(guest);
    }
    by_prefix(containers.iter().chain([guest]), name)
}

/// Asks the policy whether a verb may be done to a container. Where that is the guest itself, its end is the pod's,
/// which has a verb of its own: who is denied that cannot have it under another name.
///
/// # Errors
/// [`EngineError::Denied`]; [`EngineError::Conflict`] for the verbs that need a container.
pub(crate) fn permit<E: Engine>(engine: &E, verb: Verb, container: &Container) -> Result<(), EngineError> {
    if container.index < engine.containers().len() {
        return engine.permit(verb, Some(container));
    }
    match verb {
        Verb::Inspect | Verb::Logs | Verb::Wait | Verb::Stats | Verb::Top => {
            engine.permit(verb, Some(container))
        }
        Verb::Kill | Verb::Stop => {
            engine.permit(verb, Some(container))?;
            engine.permit(Verb::Shutdown, None)
        }
        _ => {
            let name = &container.spec.name;
            Err(EngineError::Conflict(format!("{name} is the pod's guest itself, not a container")))
        }
    }
}

fn by_index<'c>(containers: &'c [Rc<Container>], name: &str) -> Option<&'c Rc<Container>> {
    let digits = name.strip_prefix("container.")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| containers.get(digits.parse::<usize>().ok()?)).flatten()
}

fn by_prefix<'c>(
    containers: impl Iterator<Item = &'c Rc<Container>>,
    prefix: &str,
) -> Result<&'c Rc<Container>, EngineError> {
    let mut found = containers.filter(|container| !prefix.is_empty() && container.id.starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(container), None) => Ok(container),
        (Some(_), Some(_)) => {
            Err(EngineError::BadRequest(format!("multiple IDs found with provided prefix: {prefix}")))
        }
        (None, _) => Err(EngineError::NotFound(format!("No such container: {prefix}"))),
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    /// The index of what is found; the guest's is 3.
    fn find(wanted: &str) -> Result<usize, String> {
        let ids = ["abcd", "abef", "1234", "5678"].map(|start| format!("{start:0<64}"));
        let names = ["web", "abcd", "container.0", "cradle"];
        let made: Vec<_> = (0..4).map(|n| fixture::numbered(names[n], n, &ids[n])).collect();
        let (containers, guest) = made.split_at(3);
        super::find(containers, &guest[0], wanted).map(|found| found.index).map_err(|error| error.to_string())
    }

    #[test]
    fn names_ids_and_numbers_are_known() {
        assert_eq!((find("web"), find("/web")), (Ok(0), Ok(0)));
        assert_eq!((find("container.1"), find("container.2")), (Ok(1), Ok(2)));
        assert_eq!((find(&format!("{:0<64}", "1234")), find("1"), find("abc0")), (Ok(2), Ok(2), no("abc0")));
        assert_eq!((find("cradle"), find("host"), find("/host"), find("56")), (Ok(3), Ok(3), Ok(3), Ok(3)));
    }

    #[test]
    fn names_win_over_prefixes_and_numbers() {
        assert_eq!((find("abcd"), find("abcd0")), (Ok(1), Ok(0)));
        assert_eq!(find("container.0"), Ok(2));
    }

    #[test]
    fn what_is_not_one_container_is_none() {
        assert_eq!(find("ab"), Err("multiple IDs found with provided prefix: ab".into()));
        for wanted in ["we", "WEB", "container.9", "container.", "container.-1", "container.+0", "//web", ""]
        {
            assert_eq!(find(wanted), no(wanted.strip_prefix('/').unwrap_or(wanted)), "{wanted}");
        }
    }

    fn no(wanted: &str) -> Result<usize, String> {
        Err(format!("No such container: {wanted}"))
    }
}
