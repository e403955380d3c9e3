//! Pods of containers that do not run, booted to read or write their files: held, so that no program runs in them. Requests
//! share one, and it stays for a moment after the last.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use pod::{PodDir, Starting, Volume};
use vdocker::EngineError;

use super::process::{Process, shutdown};
use crate::container::Container;
use crate::daemon::Daemon;
use crate::failure::failed;

/// How long a held pod stays after its last request.
const LINGER: Duration = Duration::from_secs(3);

/// How long it may take to end in order.
const PATIENCE: Duration = Duration::from_secs(15);

/// The pods that are held.
#[derive(Default)]
pub(crate) struct HeldPods(RefCell<HashMap<String, Rc<Held>>>);

/// A pod that is held.
struct Held {
    dir: PodDir,
    process: Process,
    users: Cell<usize>,
}

/// A pod that answers requests, for as long as this lives.
pub(crate) struct Reached {
    pub(crate) dir: PodDir,
    guard: Option<Guard>,
}

/// A request to a held pod.
struct Guard {
    daemon: Rc<Daemon>,
    id: String,
    held: Rc<Held>,
}

impl Reached {
    /// Whether the container's own program does not run in it.
    pub(crate) fn is_held(&self) -> bool {
        self.guard.is_some()
    }
}

/// The pod of a container: the one that runs, or one that is held.
///
/// # Errors
/// The container is being removed, or its pod does not boot.
pub(crate) async fn reach(daemon: &Rc<Daemon>, container: &Rc<Container>) -> Result<Reached, EngineError> {
    let dir = daemon.pods.of(&container.id).map_err(|error| failed(&error))?;
    if container.is_reachable.get() {
        return Ok(Reached { dir, guard: None });
    }
    let (daemon, container) = (Rc::clone(daemon), Rc::clone(container));
    // Also where the client goes meanwhile: a pod that nobody knows of would hold its lock for ever.
    let held = tokio::task::spawn_local(async move { hold(&daemon, &container, dir).await });
    held.await.unwrap_or_else(|error| Err(EngineError::Failed(error.to_string())))
}

/// [`reach`], for a container that does not run.
async fn hold(daemon: &Rc<Daemon>, container: &Rc<Container>, dir: PodDir) -> Result<Reached, EngineError> {
    let _operation = container.operation.lock().await;
    if container.life.borrow().removed {
        return Err(EngineError::NotFound(format!("No such container: {}", container.id)));
    }
    if container.is_reachable.get() {
        return Ok(Reached { dir, guard: None });
    }
    let known = daemon.held.0.borrow().get(&container.id).cloned();
    let held = match known {
        Some(held) => held,
        None => {
            free_volumes(daemon, container).await?;
            boot(daemon, &container.id, &dir).await?
        }
    };
    held.users.set(held.users.get() + 1);
    let guard = Guard { daemon: Rc::clone(daemon), id: container.id.clone(), held };
    Ok(Reached { dir, guard: Some(guard) })
}

/// Sees to it that nobody else has the volumes of a container whose pod is about to boot, where one of both writes: a disk has
/// one machine at a time then, and a directory one that writes, unless it was made for many.
///
/// # Errors
/// [`EngineError::Conflict`] where another container runs with one of them.
pub(crate) async fn free_volumes(daemon: &Rc<Daemon>, container: &Container) -> Result<(), EngineError> {
    let own = volumes(container);
    if own.is_empty() {
        return Ok(());
    }
    for other in daemon.containers.all() {
        if other.id == container.id {
            continue;
        }
        let clash = volumes(&other).into_iter().find(|(name, writes)| {
            let ours = own.get(name);
            ours.is_some_and(|ours| clashes(daemon.volumes.get(name), *ours, *writes))
        });
        let Some((volume, _)) = clash else { continue };
        if other.is_reachable.get() {
            return Err(EngineError::Conflict(format!(
                "volume {volume} is in use by container {}, which runs: while one machine writes to a volume, no other has it",
                other.name()
            )));
        }
        daemon.held.release(&other.id).await;
    }
    Ok(())
}

/// The volumes of a container, and whether it writes to them.
fn volumes(container: &Container) -> BTreeMap<String, bool> {
    let mut volumes = BTreeMap::new();
    for mount in &container.record.borrow().mounts {
        if let Some(name) = &mount.name {
            *volumes.entry(name.clone()).or_default() |= mount.rw != Some(false);
        }
    }
    volumes
}

/// Whether two containers cannot have a volume at the same time.
fn clashes(volume: Option<Volume>, one_writes: bool, other_writes: bool) -> bool {
    match volume {
        Some(volume) if volume.is_disk() => one_writes || other_writes,
        Some(volume) => volume.has_one_writer() && one_writes && other_writes,
        None => false,
    }
}

async fn boot(daemon: &Rc<Daemon>, id: &str, dir: &PodDir) -> Result<Rc<Held>, EngineError> {
    let (of_thread, program) = (dir.clone(), daemon.pods.program().to_owned());
    let spawned = daemon.blocking(move || Starting::begin(&of_thread, true)?.spawn(&program)).await?;
    let process = Process::new(spawned.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
    let held = Rc::new(Held { dir: dir.clone(), process, users: Cell::new(0) });
    daemon.held.0.borrow_mut().insert(id.to_owned(), Rc::clone(&held));
    let (daemon, id, watched) = (Rc::clone(daemon), id.to_owned(), Rc::clone(&held));
    tokio::task::spawn_local(async move {
        watched.process.ended().await;
        daemon.held.forget(&id, &watched);
    });
    Ok(held)
}

impl HeldPods {
    /// Ends the held pod of a container, if there is one: before it is started or removed.
    pub(crate) async fn release(&self, id: &str) {
        let held = self.0.borrow().get(id).cloned();
        if let Some(held) = held {
            held.end().await;
            self.forget(id, &held);
        }
    }

    /// Ends all of them.
    pub(crate) async fn release_all(&self) {
        let ids: Vec<_> = self.0.borrow().keys().cloned().collect();
        for id in ids {
            self.release(&id).await;
        }
    }

    fn forget(&self, id: &str, held: &Rc<Held>) {
        let mut pods = self.0.borrow_mut();
        if pods.get(id).is_some_and(|known| Rc::ptr_eq(known, held)) {
            pods.remove(id);
        }
    }
}

impl Held {
    /// Ends it in order, so that what was written is on its disk.
    async fn end(&self) {
        let orderly = async {
            // One that cannot be reached ends by the limit.
            let _asked = shutdown(&self.dir).await;
            self.process.ended().await;
        };
        if tokio::time::timeout(PATIENCE, orderly).await.is_err() {
            self.process.kill();
            self.process.ended().await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let users = self.held.users.get() - 1;
        self.held.users.set(users);
        if users > 0 {
            return;
        }
        let (daemon, id, held) =
            (Rc::clone(&self.daemon), std::mem::take(&mut self.id), Rc::clone(&self.held));
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = tokio::time::sleep(LINGER) => {}
                () = daemon.open.closing() => {}
            }
            let Some(container) = daemon.containers.by_id(&id) else { return };
            let _operation = container.operation.lock().await;
            let is_same = daemon.held.0.borrow().get(&id).is_some_and(|known| Rc::ptr_eq(known, &held));
            if is_same && held.users.get() == 0 {
                daemon.held.release(&id).await;
            }
        });
    }
}
