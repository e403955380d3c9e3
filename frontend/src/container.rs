//! A container of the daemon: what is kept of it, how it stands, and its pod while that runs.

mod allowance;
pub(crate) mod attach;
pub(crate) mod create;
pub(crate) mod endpoints;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod inspect;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod merge;
pub(crate) mod mounts;
pub(crate) mod names;
pub(crate) mod networking;
pub(crate) mod options;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod prune;
pub(crate) mod reconcile;
pub(crate) mod record;
pub(crate) mod registry;
pub(crate) mod remove;
pub(crate) mod restart;
pub(crate) mod routes;
pub(crate) mod run;
mod sizes;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod update;
pub(crate) mod wait;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bollard_stubs::models;
use tokio::sync::{Mutex, watch};

use crate::daemon::Daemon;
use crate::db::{Batch, DbError, Table};
use crate::events::Event;
use crate::pods::process::Process;
use attach::Waiting;
use record::{Record, State, Status, Stored};

/// A container. It lives as long as anybody speaks of it; [`Life::removed`] tells that it is gone.
pub(crate) struct Container {
    /// 64 lower-case hexadecimal digits; its pod's id too.
    pub(crate) id: String,
    /// What it was created with, changed by rename and update only.
    pub(crate) record: RefCell<Record>,
    /// How it stands. Requests subscribe.
    pub(crate) life: watch::Sender<Life>,
    /// Held by whatever starts, stops, changes or removes it: one at a time.
    pub(crate) operation: Mutex<()>,
    /// Whether its `docker.sock` takes connections: from the moment before its process is started.
    pub(crate) is_reachable: Cell<bool>,
    /// The process that runs its pod.
    pub(crate) process: RefCell<Option<Rc<Process>>>,
    /// What its pod got of its networks in this run.
    pub(crate) places: RefCell<Vec<net::Answer>>,
    /// Clients that were attached before the start.
    pub(crate) waiting: RefCell<Vec<Waiting>>,
    /// The last wait before a restart by its policy.
    pub(crate) delay: Cell<Duration>,
}

/// How a container stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Life {
    /// What is kept on the disk.
    pub(crate) state: State,
    /// How often it has ended since the daemon began: what `wait` for the next exit waits for.
    pub(crate) exits: u64,
    /// What its health check found in this run; `None` without one.
    pub(crate) health: Option<models::Health>,
    /// It is no more.
    pub(crate) removed: bool,
}

impl Life {
    /// Whether its process exists: Docker's `State.Running`, true also while it is paused or waits for a restart.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state.status, Status::Running | Status::Paused | Status::Restarting)
    }
}

impl Container {
    /// A container of what is kept.
    pub(crate) fn new(stored: Stored) -> Rc<Self> {
        let life = Life { state: stored.state, ..Life::default() };
        Rc::new(Self {
            id: stored.record.id.clone(),
            record: RefCell::new(stored.record),
            life: watch::Sender::new(life),
            operation: Mutex::new(()),
            is_reachable: Cell::new(false),
            process: RefCell::new(None),
            places: RefCell::default(),
            waiting: RefCell::default(),
            delay: Cell::default(),
        })
    }

    /// Its name, without a slash.
    pub(crate) fn name(&self) -> String {
        self.record.borrow().name.clone()
    }

    /// How it stands now.
    pub(crate) fn state(&self) -> State {
        self.life.borrow().state.clone()
    }

    /// Where it stands now.
    pub(crate) fn status(&self) -> Status {
        self.life.borrow().state.status
    }

    /// Whether its process exists: Docker's `State.Running`, true also while it is paused or waits for a restart.
    pub(crate) fn is_running(&self) -> bool {
        self.life.borrow().is_running()
    }

    /// Whether it has a pod that runs, or is about to.
    pub(crate) fn has_pod(&self) -> bool {
        self.is_running() || self.process.borrow().is_some()
    }

    /// Whether it has a terminal.
    pub(crate) fn has_terminal(&self) -> bool {
        self.record.borrow().config.tty.unwrap_or_default()
    }

    /// Whether it is removed when it has ended.
    pub(crate) fn is_removed_at_end(&self) -> bool {
        self.record.borrow().host_config.auto_remove.unwrap_or_default()
    }

    /// Puts what is to be kept into a batch. To be called after every change of the record or the state.
    pub(crate) fn keep(&self, batch: &mut Batch) -> Result<(), DbError> {
        let stored = Stored { record: self.record.borrow().clone(), state: self.state() };
        batch.put(Table::Containers, &self.id, &stored)
    }

    /// Changes how it stands, together with events that tell of it. Whoever waits for the change learns of it when it is on
    /// the disk.
    pub(crate) async fn change(
        &self,
        daemon: &Daemon,
        change: impl FnOnce(&mut Life),
        events: impl IntoIterator<Item = Event>,
    ) -> Result<(), DbError> {
        self.life.send_if_modified(|life| {
            change(life);
            false
        });
        let mut batch = Batch::default();
        // One that is gone does not come back.
        let kept = if self.life.borrow().removed { Ok(()) } else { self.keep(&mut batch) };
        for event in events {
            daemon.events.push(&mut batch, event);
        }
        let committed = match kept {
            Ok(()) => daemon.db.commit(batch).await,
            Err(error) => Err(error),
        };
        self.life.send_modify(|_| {});
        committed
    }

    /// An event of it that happens now.
    pub(crate) fn event(&self, action: &str, more: &[(&str, &str)]) -> Event {
        let mut attributes = self.attributes();
        attributes.extend(more.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        Event::now("container", action, &self.id, attributes)
    }

    /// What all its events tell of it: labels, image and name.
    pub(crate) fn attributes(&self) -> BTreeMap<String, String> {
        let record = self.record.borrow();
        let mut attributes: BTreeMap<_, _> = record
            .config
            .labels
            .iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        attributes.insert("image".to_owned(), record.image.clone());
        attributes.insert("name".to_owned(), record.name.clone());
        attributes
    }

    /// Tells of something that changes nothing that is kept of it.
    pub(crate) async fn tell(&self, daemon: &Daemon, action: &str, more: &[(&str, &str)]) {
        self.tell_of(daemon, self.event(action, more)).await;
    }

    /// Waits until a run is over before which there were `exits` ends.
    pub(crate) async fn is_over(&self, exits: u64) {
        let mut life = self.life.subscribe();
        let is_over = |life: &Life| life.exits != exits || life.removed || !self.is_reachable.get();
        // Its sender is here.
        let _life = life.wait_for(is_over).await;
    }

    /// Tells of an event.
    pub(crate) async fn tell_of(&self, daemon: &Daemon, event: Event) {
        let mut batch = Batch::default();
        daemon.events.push(&mut batch, event);
        if let Err(error) = daemon.db.commit(batch).await {
            crate::failure::report("cannot keep an event", &error);
        }
    }
}
