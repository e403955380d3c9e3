//! What has happened in the pod (Docker Engine API, "Monitor events"): the last ones kept, the next ones followed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::SystemTime;

use tokio::sync::broadcast;

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
