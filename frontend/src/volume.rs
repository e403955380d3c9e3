//! Named volumes as the daemon has them: those of the store, which `kcradle volume` sees too, and the events of them.
//!
//! The store is the truth. The daemon keeps the names that it has told of, so that each volume is created and destroyed
//! once in the events whoever did it, and whenever a daemon was killed.

pub(crate) mod routes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use pod::volume::users::Users;
use pod::volume::{Locked, OptionError, Volume, VolumeError, Volumes as Store, Wanted};
use vdocker::EngineError;

use crate::container::Container;
use crate::daemon::Daemon;
use crate::db::{Batch, Table};
use crate::events::Event;
use crate::failure::chain;

/// All volumes.
#[derive(Debug)]
pub(crate) struct Volumes {
    store: Store,
    /// Held while a volume is made or removed: nobody finds one whose disk is not there.
    changing: tokio::sync::Mutex<()>,
}

impl Volumes {
    /// Those in `dir`.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { store: Store::at(dir), changing: tokio::sync::Mutex::default() }
    }

    /// While this is held, this daemon makes and removes no volume.
    pub(crate) async fn changing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// A volume. One that cannot be read is none.
    pub(crate) fn get(&self, name: &str) -> Option<Volume> {
        self.store.get(name).unwrap_or_else(|error| {
            crate::failure::report("cannot read a volume", &error);
            None
        })
    }

    /// All, by name.
    pub(crate) fn all(&self) -> Vec<Volume> {
        self.store.all().unwrap_or_else(|error| {
            crate::failure::report("cannot read the volumes", &error);
            Vec::new()
        })
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Does work for which no other process changes the store.
    async fn locked<T: Send + 'static>(
        &self,
        daemon: &Daemon,
        work: impl FnOnce(&Locked<'_>) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let store = self.store.clone();
        let done = daemon.blocking(move || work(&store.lock()?));
        done.await?.map_err(|error| refused(&error))
    }
}

/// Makes the daemon's record of names agree with the store, and removes what killed processes have left there.
pub(crate) async fn reconcile(daemon: &Daemon) -> Result<(), EngineError> {
    let _changing = daemon.volumes.changing.lock().await;
    daemon.volumes.locked(daemon, |store| store.tidy()).await?;
    let told: Vec<String> = daemon.db.all(Table::Volumes)?;
    // Where one cannot be read nothing is told: those that are there would be destroyed for whoever listens.
    let there = daemon.volumes.store.all().map_err(|error| refused(&error))?;
    let mut batch = Batch::default();
    for name in told.iter().filter(|name| there.iter().all(|volume| volume.name != **name)) {
        forget(daemon, &mut batch, name, pod::volume::LOCAL);
    }
    for volume in there.iter().filter(|volume| !told.contains(&volume.name)) {
        tell(daemon, &mut batch, volume)?;
    }
    Ok(daemon.db.commit(batch).await?)
}

fn tell(daemon: &Daemon, batch: &mut Batch, volume: &Volume) -> Result<(), EngineError> {
    batch.put(Table::Volumes, &volume.name, &volume.name)?;
    event(daemon, batch, "create", &volume.name, volume.driver());
    Ok(())
}

fn forget(daemon: &Daemon, batch: &mut Batch, name: &str, driver: &str) {
    batch.delete(Table::Volumes, name);
    event(daemon, batch, "destroy", name, driver);
}

fn event(daemon: &Daemon, batch: &mut Batch, action: &str, name: &str, driver: &str) {
    let attributes = BTreeMap::from([("driver".to_owned(), driver.to_owned())]);
    daemon.events.push(batch, Event::now("volume", action, name, attributes));
}

/// Makes a volume, or finds it where it is there already, as Docker does. Without a name it gets one, and is its container's.
///
/// # Errors
/// [`EngineError::BadRequest`] for a name or an option that cannot be; [`EngineError::Failed`] where the disk cannot be made.
pub(crate) async fn create(daemon: &Daemon, mut wanted: Wanted) -> Result<Volume, EngineError> {
    if wanted.name.is_empty() {
        let name = crate::id::new()
            .map_err(|error| EngineError::Failed(format!("cannot name the volume: {error}")))?;
        wanted = wanted.anonymous(name);
    }
    let _changing = daemon.volumes.changing.lock().await;
    let templates = daemon.config.templates.clone();
    let (volume, made) = daemon.volumes.locked(daemon, move |store| store.make(&wanted, &templates)).await?;
    let told = daemon.db.get::<String>(Table::Volumes, &volume.name)?.is_some();
    if made || !told {
        let mut batch = Batch::default();
        // Where the event cannot be kept, the next start tells of the volume.
        tell(daemon, &mut batch, &volume)?;
        daemon.db.commit(batch).await?;
    }
    Ok(volume)
}

/// Removes a volume that no container and no pod has.
///
/// # Errors
/// [`EngineError::NotFound`]; [`EngineError::Conflict`] where somebody has it.
pub(crate) async fn remove(daemon: &Daemon, name: &str) -> Result<(), EngineError> {
    let _changing = daemon.volumes.changing.lock().await;
    let Some(volume) = daemon.volumes.get(name) else { return Err(missing(name)) };
    let users = users(daemon, name);
    if !users.is_empty() {
        let ids: Vec<_> = users.iter().map(|container| container.id.as_str()).collect();
        return Err(EngineError::Conflict(format!("remove {name}: volume is in use - [{}]", ids.join(", "))));
    }
    let (images, place) = (daemon.images.clone(), daemon.volumes.store.place(&volume));
    let of_work = volume.name.clone();
    let removed = daemon.volumes.locked(daemon, move |store| {
        // Asked for under the lock, under which pods of the command line get their volumes.
        let pods = match Users::of(&images) {
            Ok(users) => users.having(&place).map(|pod| pod.path().display().to_string()).collect(),
            Err(error) => vec![chain(&error)],
        };
        if pods.is_empty() { store.remove(&of_work).map(|_| pods) } else { Ok(pods) }
    });
    let pods = removed.await?;
    if !pods.is_empty() {
        return Err(EngineError::Conflict(format!(
            "remove {name}: volume is in use - [{}]",
            pods.join(", ")
        )));
    }
    let mut batch = Batch::default();
    forget(daemon, &mut batch, name, volume.driver());
    Ok(daemon.db.commit(batch).await?)
}

/// The containers that have a volume, running or not.
pub(crate) fn users(daemon: &Daemon, name: &str) -> Vec<Rc<Container>> {
    let mut all = daemon.containers.all();
    all.retain(|container| {
        container.record.borrow().mounts.iter().any(|mount| mount.name.as_deref() == Some(name))
    });
    all
}

/// Docker's words for a volume that is not there.
pub(crate) fn missing(name: &str) -> EngineError {
    refused(&VolumeError::Missing(name.to_owned()))
}

fn refused(error: &VolumeError) -> EngineError {
    let text = chain(error);
    match error {
        VolumeError::Option(OptionError::Driver(_)) | VolumeError::Missing(_) => EngineError::NotFound(text),
        VolumeError::Name(_) | VolumeError::Option(_) | VolumeError::Device(_) => {
            EngineError::BadRequest(text)
        }
        VolumeError::Driver { .. }
        | VolumeError::Exists(_)
        | VolumeError::Shared { .. }
        | VolumeError::InUse(_) => EngineError::Conflict(text),
        _ => EngineError::Failed(text),
    }
}
