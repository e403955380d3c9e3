//! Networks by name: their records. Containers have the ones they were created with; no packets flow on them yet
//! (docs/docker-api.md).

mod addresses;
pub(crate) mod routes;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use vdocker::EngineError;

use crate::daemon::StartError;
use crate::db::{Batch, Db, DbError, Table};

pub(crate) use addresses::Subnet;

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
    pub(crate) ipv6: bool,
    pub(crate) subnets: Vec<Pool>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Network {
    /// Whether it is always there.
    pub(crate) fn is_predefined(&self) -> bool {
        PREDEFINED.iter().any(|(name, _)| *name == self.name)
    }
}

/// Addresses of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) subnet: Subnet,
    pub(crate) gateway: Option<std::net::IpAddr>,
    pub(crate) range: Option<Subnet>,
}

/// All networks.
pub(crate) struct Networks(RefCell<BTreeMap<String, Network>>);

impl Networks {
    /// Those that were kept, and the predefined ones.
    pub(crate) fn load(db: &Db) -> Result<Self, DbError> {
        let kept = db.all::<Network>(Table::Networks)?;
        Ok(Self(RefCell::new(kept.into_iter().map(|network| (network.id.clone(), network)).collect())))
    }

    /// Makes the predefined networks that are missing.
    pub(crate) fn predefine(&self, batch: &mut Batch) -> Result<(), StartError> {
        for (name, driver) in PREDEFINED {
            if self.0.borrow().values().any(|network| network.name == name) {
                continue;
            }
            let subnets =
                if driver == "bridge" { vec![Pool::of(Subnet::default_bridge())] } else { Vec::new() };
            let network = Network {
                id: crate::id::new().map_err(StartError::Id)?,
                name: name.to_owned(),
                created: SystemTime::now(),
                driver: driver.to_owned(),
                internal: false,
                attachable: false,
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
        self.0.borrow().values().cloned().collect()
    }

    /// The network that a client means: by name, id, or the unique start of an id.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] and, for a start that several have, [`EngineError::BadRequest`], in Docker's words.
    pub(crate) fn find(&self, wanted: &str) -> Result<Network, EngineError> {
        let networks = self.0.borrow();
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
        self.0.borrow_mut().insert(network.id.clone(), network);
        Ok(())
    }

    /// Removes a network.
    fn forget(&self, batch: &mut Batch, id: &str) {
        batch.delete(Table::Networks, id);
        self.0.borrow_mut().remove(id);
    }
}

impl Pool {
    /// A subnet whose first address is the gateway's.
    fn of(subnet: Subnet) -> Self {
        Self { subnet, gateway: Some(subnet.first()), range: None }
    }
}

fn new_id() -> Result<String, EngineError> {
    crate::id::new().map_err(|error| EngineError::Failed(format!("cannot make an id: {error}")))
}
