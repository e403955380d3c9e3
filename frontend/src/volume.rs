//! Named volumes: each is a disk of its own in the daemon's directory, and a record.

pub(crate) mod routes;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pod::size::parse_disk;
use serde::{Deserialize, Serialize};
use vdocker::EngineError;

use crate::container::Container;
use crate::daemon::Daemon;
use crate::db::{Batch, Table};
use crate::events::Event;
use crate::failure::chain;

/// Bytes of a volume where nothing is said; the disk is sparse.
const DEFAULT_SIZE: u64 = 10 << 30;

/// The label of volumes that nobody named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What is kept of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) created: SystemTime,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
    /// Bytes of its disk.
    pub(crate) size: u64,
}

impl Volume {
    /// Whether it was made for a container, without a name.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }
}

/// A volume to be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// `None`: a name is made up.
    pub(crate) name: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// `size`, as in 20g.
    pub(crate) options: BTreeMap<String, String>,
}

/// All volumes.
#[derive(Default)]
pub(crate) struct Volumes {
    by_name: RefCell<BTreeMap<String, Volume>>,
    dir: PathBuf,
    /// Held while a volume is made or removed: nobody finds one whose disk is not there.
    changing: tokio::sync::Mutex<()>,
}

impl Volumes {
    /// Those that were kept, whose disks are below `dir`.
    pub(crate) fn new(kept: Vec<Volume>, dir: PathBuf) -> Self {
        let by_name = kept.into_iter().map(|volume| (volume.name.clone(), volume)).collect();
        Self { by_name: RefCell::new(by_name), dir, changing: tokio::sync::Mutex::default() }
    }

    /// Removes what is left of volumes without a record: of those that a daemon was making or removing when it was killed.
    pub(crate) fn tidy(&self) {
        // Before the first volume there is no directory.
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let is_known = entry.file_name().to_str().is_some_and(|name| self.get(name).is_some());
            if !is_known && let Err(error) = std::fs::remove_dir_all(entry.path()) {
                crate::failure::report("cannot remove what is left of a volume", &error);
            }
        }
    }

    /// While this is held, no volume is made or removed.
    pub(crate) async fn changing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// A volume.
    pub(crate) fn get(&self, name: &str) -> Option<Volume> {
        self.by_name.borrow().get(name).cloned()
    }

    /// All, by name.
    pub(crate) fn all(&self) -> Vec<Volume> {
        self.by_name.borrow().values().cloned().collect()
    }

    /// The directory of a volume.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The disk of a volume: a raw ext4.
    pub(crate) fn disk(&self, name: &str) -> PathBuf {
        self.dir(name).join("disk.ext4")
    }

    /// Bytes that a volume takes on the disk.
    pub(crate) fn used(&self, name: &str) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(self.disk(name)).map_or(0, |found| found.blocks() * 512)
    }
}

/// Makes a volume, or finds it where it is there already, as Docker does.
///
/// # Errors
/// [`EngineError::BadRequest`] for a name or an option that cannot be; [`EngineError::Failed`] where the disk cannot be made.
pub(crate) async fn create(daemon: &Daemon, wanted: Wanted) -> Result<Volume, EngineError> {
    let mut labels = wanted.labels;
    let name = match wanted.name {
        Some(name) => name,
        None => {
            labels.insert(ANONYMOUS.to_owned(), String::new());
            crate::id::new()
                .map_err(|error| EngineError::Failed(format!("cannot name the volume: {error}")))?
        }
    };
    check_name(&name)?;
    let size = size(&wanted.options)?;
    let _changing = daemon.volumes.changing.lock().await;
    if let Some(volume) = daemon.volumes.get(&name) {
        if !wanted.options.is_empty() && wanted.options != volume.options {
            return Err(EngineError::Conflict(format!(
                "a volume named {name} exists already with other options: choose another name, or remove it first"
            )));
        }
        return Ok(volume);
    }
    let volume =
        Volume { name: name.clone(), created: SystemTime::now(), labels, options: wanted.options, size };
    make(daemon, &volume).await?;
    daemon.volumes.by_name.borrow_mut().insert(name, volume.clone());
    Ok(volume)
}

async fn make(daemon: &Daemon, volume: &Volume) -> Result<(), EngineError> {
    let (dir, disk) = (daemon.volumes.dir(&volume.name), daemon.volumes.disk(&volume.name));
    let (templates, size) = (daemon.config.templates.clone(), volume.size);
    let of_thread = dir.clone();
    let made = daemon.blocking(move || make_disk(&templates, &of_thread, &disk, size)).await;
    let kept = match made.and_then(|made| made) {
        Ok(()) => keep(daemon, volume).await,
        Err(error) => Err(error),
    };
    if kept.is_err() {
        // There may be none. What cannot be removed goes with the daemon's next start.
        let _removed = daemon.blocking(move || std::fs::remove_dir_all(dir)).await;
    }
    kept
}

async fn keep(daemon: &Daemon, volume: &Volume) -> Result<(), EngineError> {
    let mut batch = Batch::default();
    batch.put(Table::Volumes, &volume.name, volume)?;
    let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
    daemon.events.push(&mut batch, Event::now("volume", "create", &volume.name, attributes));
    Ok(daemon.db.commit(batch).await?)
}

fn make_disk(templates: &Path, dir: &Path, disk: &Path, size: u64) -> Result<(), EngineError> {
    let wrong = |error: &dyn std::error::Error| {
        EngineError::Failed(format!("cannot make the volume's disk: {}", chain(error)))
    };
    // What a daemon left that was killed here.
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(wrong(&error)),
        _ => {}
    }
    std::fs::create_dir_all(dir).map_err(|error| wrong(&error))?;
    image::ext4::create_scratch(templates, disk, size).map_err(|error| wrong(&error))
}

/// Removes a volume that no container has.
///
/// # Errors
/// [`EngineError::NotFound`]; [`EngineError::Conflict`] where a container has it.
pub(crate) async fn remove(daemon: &Daemon, name: &str) -> Result<(), EngineError> {
    let _changing = daemon.volumes.changing.lock().await;
    let Some(volume) = daemon.volumes.get(name) else { return Err(missing(name)) };
    let users = users(daemon, name);
    if !users.is_empty() {
        let ids: Vec<_> = users.iter().map(|container| container.id.as_str()).collect();
        return Err(EngineError::Conflict(format!("remove {name}: volume is in use - [{}]", ids.join(", "))));
    }
    daemon.volumes.by_name.borrow_mut().remove(name);
    let mut batch = Batch::default();
    batch.delete(Table::Volumes, name);
    let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
    daemon.events.push(&mut batch, Event::now("volume", "destroy", name, attributes));
    // First the record: a disk without one is thrown away when the name is used again.
    if let Err(error) = daemon.db.commit(batch).await {
        daemon.volumes.by_name.borrow_mut().insert(name.to_owned(), volume);
        return Err(error.into());
    }
    let dir = daemon.volumes.dir(name);
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(dir)).await;
    match removed.map_err(|error| EngineError::Failed(error.to_string()))? {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::Failed(format!("cannot remove the volume's disk: {error}")))
        }
        _ => Ok(()),
    }
}

/// The containers that have a volume, running or not.
pub(crate) fn users(daemon: &Daemon, name: &str) -> Vec<std::rc::Rc<Container>> {
    let mut all = daemon.containers.all();
    all.retain(|container| {
        container.record.borrow().mounts.iter().any(|mount| mount.name.as_deref() == Some(name))
    });
    all
}

/// Docker's words for a volume that is not there.
pub(crate) fn missing(name: &str) -> EngineError {
    EngineError::NotFound(format!("get {name}: no such volume"))
}

/// Checks a name as Docker does: it is also a directory's.
fn check_name(name: &str) -> Result<(), EngineError> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let goes_on = name.len() > 1 && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if begins && goes_on && name.len() <= 255 {
        return Ok(());
    }
    Err(EngineError::BadRequest(format!(
        "create {name}: {name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" \
         are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// The size among the options of `docker volume create -o`.
fn size(options: &BTreeMap<String, String>) -> Result<u64, EngineError> {
    let mut size = DEFAULT_SIZE;
    for (name, value) in options {
        match name.as_str() {
            "size" => {
                size = parse_disk(value)
                    .map_err(|error| EngineError::BadRequest(format!("invalid size: {error}")))?;
            }
            other => {
                return Err(EngineError::BadRequest(format!(
                    "create: unknown option {other:?} of the local driver: a volume is a disk of its own, with a size only"
                )));
            }
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_directories() {
        for good in ["ab", "a.b", "A-1_x", &"a".repeat(255)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a", ".", "..", ".a", "a/b", "../x", "-x", "a b", "a\0", "é1", &"a".repeat(256)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
