//! A container of the daemon: what is kept of it, how it stands, and its pod while that runs.

pub(crate) mod record;
pub(crate) mod registry;

use std::cell::RefCell;
use std::rc::Rc;

use bollard_stubs::models;
use tokio::sync::{Mutex, watch};

use crate::db::{Batch, DbError, Table};
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

impl Container {
    /// A container of what is kept.
    pub(crate) fn new(stored: Stored) -> Rc<Self> {
        let life = Life { state: stored.state, ..Life::default() };
        Rc::new(Self {
            id: stored.record.id.clone(),
            record: RefCell::new(stored.record),
            life: watch::Sender::new(life),
            operation: Mutex::new(()),
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

    /// Whether its process exists: Docker's `State.Running`, true also while it is paused or waits for a restart.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.life.borrow().state.status, Status::Running | Status::Paused | Status::Restarting)
    }

    /// Puts what is to be kept into a batch. To be called after every change of the record or the state.
    pub(crate) fn keep(&self, batch: &mut Batch) -> Result<(), DbError> {
        let stored = Stored { record: self.record.borrow().clone(), state: self.state() };
        batch.put(Table::Containers, &self.id, &stored)
    }
}
