//! The removal of a container: its pod, its record, and the volumes that nobody named.

use std::io;
use std::rc::Rc;

use pod::{LockError, PodDir, PodLock};
use vdocker::EngineError;

use super::Container;
use super::record::Status;
use super::stop;
use crate::daemon::Daemon;
use crate::db::{Batch, Table};
use crate::failure::{failed, report};

/// How often a container is killed that is to be removed: it may be about to be started again by its policy.
const ATTEMPTS: usize = 3;

/// How to remove a container.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// Also where it runs: it is killed.
    pub(super) force: bool,
    /// Its anonymous volumes too.
    pub(super) volumes: bool,
}

/// Removes a container.
///
/// # Errors
/// [`EngineError::Conflict`] where it runs, or is being removed.
pub(super) async fn remove(
    daemon: &Rc<Daemon>,
    container: &Rc<Container>,
    options: Options,
) -> Result<(), EngineError> {
    if container.is_running() {
        if !options.force {
            return Err(running(container));
        }
        kill(daemon, container).await?;
    }
    if container.status() == Status::Removing {
        return Err(in_progress(container));
    }
    let starting = container.process.borrow().clone().filter(|_| options.force && !container.is_running());
    if let Some(process) = starting {
        // Whoever starts it learns that it came to nothing.
        process.kill();
    }
    let _operation = container.operation.lock().await;
    if container.life.borrow().removed {
        // A container that is removed at its end is gone by now, which is what the client wants.
        return if options.force { Ok(()) } else { Err(missing(container)) };
    }
    // Its policy may have started it again before the operation was had. From here on nobody does.
    for _ in 0..ATTEMPTS {
        if !container.is_running() {
            break;
        }
        if !options.force {
            return Err(running(container));
        }
        kill(daemon, container).await?;
    }
    if container.is_running() {
        return Err(running(container));
    }
    take_away(daemon, container, options.volumes).await
}

async fn kill(daemon: &Rc<Daemon>, container: &Rc<Container>) -> Result<(), EngineError> {
    match stop::kill(daemon, container, vdocker::signal::KILL).await {
        // It may have ended by itself.
        Ok(()) | Err(EngineError::Conflict(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a container that is removed when it has ended. Where that fails, it stays and can be removed by hand.
pub(super) async fn at_end(daemon: &Rc<Daemon>, container: &Rc<Container>) {
    // Whoever stops it holds the operation until it has ended: the end does not wait for that.
    let (daemon, container) = (Rc::clone(daemon), Rc::clone(container));
    tokio::task::spawn_local(async move {
        let _operation = container.operation.lock().await;
        if container.life.borrow().removed || container.is_running() {
            return;
        }
        if let Err(error) = take_away(&daemon, &container, true).await {
            report("cannot remove a container that has ended", &error);
        }
    });
}

/// Removes a container that does not run; its operation is held.
pub(super) async fn take_away(
    daemon: &Rc<Daemon>,
    container: &Rc<Container>,
    volumes: bool,
) -> Result<(), EngineError> {
    if let Err(error) = take_files(daemon, container).await {
        // It can be removed once more.
        let text = error.to_string();
        let dead = |life: &mut super::Life| (life.state.status, life.state.error) = (Status::Dead, text);
        if let Err(error) = container.change(daemon, dead, []).await {
            report("cannot keep that a removal failed", &error);
        }
        return Err(error);
    }
    daemon.containers.remove(container);
    super::exec::forget(daemon, container);
    container.waiting.borrow_mut().clear();
    container.life.send_modify(|life| {
        // Nothing is wrong any more: whoever waits for the removal is not told of a failed start.
        life.state.error.clear();
        life.removed = true;
    });
    if volumes {
        remove_volumes(daemon, container).await;
    }
    Ok(())
}

/// Removes what is on the disk of a container: its files, and then its record.
async fn take_files(daemon: &Rc<Daemon>, container: &Rc<Container>) -> Result<(), EngineError> {
    // A daemon that is killed from here on goes on with it when it is back.
    container.change(daemon, |life| life.state.status = Status::Removing, []).await?;
    daemon.held.release(&container.id).await;
    remove_pod(daemon, &container.id).await?;
    let mut batch = Batch::default();
    batch.delete(Table::Containers, &container.id);
    daemon.events.push(&mut batch, container.event("destroy", &[]));
    Ok(daemon.db.commit(batch).await?)
}

/// Removes the directory of a pod that does not run, and lets go of its images.
pub(super) async fn remove_pod(daemon: &Rc<Daemon>, id: &str) -> Result<(), EngineError> {
    let dir = daemon.pods.of(id).map_err(|error| failed(&error))?;
    let images = daemon.images.clone();
    daemon
        .blocking(move || {
            remove_directory(&dir)?;
            images.remove_root(dir.path()).map_err(|error| failed(&error))
        })
        .await?
}

fn remove_directory(dir: &PodDir) -> Result<(), EngineError> {
    let lock = match PodLock::take(&dir.lock()) {
        Ok(lock) => Some(lock),
        Err(LockError::Lock { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&error)),
    };
    if lock.is_none() && !dir.path().exists() {
        return Ok(());
    }
    dir.remove().map_err(|error| failed(&error))?;
    Ok(())
}

/// Removes the volumes that the container alone had and nobody named.
async fn remove_volumes(daemon: &Daemon, container: &Container) {
    let names: Vec<_> =
        container.record.borrow().mounts.iter().filter_map(|mount| mount.name.clone()).collect();
    remove_anonymous(daemon, &names).await;
}

/// Removes those of the volumes that nobody named and no container has.
pub(super) async fn remove_anonymous(daemon: &Daemon, names: &[String]) {
    for name in names {
        let is_anonymous = daemon.volumes.get(name).is_some_and(|volume| volume.is_anonymous());
        if !is_anonymous || !crate::volume::users(daemon, name).is_empty() {
            continue;
        }
        if let Err(error) = crate::volume::remove(daemon, name).await {
            report(&format!("cannot remove volume {name}"), &error);
        }
    }
}

fn running(container: &Container) -> EngineError {
    let (name, state) = (container.name(), container.status());
    EngineError::Conflict(match state {
        Status::Paused => {
            format!("cannot remove container \"/{name}\": container is paused and must be unpaused first")
        }
        state => format!(
            "cannot remove container \"/{name}\": container is {}: stop the container before removing or force remove",
            state.word()
        ),
    })
}

fn in_progress(container: &Container) -> EngineError {
    EngineError::Conflict(format!("removal of container {} is already in progress", container.name()))
}

fn missing(container: &Container) -> EngineError {
    EngineError::NotFound(format!("No such container: {}", container.id))
}
