//! Networks by name: their records, and the addresses that they take.

mod create;
mod directory;
mod membership;
pub(crate) mod options;
pub(crate) mod routes;
mod show;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use vdocker::EngineError;

use crate::daemon::{Daemon, StartError};
use crate::db::{Batch, Db, DbError, Table};
use crate::events::Event;
use crate::failure::report;

pub(crate) use create::joined;
pub(crate) use net::Subnet;

/// The networks that are always there, and their drivers.
pub(crate) const PREDEFINED: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

/// What is kept of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// 64 lower-case hexadecimal digits.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: SystemTime,
    pub(crate) driver: String,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    #[serde(default = "has_ipv4")]
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
    pub(crate) subnets: Vec<Pool>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Networks that were kept before there was a choice have it.
const fn has_ipv4() -> bool {
    true
}

impl Network {
    /// Whether it is always there.
    pub(crate) fn is_predefined(&self) -> bool {
        is_predefined(&self.name)
    }

    /// What an event of it tells.
    pub(crate) fn event(&self, action: &str, more: &[(&str, &str)]) -> Event {
        let own = [("name", self.name.as_str()), ("type", self.driver.as_str())];
        let attributes = own.iter().chain(more);
        let attributes = attributes.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Event::now("network", action, &self.id, attributes)
    }
}

/// Whether a name is that of a network which is always there, or means it.
pub(crate) fn is_predefined(name: &str) -> bool {
    name == "default" || PREDEFINED.iter().any(|(own, _)| *own == name)
}

/// Addresses of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) subnet: Subnet,
    pub(crate) gateway: Option<std::net::IpAddr>,
    pub(crate) range: Option<Subnet>,
    /// Addresses that no container gets by itself, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) auxiliary: BTreeMap<String, std::net::IpAddr>,
}

/// All networks: their records, and below `root` a directory for each bridge, which pods are told of.
pub(crate) struct Networks {
    by_id: RefCell<BTreeMap<String, Network>>,
    root: PathBuf,
}

impl Networks {
    /// Those that were kept.
    pub(crate) fn load(db: &Db, root: PathBuf) -> Result<Self, DbError> {
        let kept = db.all::<Network>(Table::Networks)?;
        let by_id = kept.into_iter().map(|network| (network.id.clone(), network)).collect();
        Ok(Self { by_id: RefCell::new(by_id), root })
    }

    /// Where the networks' directories are, each with the network's id as its name.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes directories agree with records.
    pub(crate) fn tidy(&self) {
        directory::tidy(&self.root, &self.all());
    }

    /// Makes the predefined networks that are missing.
    pub(crate) fn predefine(&self, batch: &mut Batch) -> Result<(), StartError> {
        for (name, driver) in PREDEFINED {
            if self.by_id.borrow().values().any(|network| network.name == name) {
                continue;
            }
            let subnets = if driver == "bridge" { vec![default_pool()] } else { Vec::new() };
            let network = Network {
                id: crate::id::new().map_err(StartError::Id)?,
                name: name.to_owned(),
                created: SystemTime::now(),
                driver: driver.to_owned(),
                internal: false,
                attachable: false,
                ipv4: true,
                ipv6: false,
                subnets,
                options: BTreeMap::new(),
                labels: BTreeMap::new(),
            };
            self.keep(batch, network)?;
        }
        Ok(())
    }

    /// All, by id.
    pub(crate) fn all(&self) -> Vec<Network> {
        self.by_id.borrow().values().cloned().collect()
    }

    /// The network that a client means: by name, id, or the unique start of an id.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] and, for a start that several have, [`EngineError::BadRequest`], in Docker's words.
    pub(crate) fn find(&self, wanted: &str) -> Result<Network, EngineError> {
        let networks = self.by_id.borrow();
        let exact = networks.get(wanted).or_else(|| networks.values().find(|network| network.name == wanted));
        if let Some(network) = exact {
            return Ok(network.clone());
        }
        let mut found = networks.values().filter(|one| !wanted.is_empty() && one.id.starts_with(wanted));
        match (found.next(), found.next()) {
            (Some(network), None) => Ok(network.clone()),
            (Some(_), Some(_)) => Err(EngineError::BadRequest(format!(
                "network {wanted} is ambiguous (2 matches found based on ID prefix)"
            ))),
            (None, _) => Err(EngineError::NotFound(format!("network {wanted} not found"))),
        }
    }

    /// Adds a network.
    fn keep(&self, batch: &mut Batch, network: Network) -> Result<(), DbError> {
        batch.put(Table::Networks, &network.id, &network)?;
        self.by_id.borrow_mut().insert(network.id.clone(), network);
        Ok(())
    }

    /// Removes the directory of a network that has no record any more.
    async fn remove_directory(&self, daemon: &Daemon, id: &str) {
        let (root, id) = (self.root.clone(), id.to_owned());
        let removed = daemon.blocking(move || directory::remove(&root, &id)).await;
        // The next start of the daemon removes it.
        if let Ok(Err(error)) = removed {
            report("cannot remove the directory of a network", &error);
        }
    }

    /// Removes a network.
    fn forget(&self, batch: &mut Batch, id: &str) {
        batch.delete(Table::Networks, id);
        self.by_id.borrow_mut().remove(id);
    }
}

/// The addresses of the default network: Docker's, unless the host reaches something there.
fn default_pool() -> Pool {
    let (default, routes) = (Subnet::default_bridge(), net::host_routes());
    let is_taken = routes.iter().any(|route| route.overlaps(&default));
    Pool::of(Subnet::free(&routes).filter(|_| is_taken).unwrap_or(default))
}

impl Pool {
    /// A subnet whose first address is the gateway's.
    pub(crate) fn of(subnet: Subnet) -> Self {
        Self { subnet, gateway: Some(subnet.first()), range: None, auxiliary: BTreeMap::new() }
    }
}

/// A new id for a client to see.
pub(crate) fn new_id() -> Result<String, EngineError> {
    crate::id::new().map_err(|error| EngineError::Failed(format!("cannot make an id: {error}")))
}
