//! What has happened on the host (Docker Engine API, "Monitor events"): kept in the daemon's state, and followed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use vdocker::time;

use crate::db::{Batch, Db, DbError};

/// Events that are kept for `since`.
const KEPT: usize = 2048;

/// The actions that are counted: not what a guest may call its own.
const COUNTED: [&str; 19] = [
    "create",
    "start",
    "die",
    "oom",
    "kill",
    "stop",
    "restart",
    "pause",
    "unpause",
    "destroy",
    "exec_start",
    "health_status",
    "pull",
    "push",
    "load",
    "import",
    "commit",
    "delete",
    "prune",
];

/// Events that one who follows may be behind.
const BEHIND: usize = 1024;

/// Bytes of the attributes of one event: they are labels of clients and images, and each event that is kept has them.
const MAX_ATTRIBUTES: usize = 16 << 10;

/// An event in the form of the API. The fields `status`, `id` and `from` are those of versions before 1.22.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// `container`, `image`, `volume`, `network`, `daemon`.
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    /// `start`, `die`, `pull`, `exec_create: sh`, …
    #[serde(rename = "Action")]
    pub(crate) action: String,
    #[serde(rename = "Actor")]
    pub(crate) actor: Actor,
    pub(crate) scope: String,
    /// Seconds since 1970.
    pub(crate) time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub(crate) time_nano: i64,
}

/// What an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Actor {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Attributes")]
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Event {
    /// An event that happens now.
    pub(crate) fn now(kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) -> Self {
        Self::at(SystemTime::now(), kind, action, id, attributes)
    }

    /// An event of that time.
    pub(crate) fn at(
        when: SystemTime,
        kind: &str,
        action: &str,
        id: &str,
        attributes: BTreeMap<String, String>,
    ) -> Self {
        let attributes = bounded(attributes);
        let old = matches!(kind, "container" | "image");
        Self {
            status: old.then(|| action.to_owned()),
            id: old.then(|| id.to_owned()),
            from: attributes.get("image").filter(|_| kind == "container").cloned(),
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes },
            scope: "local".to_owned(),
            time: time::unix(when),
            time_nano: time::unix_nanos(when),
        }
    }
}

/// The attributes that an event has room for: the longest are left out.
fn bounded(attributes: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let length = |(name, value): &(String, String)| name.len() + value.len();
    let mut all: Vec<_> = attributes.into_iter().collect();
    all.sort_by_key(length);
    let mut taken = 0;
    let fits = |attribute: &(String, String)| {
        taken += length(attribute);
        taken <= MAX_ATTRIBUTES
    };
    all.into_iter().take_while(fits).collect()
}

/// All events of the host.
pub(crate) struct EventLog {
    told: Arc<Told>,
    /// The next event's number.
    next: Cell<u64>,
    /// How often each kind of object has had each of [`COUNTED`], since the daemon began.
    counts: RefCell<BTreeMap<(String, &'static str), u64>>,
}

/// What is on the disk, and told. The store's thread adds to it.
struct Told {
    kept: Mutex<VecDeque<Arc<Event>>>,
    followers: broadcast::Sender<Arc<Event>>,
}

impl Told {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Event>>> {
        // It is whole between any two of its changes.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, event: Arc<Event>) {
        let mut kept = self.kept();
        kept.push_back(Arc::clone(&event));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        // Nobody may be following.
        let _none = self.followers.send(event);
    }
}

impl EventLog {
    /// Those that the store has.
    pub(crate) fn load(db: &Db) -> Result<Self, DbError> {
        let events = db.events::<Event>()?;
        let next = events.last().map_or(0, |(number, _)| number + 1);
        let kept = events.into_iter().map(|(_, event)| Arc::new(event)).collect();
        let told = Told { kept: Mutex::new(kept), followers: broadcast::Sender::new(BEHIND) };
        Ok(Self { told: Arc::new(told), next: Cell::new(next), counts: RefCell::default() })
    }

    /// Adds an event to a batch. It is told when the batch is committed: an event and the change that it tells of are kept
    /// together, or neither, and nobody hears of what a killed daemon forgets.
    pub(crate) fn push(&self, batch: &mut Batch, event: Event) {
        self.count(&event);
        let number = self.next.replace(self.next.get() + 1);
        if let Ok(json) = serde_json::to_vec(&event) {
            batch.put_event(number, json);
        }
        if let Some(first) = (number + 1).checked_sub(KEPT as u64).filter(|first| *first > 0) {
            batch.drop_events_before(first);
        }
        let told = Arc::clone(&self.told);
        batch.then(move || told.add(Arc::new(event)));
    }

    fn count(&self, event: &Event) {
        let action = event.action.split(':').next().unwrap_or_default();
        if let Some(action) = COUNTED.into_iter().find(|counted| *counted == action) {
            *self.counts.borrow_mut().entry((event.kind.clone(), action)).or_default() += 1;
        }
    }

    /// How often each kind of object has had each action that is counted, since the daemon began.
    pub(crate) fn counts(&self) -> BTreeMap<(String, &'static str), u64> {
        self.counts.borrow().clone()
    }

    /// Clients that follow.
    pub(crate) fn followers(&self) -> usize {
        self.told.followers.receiver_count()
    }

    /// The times of what is kept of an object, in nanoseconds since 1970.
    pub(crate) fn times_of(&self, id: &str) -> BTreeSet<i64> {
        self.told.kept().iter().filter(|event| event.actor.id == id).map(|event| event.time_nano).collect()
    }

    /// The time before which events have been forgotten, in nanoseconds since 1970; `None` where none has.
    pub(crate) fn horizon(&self) -> Option<i64> {
        let kept = self.told.kept();
        kept.front().filter(|_| kept.len() >= KEPT).map(|event| event.time_nano)
    }

    /// The events that are kept, oldest first, and those to come: none is missing between them, and none comes twice.
    pub(crate) fn subscribe(&self) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let kept = self.told.kept();
        (kept.iter().cloned().collect(), self.told.followers.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_outlive_the_daemon_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let db = Db::open(&path).unwrap();
        let log = EventLog::load(&db).unwrap();
        let (kept, mut next) = log.subscribe();
        assert!(kept.is_empty());
        let mut heard = Vec::new();
        let mut batch = Batch::default();
        for number in 0..KEPT + 10 {
            log.push(&mut batch, Event::now("container", &number.to_string(), "ab", BTreeMap::new()));
            if number % 100 == 0 {
                assert!(next.try_recv().is_err(), "what is not on the disk is not told");
                db.commit(std::mem::take(&mut batch)).await.unwrap();
                while let Ok(event) = next.try_recv() {
                    heard.push(event.action.clone());
                }
            }
        }
        db.commit(batch).await.unwrap();
        assert_eq!(heard, (0..=2000).map(|number: usize| number.to_string()).collect::<Vec<_>>());
        let (before, _) = log.subscribe();
        drop((db, log));
        let db = Db::open(&path).unwrap();
        let log = EventLog::load(&db).unwrap();
        let (after, _) = log.subscribe();
        assert_eq!((before.len(), &before), (KEPT, &after));
        assert_eq!(after[0].action, "10");
        assert_eq!(log.horizon(), Some(after[0].time_nano));
    }

    #[test]
    fn an_event_has_room_for_so_much() {
        let long = |name: &str, length| (name.to_owned(), "x".repeat(length));
        let attributes =
            BTreeMap::from([long("label", 4 << 20), long("name", 100), long("other", MAX_ATTRIBUTES - 200)]);
        let event = Event::now("container", "start", "ab", attributes);
        assert_eq!(event.actor.attributes.keys().collect::<Vec<_>>(), ["name", "other"]);
    }

    #[test]
    fn an_event_has_this_form() {
        let attributes = BTreeMap::from([("image".to_owned(), "busybox".to_owned())]);
        let when = SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1_500_000_000);
        let event = Event::at(when, "container", "start", "ab", attributes);
        let golden = r#"{"status":"start","id":"ab","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"ab","Attributes":{"image":"busybox"}},"scope":"local","time":1,"timeNano":1500000000}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), golden);
        let network = Event::at(when, "network", "create", "ab", BTreeMap::new());
        let golden = r#"{"Type":"network","Action":"create","Actor":{"ID":"ab","Attributes":{}},"scope":"local","time":1,"timeNano":1500000000}"#;
        assert_eq!(serde_json::to_string(&network).unwrap(), golden);
    }
}
