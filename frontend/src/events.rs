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

/// Of them, those of one object: who is talkative takes nobody else's place.
const SHARE: usize = 512;

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

/// An event with its number.
type Numbered = (u64, Arc<Event>);

/// All events of the host.
pub(crate) struct EventLog {
    told: Arc<Told>,
    /// What will be kept once all that was added is on the disk, oldest first.
    added: RefCell<VecDeque<Numbered>>,
    /// The next event's number.
    next: Cell<u64>,
    /// How often each kind of object has had each of [`COUNTED`], since the daemon began.
    counts: RefCell<BTreeMap<(String, &'static str), u64>>,
}

/// What is on the disk, and told. The store's thread adds to it.
struct Told {
    kept: Mutex<VecDeque<Numbered>>,
    followers: broadcast::Sender<Arc<Event>>,
}

impl Told {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Numbered>> {
        // It is whole between any two of its changes.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event, and forgets those of these numbers.
    fn add(&self, number: u64, event: Arc<Event>, forgotten: &[u64]) {
        let mut kept = self.kept();
        kept.push_back((number, Arc::clone(&event)));
        for number in forgotten {
            if let Ok(place) = kept.binary_search_by_key(number, |(number, _)| *number) {
                kept.remove(place);
            }
        }
        // Nobody may be following.
        let _none = self.followers.send(event);
    }
}

/// Takes away what there is no room for after an event of that object, and answers its numbers.
fn forget(events: &mut VecDeque<Numbered>, id: &str) -> Vec<u64> {
    let mut forgotten = Vec::new();
    let own = |(_, event): &Numbered| event.actor.id == id;
    if events.iter().filter(|event| own(event)).count() > SHARE {
        let first = events.iter().position(own);
        forgotten.extend(first.and_then(|place| events.remove(place)).map(|(number, _)| number));
    }
    while events.len() > KEPT {
        forgotten.extend(events.pop_front().map(|(number, _)| number));
    }
    forgotten
}

impl EventLog {
    /// Those that the store has.
    pub(crate) fn load(db: &Db) -> Result<Self, DbError> {
        let events = db.events::<Event>()?;
        let next = events.last().map_or(0, |(number, _)| number + 1);
        let kept: VecDeque<_> = events.into_iter().map(|(number, event)| (number, Arc::new(event))).collect();
        let added = RefCell::new(kept.clone());
        let told = Told { kept: Mutex::new(kept), followers: broadcast::Sender::new(BEHIND) };
        Ok(Self { told: Arc::new(told), added, next: Cell::new(next), counts: RefCell::default() })
    }

    /// Adds an event to a batch. It is told when the batch is committed: an event and the change that it tells of are kept
    /// together, or neither, and nobody hears of what a killed daemon forgets.
    pub(crate) fn push(&self, batch: &mut Batch, event: Event) {
        self.count(&event);
        let number = self.next.replace(self.next.get() + 1);
        if let Ok(json) = serde_json::to_vec(&event) {
            batch.put_event(number, json);
        }
        let event = Arc::new(event);
        let mut added = self.added.borrow_mut();
        added.push_back((number, Arc::clone(&event)));
        let forgotten = forget(&mut added, &event.actor.id);
        for number in &forgotten {
            batch.drop_event(*number);
        }
        let told = Arc::clone(&self.told);
        batch.then(move || told.add(number, event, &forgotten));
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
        let kept = self.told.kept();
        kept.iter().filter(|(_, event)| event.actor.id == id).map(|(_, event)| event.time_nano).collect()
    }

    /// The time before which events of an object have been forgotten, in nanoseconds since 1970; `None` where none has.
    pub(crate) fn horizon(&self, id: &str) -> Option<i64> {
        let kept = self.told.kept();
        let time = |(_, event): &Numbered| event.time_nano;
        // A time that has not come hides nothing that will.
        let now = time::unix_nanos(SystemTime::now());
        let of_all = kept.front().filter(|_| kept.len() >= KEPT).map(time).map(|time| time.min(now));
        let mut own = kept.iter().filter(|(_, event)| event.actor.id == id);
        let first = own.next().map(time);
        of_all.max(first.filter(|_| own.count() + 1 >= SHARE))
    }

    /// The events that are kept, oldest first, and those to come: none is missing between them, and none comes twice.
    pub(crate) fn subscribe(&self) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let kept = self.told.kept();
        (kept.iter().map(|(_, event)| Arc::clone(event)).collect(), self.told.followers.subscribe())
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
            let id = (number % 8).to_string();
            log.push(&mut batch, Event::now("container", &number.to_string(), &id, BTreeMap::new()));
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
        assert_eq!(log.horizon("2"), Some(after[0].time_nano));
    }

    #[tokio::test]
    async fn a_talkative_object_takes_nobody_elses_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let db = Db::open(&path).unwrap();
        let log = EventLog::load(&db).unwrap();
        let mut batch = Batch::default();
        log.push(&mut batch, Event::now("container", "create", "quiet", BTreeMap::new()));
        for number in 0..3 * KEPT {
            log.push(&mut batch, Event::now("container", &number.to_string(), "loud", BTreeMap::new()));
        }
        log.push(&mut batch, Event::now("container", "start", "quiet", BTreeMap::new()));
        db.commit(batch).await.unwrap();
        let (kept, _) = log.subscribe();
        assert_eq!((kept.len(), kept[0].action.as_str()), (SHARE + 2, "create"));
        assert_eq!(kept[1].action, (3 * KEPT - SHARE).to_string());
        assert_eq!((log.horizon("quiet"), log.horizon("loud")), (None, Some(kept[1].time_nano)));
        drop((db, log));
        let (after, _) = EventLog::load(&Db::open(&path).unwrap()).unwrap().subscribe();
        assert_eq!(kept, after);
    }

    #[tokio::test]
    async fn a_time_that_has_not_come_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("state.redb")).unwrap();
        let log = EventLog::load(&db).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(3600);
        let mut batch = Batch::default();
        for number in 0..KEPT {
            let id = (number % 8).to_string();
            log.push(&mut batch, Event::at(later, "container", "resize", &id, BTreeMap::new()));
        }
        db.commit(batch).await.unwrap();
        let horizon = log.horizon("other").unwrap();
        assert!(horizon <= time::unix_nanos(SystemTime::now()), "{horizon}");
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
