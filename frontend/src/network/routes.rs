//! `/networks`.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::SystemTime;

use bollard_stubs::models;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use vdocker::EngineError;
use vdocker::filters::Filters;
use vdocker::response::{self, Response};
use vdocker::time;

use super::{Network, Pool, Subnet, new_id};
use crate::container::Container;
use crate::context::Context;
use crate::daemon::Daemon;
use crate::db::Batch;
use crate::events::Event;
use crate::routes::{Route, route};

const FILTERS: [&str; 8] = ["dangling", "driver", "id", "label", "label!", "name", "scope", "type"];

/// All routes.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "networks", list),
        route(Method::POST, "networks/create", create),
        route(Method::POST, "networks/prune", prune),
        route(Method::GET, "networks/{id}", inspect),
        route(Method::DELETE, "networks/{id}", remove),
        route(Method::POST, "networks/{id}/connect", connect),
        route(Method::POST, "networks/{id}/disconnect", disconnect),
    ]
}

/// What `POST /networks/create` takes; `null` is as good as nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    name: String,
    driver: Option<String>,
    scope: Option<String>,
    internal: Option<bool>,
    attachable: Option<bool>,
    ingress: Option<bool>,
    config_only: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    ipam: Option<models::Ipam>,
    options: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

async fn create(mut context: Context) -> Result<Response, EngineError> {
    let body: CreateBody = context.json().await?;
    let daemon = &context.daemon;
    let network = plan(daemon, body)?;
    let mut batch = Batch::default();
    tell(daemon, &mut batch, &network, "create", &[]);
    let id = network.id.clone();
    daemon.networks.keep(&mut batch, network)?;
    commit(daemon, batch).await?;
    response::json(StatusCode::CREATED, &json!({ "Id": id, "Warning": "" }))
}

/// The network of a request.
fn plan(daemon: &Daemon, body: CreateBody) -> Result<Network, EngineError> {
    let name = body.name.trim().to_owned();
    if name.is_empty() || name.len() > 255 || name.contains('/') {
        return Err(EngineError::BadRequest(format!("invalid network name: {name:?}")));
    }
    if daemon.networks.all().iter().any(|network| network.name == name) {
        return Err(EngineError::Conflict(format!("network with name {name} already exists")));
    }
    let driver =
        body.driver.filter(|driver| !driver.is_empty() && driver != "default").unwrap_or("bridge".into());
    match driver.as_str() {
        "bridge" => {}
        "host" | "null" => {
            return Err(EngineError::Denied(format!("only one instance of \"{driver}\" network is allowed")));
        }
        other => {
            return Err(EngineError::NotFound(format!(
                "could not find plugin {other} in v1 plugin registry: plugin not found"
            )));
        }
    }
    if body.scope.is_some_and(|scope| !matches!(scope.as_str(), "" | "local")) || body.ingress == Some(true) {
        return Err(EngineError::Busy(
            "This node is not a swarm manager: it has no networks of swarms.".into(),
        ));
    }
    if body.config_only == Some(true) {
        return Err(EngineError::Unsupported(
            "networks that are configuration only are not supported".into(),
        ));
    }
    let id = new_id()?;
    let ipv6 = body.enable_ipv6.unwrap_or(false);
    let subnets = pools(daemon, &id, body.ipam.and_then(|ipam| ipam.config).unwrap_or_default(), ipv6)?;
    Ok(Network {
        id,
        name,
        created: SystemTime::now(),
        driver,
        internal: body.internal.unwrap_or(false),
        attachable: body.attachable.unwrap_or(false),
        ipv6,
        subnets,
        options: body.options.unwrap_or_default(),
        labels: body.labels.unwrap_or_default(),
    })
}

/// The addresses of a network: those that are asked for, which no other network has, or free ones.
fn pools(
    daemon: &Daemon,
    id: &str,
    wanted: Vec<models::IpamConfig>,
    ipv6: bool,
) -> Result<Vec<Pool>, EngineError> {
    let mut taken: Vec<_> =
        daemon.networks.all().iter().flat_map(|network| &network.subnets).map(|pool| pool.subnet).collect();
    let mut pools = Vec::new();
    for config in wanted {
        let Some(subnet) = config.subnet.filter(|subnet| !subnet.is_empty()) else { continue };
        let pool = pool(&subnet, config.gateway.as_deref(), config.ip_range.as_deref())?;
        if taken.iter().any(|other| other.overlaps(&pool.subnet)) {
            return Err(EngineError::Denied(
                "invalid pool request: Pool overlaps with other one on this address space".into(),
            ));
        }
        taken.push(pool.subnet);
        pools.push(pool);
    }
    if !pools.iter().any(|pool| !pool.subnet.is_ipv6()) {
        let full = "all predefined address pools have been fully subnetted";
        pools.insert(0, Pool::of(Subnet::free(&taken).ok_or_else(|| EngineError::Failed(full.into()))?));
    }
    if ipv6 && !pools.iter().any(|pool| pool.subnet.is_ipv6()) {
        pools.push(Pool::of(Subnet::unique_local(id)));
    }
    Ok(pools)
}

fn pool(subnet: &str, gateway: Option<&str>, range: Option<&str>) -> Result<Pool, EngineError> {
    let read = |text: &str| -> Result<Subnet, EngineError> {
        text.parse()
            .map_err(|error: super::addresses::SubnetError| EngineError::BadRequest(error.to_string()))
    };
    let subnet = read(subnet)?;
    let range = range.filter(|range| !range.is_empty()).map(read).transpose()?;
    if let Some(range) = range.filter(|range| !subnet.covers(range)) {
        return Err(EngineError::BadRequest(format!(
            "invalid ip-range {range}: it is not in subnet {subnet}"
        )));
    }
    let gateway: IpAddr = match gateway.filter(|gateway| !gateway.is_empty()) {
        None => subnet.first(),
        Some(text) => {
            let plain = text.split('/').next().unwrap_or_default();
            let address =
                plain.parse().map_err(|_| EngineError::BadRequest(format!("invalid gateway {text:?}")))?;
            if !subnet.contains(address) {
                return Err(EngineError::BadRequest(format!("no matching subnet for gateway {address}")));
            }
            address
        }
    };
    Ok(Pool { subnet, gateway: Some(gateway), range })
}

async fn list(context: Context) -> Result<Response, EngineError> {
    let daemon = &context.daemon;
    let filters = Filters::from_query(&context.query, &FILTERS)?;
    let names = filters.patterns("name")?;
    let dangling = filters.truth("dangling")?;
    let is_wanted = |network: &Network| {
        let kind = if network.is_predefined() { "builtin" } else { "custom" };
        filters.exact("driver", &network.driver)
            && filters.any("id", |start| network.id.starts_with(start))
            && filters.labels("label", &network.labels)
            && (!filters.has("label!") || !filters.labels("label!", &network.labels))
            && (names.is_empty() || names.iter().any(|name| name.matches(&network.name)))
            && filters.exact("scope", "local")
            && filters.exact("type", kind)
            && dangling.is_none_or(|dangling| {
                dangling == (!network.is_predefined() && users(daemon, network).is_empty())
            })
    };
    let found: Vec<_> = daemon
        .networks
        .all()
        .iter()
        .filter(|network| is_wanted(network))
        .map(|one| show(daemon, one, false))
        .collect();
    response::json(StatusCode::OK, &found)
}

async fn inspect(context: Context) -> Result<Response, EngineError> {
    let network = context.daemon.networks.find(&context.name)?;
    if context.query.text("scope").is_some_and(|scope| scope != "local") {
        return Err(EngineError::NotFound(format!("network {} not found", context.name)));
    }
    response::json(StatusCode::OK, &show(&context.daemon, &network, true))
}

async fn remove(context: Context) -> Result<Response, EngineError> {
    let daemon = &context.daemon;
    let network = daemon.networks.find(&context.name)?;
    if network.is_predefined() {
        let name = &network.name;
        return Err(EngineError::Denied(format!("{name} is a pre-defined network and cannot be removed")));
    }
    if users(daemon, &network).iter().any(|container| container.is_running()) {
        return Err(EngineError::Denied(format!(
            "error while removing network: network {} has active endpoints",
            network.name
        )));
    }
    forget(daemon, &network).await?;
    Ok(response::status(StatusCode::NO_CONTENT))
}

async fn prune(context: Context) -> Result<Response, EngineError> {
    let daemon = &context.daemon;
    let filters = Filters::from_query(&context.query, &["label", "label!", "until"])?;
    let until = filters.values("until").next().map(|text| {
        time::parse(text).ok_or_else(|| EngineError::BadRequest(format!("invalid filter 'until={text}'")))
    });
    let until = until.transpose()?;
    let mut deleted = Vec::new();
    for network in daemon.networks.all() {
        let is_wanted = !network.is_predefined()
            && users(daemon, &network).is_empty()
            && until.is_none_or(|until| network.created <= until)
            && filters.labels("label", &network.labels)
            && (!filters.has("label!") || !filters.labels("label!", &network.labels));
        if is_wanted {
            forget(daemon, &network).await?;
            deleted.push(network.name);
        }
    }
    let mut batch = Batch::default();
    let reclaimed = BTreeMap::from([("reclaimed".to_owned(), "0".to_owned())]);
    daemon.events.push(&mut batch, Event::now("network", "prune", "", reclaimed));
    commit(daemon, batch).await?;
    response::json(StatusCode::OK, &json!({ "NetworksDeleted": deleted }))
}

/// What connect and disconnect take.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConnectBody {
    container: String,
    endpoint_config: Option<models::EndpointSettings>,
    force: Option<bool>,
}

async fn connect(mut context: Context) -> Result<Response, EngineError> {
    let body: ConnectBody = context.json().await?;
    let daemon = &context.daemon;
    let network = daemon.networks.find(&context.name)?;
    let container = daemon.containers.find(&body.container)?;
    let _operation = container.operation.lock().await;
    if network.driver != "bridge" {
        return Err(EngineError::BadRequest(format!(
            "container cannot be connected to network {}: only bridge networks can be joined later",
            network.name
        )));
    }
    refuse_running(&container)?;
    if is_on(&container, &network) {
        return Err(EngineError::Denied(format!(
            "endpoint with name {} already exists in network {}",
            container.name(),
            network.name
        )));
    }
    let endpoint = body.endpoint_config.unwrap_or_default();
    container
        .record
        .borrow_mut()
        .networks
        .endpoints_config
        .get_or_insert_default()
        .insert(network.name.clone(), endpoint);
    keep(daemon, &container, &network, "connect").await?;
    Ok(response::status(StatusCode::OK))
}

async fn disconnect(mut context: Context) -> Result<Response, EngineError> {
    let body: ConnectBody = context.json().await?;
    let daemon = &context.daemon;
    let network = daemon.networks.find(&context.name)?;
    let container = match daemon.containers.find(&body.container) {
        // A container that is gone is on no network.
        Err(EngineError::NotFound(_)) if body.force == Some(true) => {
            return Ok(response::status(StatusCode::OK));
        }
        found => found?,
    };
    let _operation = container.operation.lock().await;
    if !is_on(&container, &network) {
        return Err(EngineError::Denied(format!(
            "container {} is not connected to network {}",
            container.id, network.name
        )));
    }
    refuse_running(&container)?;
    if let Some(endpoints) = container.record.borrow_mut().networks.endpoints_config.as_mut() {
        endpoints.retain(|name, _| *name != network.name && *name != network.id);
    }
    keep(daemon, &container, &network, "disconnect").await?;
    Ok(response::status(StatusCode::OK))
}

fn refuse_running(container: &Container) -> Result<(), EngineError> {
    if !container.is_running() {
        return Ok(());
    }
    Err(EngineError::Unsupported(format!(
        "container {} runs: the networks of a virtual machine cannot be changed while it runs; stop it first",
        container.name()
    )))
}

async fn keep(
    daemon: &Daemon,
    container: &Container,
    network: &Network,
    action: &str,
) -> Result<(), EngineError> {
    let mut batch = Batch::default();
    container.keep(&mut batch)?;
    tell(daemon, &mut batch, network, action, &[("container", &container.id)]);
    commit(daemon, batch).await
}

async fn forget(daemon: &Daemon, network: &Network) -> Result<(), EngineError> {
    let mut batch = Batch::default();
    daemon.networks.forget(&mut batch, &network.id);
    tell(daemon, &mut batch, network, "destroy", &[]);
    commit(daemon, batch).await
}

fn tell(daemon: &Daemon, batch: &mut Batch, network: &Network, action: &str, more: &[(&str, &str)]) {
    let own = [("name", network.name.as_str()), ("type", network.driver.as_str())];
    let attributes =
        own.iter().chain(more).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    daemon.events.push(batch, Event::now("network", action, &network.id, attributes));
}

async fn commit(daemon: &Daemon, batch: Batch) -> Result<(), EngineError> {
    Ok(daemon.db.commit(batch).await?)
}

/// Whether a container was created on a network, or connected to it.
fn is_on(container: &Container, network: &Network) -> bool {
    let record = container.record.borrow();
    let endpoints = record.networks.endpoints_config.as_ref();
    let named = |name: &str| name == network.name || name == network.id;
    endpoints.is_some_and(|endpoints| endpoints.keys().any(|name| named(name)))
        || record.host_config.network_mode.as_deref().is_some_and(|mode| {
            let mode = if matches!(mode, "" | "default") { "bridge" } else { mode };
            named(mode) && endpoints.is_none_or(HashMap::is_empty)
        })
}

/// The containers of a network, running or not.
fn users(daemon: &Daemon, network: &Network) -> Vec<Rc<Container>> {
    let mut all = daemon.containers.all();
    all.retain(|container| is_on(container, network));
    all
}

/// A network in the form of the API. Lists have no containers.
fn show(daemon: &Daemon, network: &Network, containers: bool) -> models::Network {
    let map = |from: &BTreeMap<String, String>| -> HashMap<String, String> {
        from.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let pool = |pool: &Pool| models::IpamConfig {
        subnet: Some(pool.subnet.to_string()),
        gateway: pool.gateway.map(|gateway| gateway.to_string()),
        ip_range: pool.range.map(|range| range.to_string()),
        ..models::IpamConfig::default()
    };
    let endpoint = |container: Rc<Container>| {
        let shown = models::NetworkContainer {
            name: Some(container.name()),
            endpoint_id: Some(String::new()),
            mac_address: Some(String::new()),
            ipv4_address: Some(String::new()),
            ipv6_address: Some(String::new()),
        };
        (container.id.clone(), shown)
    };
    let running = users(daemon, network).into_iter().filter(|container| container.is_running());
    models::Network {
        name: Some(network.name.clone()),
        id: Some(network.id.clone()),
        created: Some(time::trimmed(network.created)),
        scope: Some("local".into()),
        driver: Some(network.driver.clone()),
        enable_ipv4: Some(true),
        enable_ipv6: Some(network.ipv6),
        ipam: Some(models::Ipam {
            driver: Some("default".into()),
            config: Some(network.subnets.iter().map(pool).collect()),
            options: None,
        }),
        internal: Some(network.internal),
        attachable: Some(network.attachable),
        ingress: Some(false),
        config_only: Some(false),
        containers: Some(if containers { running.map(endpoint).collect() } else { HashMap::new() }),
        options: Some(map(&network.options)),
        labels: Some(map(&network.labels)),
        ..models::Network::default()
    }
}
