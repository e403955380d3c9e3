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

/// Bytes of labels in one event: they come from images, and each event that is kept has them.
const MAX_LABELS: usize = 16 << 10;

/// The filters of events.
pub const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// A reference without its tag and digest.
#[must_use]
pub fn untagged(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

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
    /// Docker has them, and `more`. Labels beyond 16 KiB are left out.
    #[must_use]
    pub fn now(container: &Container, action: &str, more: &[(&str, &str)]) -> Self {
        let spec = &container.spec;
        let own = [("image", &spec.image.reference), ("name", &spec.name)];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
        let mut room = MAX_LABELS;
        let fits = |(name, value): &(&String, &String)| {
            let left = room.checked_sub(name.len() + value.len());
            room = left.unwrap_or(room);
            left.is_some()
        };
        let labels = spec.labels.iter().filter(fits).map(|(name, value)| (name.clone(), value.clone()));
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
    next: broadcast::Sender<Rc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { kept: RefCell::default(), next: broadcast::Sender::new(KEPT) }
    }
}

impl Events {
    /// Keeps an event and tells those that follow.
    pub fn push(&self, event: Event) {
        let event = Rc::new(event);
        let mut kept = self.kept.borrow_mut();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Rc::clone(&event));
        // Nobody may be following.
        let _none = self.next.send(event);
    }

    /// The events that are kept, oldest first, and those to come: none is missing between them. A follower that is
    /// more than a few hundred behind loses the oldest.
    #[must_use]
    pub fn subscribe(&self) -> (Vec<Rc<Event>>, broadcast::Receiver<Rc<Event>>) {
        (self.kept.borrow().iter().cloned().collect(), self.next.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_last_events_are_kept_and_the_next_follow() {
        let (events, container) = (Events::default(), fixture::container("web"));
        for number in 0..KEPT + 10 {
            events.push(Event::now(&container, &number.to_string(), &[("exitCode", "0")]));
        }
        let (kept, mut next) = events.subscribe();
        assert_eq!((kept.len(), kept[0].action.as_str()), (KEPT, "10"));
        assert_eq!((kept[0].attribute("name"), kept[0].attribute("exitCode")), (Some("web"), Some("0")));
        events.push(Event::now(&container, "start", &[]));
        assert_eq!(next.try_recv().unwrap().action, "start");
    }

    #[test]
    fn labels_are_bounded() {
        let mut container = fixture::container("web");
        let labels = &mut Rc::get_mut(&mut container).unwrap().spec.labels;
        labels.insert("large".into(), "x".repeat(MAX_LABELS));
        labels.insert("small".into(), "y".into());
        labels.insert("name".into(), "mine".into());
        let event = Event::now(&container, "start", &[]);
        assert_eq!((event.attribute("large"), event.attribute("small")), (None, Some("y")));
        assert_eq!(event.attribute("name"), Some("web"), "labels do not hide what Docker says");
    }
}
