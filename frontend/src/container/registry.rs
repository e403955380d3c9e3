//! All containers by id and by name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use vdocker::EngineError;

use super::Container;

/// All containers. Names are unique; a name is taken before its container is made.
#[derive(Default)]
pub(crate) struct Containers {
    by_id: RefCell<BTreeMap<String, Rc<Container>>>,
    /// The id that a name stands for.
    names: RefCell<BTreeMap<String, String>>,
}

impl Containers {
    /// Takes a name for an id.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] in Docker's words where another container has it.
    pub(crate) fn take_name(&self, name: &str, id: &str) -> Result<(), EngineError> {
        let mut names = self.names.borrow_mut();
        if let Some(owner) = names.get(name) {
            return Err(EngineError::Conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to \
                 remove (or rename) that container to be able to reuse that name."
            )));
        }
        names.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    /// Gives a name back that was taken.
    pub(crate) fn free_name(&self, name: &str) {
        self.names.borrow_mut().remove(name);
    }

    /// Adds a container whose name is taken.
    pub(crate) fn add(&self, container: &Rc<Container>) {
        self.by_id.borrow_mut().insert(container.id.clone(), Rc::clone(container));
    }

    /// Removes a container and frees its name.
    pub(crate) fn remove(&self, container: &Container) {
        self.free_name(&container.name());
        self.by_id.borrow_mut().remove(&container.id);
    }

    /// All containers, newest first.
    pub(crate) fn all(&self) -> Vec<Rc<Container>> {
        let mut all: Vec<_> = self.by_id.borrow().values().cloned().collect();
        all.sort_by_cached_key(|container| std::cmp::Reverse(container.record.borrow().created));
        all
    }

    /// The container of an id.
    pub(crate) fn by_id(&self, id: &str) -> Option<Rc<Container>> {
        self.by_id.borrow().get(id).cloned()
    }

    /// The container that a client means: by id, by name, or by the unique start of an id.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] and, for a start that several ids have, [`EngineError::BadRequest`], in Docker's words.
    pub(crate) fn find(&self, wanted: &str) -> Result<Rc<Container>, EngineError> {
        let name = wanted.strip_prefix('/').unwrap_or(wanted);
        let by_id = self.by_id.borrow();
        let named = || by_id.get(self.names.borrow().get(name)?);
        if let Some(container) = by_id.get(name).or_else(named) {
            return Ok(Rc::clone(container));
        }
        let mut found = by_id
            .range(name.to_owned()..)
            .take_while(|(id, _)| !name.is_empty() && id.starts_with(name))
            .map(|(_, container)| container);
        match (found.next(), found.next()) {
            (Some(container), None) => Ok(Rc::clone(container)),
            (Some(_), Some(_)) => {
                Err(EngineError::BadRequest(format!("multiple IDs found with provided prefix: {name}")))
            }
            (None, _) => Err(EngineError::NotFound(format!("No such container: {wanted}"))),
        }
    }
}
