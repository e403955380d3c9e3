//! The daemon: what all requests share.

use std::path::PathBuf;
use std::rc::Rc;

use image::{Store, StoreError};
use pod::{Home, Package};
use vdocker::EngineError;
use vdocker::response::Response;
use vdocker::server::{Open, Request, Server, Service};

use crate::container::exec::Execs;
use crate::container::record::Stored;
use crate::container::registry::Containers;
use crate::container::{Container, reconcile};
use crate::db::{Batch, Db, DbError, Table};
use crate::events::EventLog;
use crate::metrics::Metrics;
use crate::network::Networks;
use crate::pods::Pods;
use crate::pods::held::HeldPods;
use crate::router;
use crate::routes::{self, Route};
use crate::volume::{self, Volumes};

/// Connections at a time: an attached client has three.
const CONNECTIONS: usize = 4096;

/// Hijacked streams at a time.
const STREAMS: usize = 2048;

/// How a daemon works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the daemon's own state and its pods are; made where it is missing.
    pub state: PathBuf,
    /// The image store, shared with `kcradle summon`.
    pub images: PathBuf,
    /// Mirrors, and registries that may do without TLS.
    pub registries: image::Registries,
    /// The store of volumes, shared with `kcradle volume`.
    pub volumes: PathBuf,
    /// Templates of writable disks.
    pub templates: PathBuf,
    /// The directory of both.
    pub home: Home,
    /// The runtime package that new pods are made with.
    pub package: Package,
    /// The program that runs a pod: `kcradle` itself.
    pub program: PathBuf,
}

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory could not be made.
    #[error("cannot make {}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It could not give itself, or a network, an id.
    #[error("cannot make an id")]
    Id(#[source] std::io::Error),
    /// Its state could not be read.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The image store could not be opened.
    #[error("cannot open the image store")]
    Images(#[from] StoreError),
}

/// The Docker Engine API of a host.
pub struct Daemon {
    /// 64 lower-case hexadecimal digits.
    pub(crate) id: String,
    pub(crate) config: Config,
    pub(crate) db: Db,
    pub(crate) events: EventLog,
    pub(crate) images: Store,
    pub(crate) containers: Containers,
    pub(crate) volumes: Volumes,
    pub(crate) networks: Networks,
    /// Why no network can be made here; `None` where one can.
    pub(crate) without_network: Option<String>,
    pub(crate) pods: Pods,
    pub(crate) held: HeldPods,
    pub(crate) execs: Execs,
    pub(crate) open: Rc<Open>,
    pub(crate) metrics: Metrics,
    pub(crate) routes: Vec<Route>,
}

impl Daemon {
    /// Opens the state, and makes it agree with what runs.
    ///
    /// # Errors
    /// [`StartError`]; nothing was changed.
    pub async fn start(config: Config) -> Result<Server<Self>, StartError> {
        let made = std::fs::create_dir_all(&config.state);
        made.map_err(|source| StartError::Directory { path: config.state.clone(), source })?;
        let db = Db::open(&config.state.join("state.redb"))?;
        let events = EventLog::load(&db)?;
        let images = Store::open(&config.images)?;
        let containers = Containers::default();
        for stored in db.all::<Stored>(Table::Containers)? {
            let container = Container::new(stored);
            // The state has each name once.
            let _taken = containers.take_name(&container.name(), &container.id);
            containers.add(&container);
        }
        let volumes = Volumes::new(config.volumes.clone());
        let networks = Networks::load(&db, config.state.join("networks"))?;
        let mut batch = Batch::default();
        let id = match db.get(Table::Meta, "id")? {
            Some(id) => id,
            None => {
                let id = crate::id::new().map_err(StartError::Id)?;
                batch.put(Table::Meta, "id", &id)?;
                id
            }
        };
        networks.predefine(&mut batch)?;
        db.commit(batch).await?;
        networks.tidy();
        let store = images.clone();
        // What pulls and loads of a killed daemon have left. Where somebody is at work in the store, a later start removes it.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.sweep()).await {
            crate::failure::report("cannot remove what is left in the image store", &error);
        }
        let program = config.program.clone();
        let checked = tokio::task::spawn_blocking(move || net::check(&program)).await;
        let without_network = match checked {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(crate::failure::chain(&error)),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = &without_network {
            log::warn!(why = why.as_str(); "containers have no network");
        }
        let pods = Pods::new(config.state.join("pods"), config.program.clone());
        let server = Server::limited(CONNECTIONS, STREAMS, |open| Self {
            id,
            config,
            db,
            events,
            images,
            containers,
            volumes,
            networks,
            without_network,
            pods,
            held: HeldPods::default(),
            execs: Execs::default(),
            open,
            metrics: Metrics::default(),
            routes: routes::table(),
        });
        if let Err(error) = volume::reconcile(server.service()).await {
            crate::failure::report("cannot look after the volumes", &error);
        }
        reconcile::reconcile(server.service()).await;
        Ok(server)
    }
}

impl Daemon {
    /// Does work that blocks on another thread.
    ///
    /// # Errors
    /// It panicked.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| EngineError::Failed(format!("work has failed: {error}")))
    }

    /// Ends what serves requests alone. Pods go on running.
    pub async fn end(&self) {
        self.held.release_all().await;
    }
}

impl Service for Daemon {
    fn answer(self: Rc<Self>, request: Request) -> impl Future<Output = Response> {
        router::dispatch(self, request)
    }
}
