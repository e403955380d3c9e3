//! What has happened in the pod (Docker Engine API, "Monitor events"): the last ones kept, the next ones followed.
//!
//! The engine pushes what happens by itself or at its hands: `start`, `die` (with `exitCode` and `execDuration`),
//! `oom`. The routes push what a request did: `kill`, `stop`, `restart`, `pause`, `unpause`, `resize`, `attach`,
//! `exec_*`, `top`, `update`, `archive-path`, `extract-to-dir`, `export`. Health checks push `health_status: …`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::SystemTime;

use tokio::sync::broadcast;

use crate::container::Container;

/// Events that are kept for `since`, as Docker does.
const KEPT: usize = 256;

/// An event of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `start`, `die`, `exec_create: sh`, …
    pub action: String,
    /// The container's id.
    pub id: String,
    /// `image`, `name`, labels, `exitCode`, …
    pub attributes: Vec<(String, String)>,
    /// When.
    pub time: SystemTime,
}

impl Event {
    /// An event of a container that happens now. Its attributes are the container's labels, image and name, as
    /// Docker has them, and `more`.
    #[must_use]
    pub fn now(container: &Container, action: &str, more: &[(&str, &str)]) -> Self {
        let spec = &container.spec;
        let own = [("image", &spec.image.reference), ("name", &spec.name)];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
        let labels = spec.labels.iter().map(|(name, value)| (name.clone(), value.clone()));
        let more = more.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let (action, id) = (action.to_owned(), container.id.clone());
        Self { action, id, attributes: labels.chain(own).chain(more).collect(), time: SystemTime::now() }
    }

    /// The last attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The pod's events.
#[derive(Debug)]
pub struct Events {
    kept: RefCell<VecDeque<Rc<Event>>>,
    next: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self { kept: RefCell::default(), next: broadcast::Sender::new(KEPT) }
    }
}

impl Events {
    /// Keeps an event and tells those that follow.
    pub fn push(&self, event: Event) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Rc::new(event.clone()));
        // Nobody may be following.
        let _none = self.next.send(event);
    }

    /// The events that are kept, oldest first, and those to come: none is missing between them. A follower that is
    /// more than a few hundred behind loses the oldest.
    #[must_use]
    pub fn subscribe(&self) -> (Vec<Rc<Event>>, broadcast::Receiver<Event>) {
        (self.kept.borrow().iter().cloned().collect(), self.next.subscribe())
    }
}
