//! What the host is: `/_ping`, `/version`, `/info`, and what only a manager of a swarm has.

pub(crate) mod df;
pub(crate) mod events;
mod machine;

use std::time::SystemTime;

use bollard_stubs::models::{self, LocalNodeState};
use hyper::{Method, StatusCode};
use serde_json::json;
use vdocker::EngineError;
use vdocker::api::system::{ENGINE_VERSION, Version};
use vdocker::engine::System;
use vdocker::response::{self, Response};
use vdocker::time;

use crate::container::record::Status;
use crate::context::Context;
use crate::routes::{Route, route};

/// Where Docker's own images come from; clients log in there where no registry is named.
const INDEX: &str = "https://index.docker.io/v1/";

const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect \
    this node to swarm and try again.";
const SWARM_REFUSED: &str = "cradle runs no swarms: this host's containers are all its own";
const PLUGINS_REFUSED: &str = "cradle has no plugins";

/// All routes.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = vec![
        route(Method::GET, "_ping", async |_| Ok(response::ping())),
        route(Method::HEAD, "_ping", async |_| Ok(response::ping())),
        route(Method::GET, "version", version),
        route(Method::GET, "info", info),
        route(Method::GET, "events", events::events),
        route(Method::GET, "system/df", df::df),
        route(Method::GET, "metrics", async |context: Context| Ok(crate::metrics::answer(&context.daemon))),
        route(Method::GET, "plugins", async |_| response::json(StatusCode::OK, &json!([]))),
        route(Method::GET, "plugins/{name}/json", async |context: Context| {
            Err(EngineError::NotFound(format!("plugin {:?} not found", context.name)))
        }),
    ];
    let refused = |method: Method, path, reason: &'static str| {
        route(method, path, async move |_| Err(EngineError::Unsupported(reason.to_owned())))
    };
    for list in ["swarm", "nodes", "services", "tasks", "secrets", "configs"] {
        routes.push(route(Method::GET, list, async |_| Err(EngineError::Busy(NO_SWARM.to_owned()))));
    }
    for path in ["nodes/{id}", "services/{id}", "tasks/{id}", "secrets/{id}", "configs/{id}"] {
        routes.push(route(Method::GET, path, async |_| Err(EngineError::Busy(NO_SWARM.to_owned()))));
    }
    for path in ["services/create", "secrets/create", "configs/create", "swarm/leave", "swarm/update"] {
        routes.push(route(Method::POST, path, async |_| Err(EngineError::Busy(NO_SWARM.to_owned()))));
    }
    routes.extend(["swarm/init", "swarm/join"].map(|path| refused(Method::POST, path, SWARM_REFUSED)));
    routes
        .extend(["plugins/pull", "plugins/create"].map(|path| refused(Method::POST, path, PLUGINS_REFUSED)));
    routes
}

/// `GET /version`.
async fn version(_context: Context) -> Result<Response, EngineError> {
    let system = System { kernel: machine::kernel(), ..System::default() };
    response::json(StatusCode::OK, &Version::new(&system))
}

/// `GET /info`.
async fn info(context: Context) -> Result<Response, EngineError> {
    let daemon = &context.daemon;
    let store = daemon.images.clone();
    let images = daemon.blocking(move || store.list()).await?;
    let images = images.map_err(|error| EngineError::Failed(error.to_string()))?;
    let images: std::collections::BTreeSet<_> = images.iter().map(|image| image.id).collect();
    let containers = daemon.containers.all();
    let count = |wanted: &[Status]| {
        let found = containers.iter().filter(|one| wanted.contains(&one.state().status)).count();
        i64::try_from(found).ok()
    };
    let root = daemon.config.state.display().to_string();
    let none = Some(models::Commit::default());
    let info = models::SystemInfo {
        id: Some(daemon.id.clone()),
        containers: i64::try_from(containers.len()).ok(),
        containers_running: count(&[Status::Running, Status::Restarting]),
        containers_paused: count(&[Status::Paused]),
        containers_stopped: count(&[Status::Created, Status::Exited, Status::Dead, Status::Removing]),
        images: i64::try_from(images.len()).ok(),
        driver: Some("overlay2".into()),
        driver_status: Some(vec![vec!["Backing Filesystem".into(), "erofs, ext4".into()]]),
        docker_root_dir: Some(root),
        plugins: Some(models::PluginsInfo {
            volume: Some(vec!["local".into()]),
            network: Some(["bridge", "host", "null"].map(str::to_owned).to_vec()),
            authorization: None,
            log: Some(vec!["json-file".into()]),
        }),
        memory_limit: Some(true),
        swap_limit: Some(false),
        cpu_cfs_period: Some(true),
        cpu_cfs_quota: Some(true),
        cpu_shares: Some(false),
        cpu_set: Some(false),
        pids_limit: Some(true),
        oom_kill_disable: Some(false),
        debug: Some(false),
        nfd: Some(machine::open_files()),
        n_goroutines: Some(0),
        system_time: Some(time::trimmed(SystemTime::now())),
        logging_driver: Some("json-file".into()),
        cgroup_driver: Some(models::SystemInfoCgroupDriverEnum::NONE),
        cgroup_version: Some(models::SystemInfoCgroupVersionEnum::_2),
        n_events_listener: i64::try_from(daemon.events.followers()).ok(),
        kernel_version: Some(machine::kernel()),
        operating_system: Some(machine::operating_system()),
        os_version: Some(String::new()),
        os_type: Some("linux".into()),
        architecture: Some("x86_64".into()),
        ncpu: Some(machine::cpus()),
        mem_total: Some(machine::memory()),
        index_server_address: Some(INDEX.into()),
        http_proxy: Some(String::new()),
        https_proxy: Some(String::new()),
        no_proxy: Some(String::new()),
        name: Some(machine::hostname()),
        labels: Some(Vec::new()),
        experimental_build: Some(false),
        server_version: Some(ENGINE_VERSION.into()),
        runtimes: Some([("cradle".to_owned(), models::Runtime::default())].into()),
        default_runtime: Some("cradle".into()),
        swarm: Some(models::SwarmInfo {
            node_id: Some(String::new()),
            node_addr: Some(String::new()),
            local_node_state: Some(LocalNodeState::INACTIVE),
            control_available: Some(false),
            error: Some(String::new()),
            ..models::SwarmInfo::default()
        }),
        // Pods are processes of their own.
        live_restore_enabled: Some(true),
        init_binary: Some(String::new()),
        containerd_commit: none.clone(),
        runc_commit: none.clone(),
        init_commit: none,
        security_options: Some(Vec::new()),
        warnings: daemon
            .without_network
            .as_ref()
            .map(|why| vec![format!("WARNING: containers have no network: {why}")]),
        ..models::SystemInfo::default()
    };
    response::json(StatusCode::OK, &info)
}
