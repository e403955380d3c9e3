//! Execs (Docker Engine API, "Exec"): run by the pod, found by their ids, and remembered when their pod has gone.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Container;
use crate::daemon::Daemon;

/// Keeps the exit code of an exec.
pub(super) fn died(_daemon: &Rc<Daemon>, _attributes: &BTreeMap<String, String>) {}

/// The execs of a container that has ended have ended too.
pub(super) fn ended(_daemon: &Rc<Daemon>, _container: &Container) {}

/// The container is no more.
pub(super) fn forget(_daemon: &Rc<Daemon>, _container: &Container) {}
