//! The directories of networks: what a pod's process is told of them. Made before the record and removed behind it.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use net::{Definition, NetworkDir, NetworkDirError};
use vdocker::EngineError;

use super::Network;
use super::options::Options;
use crate::failure::{failed, report};

/// How long the process of a network may take to end behind its last pod, and the time between two looks at it.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(10);

/// A network in the form in which pods are told of it.
///
/// # Errors
/// [`EngineError::BadRequest`] for a network that cannot be.
pub(super) fn definition(network: &Network) -> Result<Definition, EngineError> {
    let options = Options::of(network)?;
    let since = network.created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let pool = |pool: &super::Pool| net::Pool {
        subnet: pool.subnet,
        gateway: pool.gateway.unwrap_or_else(|| pool.subnet.first()),
        range: pool.range,
        reserved: pool.auxiliary.values().copied().collect(),
    };
    let definition = Definition {
        version: Definition::VERSION,
        id: network.id.clone(),
        name: network.name.clone(),
        created: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        pools: network.subnets.iter().map(pool).collect(),
        internal: network.internal,
        isolated: !options.between,
        mtu: options.mtu.unwrap_or(Definition::DEFAULT_MTU),
        labels: network.labels.clone(),
    };
    definition.check().map_err(|error| EngineError::BadRequest(error.to_string()))?;
    Ok(definition)
}

/// Makes the directory of a network.
///
/// # Errors
/// A file cannot be written.
pub(super) fn make(root: &Path, definition: &Definition) -> Result<(), EngineError> {
    let made = NetworkDir::make(root.join(&definition.id), definition);
    made.map(drop).map_err(|error| failed(&error))
}

/// Removes the directory of a network, behind its process, which ends when the last pod has gone.
///
/// # Errors
/// Pods are on it, or what was made of it cannot be undone or removed.
pub(super) fn remove(root: &Path, id: &str) -> Result<(), EngineError> {
    let dir = NetworkDir::at(root.join(id));
    let deadline = Instant::now() + PATIENCE;
    while !net::keeper::remove(&dir).map_err(|error| failed(&error))? {
        if Instant::now() >= deadline {
            return Err(EngineError::Failed(format!("network {id} is used still")));
        }
        std::thread::sleep(INTERVAL);
    }
    Ok(())
}

/// Makes the directories that are missing or say something else, and removes those without a network: what a daemon that was
/// killed has left.
pub(super) fn tidy(root: &Path, networks: &[Network]) {
    for network in networks.iter().filter(|network| network.driver == "bridge") {
        let made =
            definition(network).and_then(|definition| match NetworkDir::at(root.join(&network.id)).read() {
                Ok(found) if found == definition => Ok(()),
                Ok(_) | Err(NetworkDirError::Missing(_) | NetworkDirError::Version { .. }) => {
                    make(root, &definition)
                }
                Err(error) => Err(failed(&error)),
            });
        if let Err(error) = made {
            report(&format!("cannot make the directory of network {}", network.name), &error);
        }
    }
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if crate::id::is_id(&name)
            && !networks.iter().any(|network| network.id == name)
            && let Err(error) = remove(root, &name)
        {
            report(&format!("cannot remove the directory of network {name}"), &error);
        }
    }
}
