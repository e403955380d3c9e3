//! `/networks`: lists, inspect, removal.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::SystemTime;

use hyper::{Method, StatusCode};
use serde_json::json;
use vdocker::EngineError;
use vdocker::filters::Filters;
use vdocker::response::{self, Response};
use vdocker::time;

use super::{Network, create, membership, show};
use crate::container::Container;
use crate::container::lifecycle::whole;
use crate::context::Context;
use crate::daemon::Daemon;
use crate::db::Batch;
use crate::events::Event;
use crate::patterns::Patterns;
use crate::routes::{Route, route};

const FILTERS: [&str; 8] = ["dangling", "driver", "id", "label", "label!", "name", "scope", "type"];

/// All routes.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "networks", list),
        route(Method::POST, "networks/create", create::create),
        route(Method::POST, "networks/prune", prune),
        route(Method::GET, "networks/{id}", inspect),
        route(Method::DELETE, "networks/{id}", remove),
        route(Method::POST, "networks/{id}/connect", membership::connect),
        route(Method::POST, "networks/{id}/disconnect", membership::disconnect),
    ]
}

async fn list(context: Context) -> Result<Response, EngineError> {
    let daemon = &context.daemon;
    let filters = Filters::from_query(&context.query, &FILTERS)?;
    let names = Patterns::read(&filters, "name")?;
    let dangling = filters.truth("dangling")?;
    if let Some(other) = filters.values("type").find(|kind| !["builtin", "custom"].contains(kind)) {
        return Err(EngineError::BadRequest(format!("invalid filter: 'type'='{other}'")));
    }
    let is_wanted = |network: &Network| {
        let kind = if network.is_predefined() { "builtin" } else { "custom" };
        filters.exact("driver", &network.driver)
            && filters.any("id", |start| network.id.starts_with(start))
            && filters.labels("label", &network.labels)
            && (!filters.has("label!") || !filters.labels("label!", &network.labels))
            && names.pass(&[&network.name])
            && filters.exact("scope", "local")
            && filters.exact("type", kind)
            && dangling.is_none_or(|dangling| {
                dangling == (!network.is_predefined() && members(daemon, network).is_empty())
            })
    };
    let found: Vec<_> = daemon
        .networks
        .all()
        .iter()
        .filter(|network| is_wanted(network))
        .map(|one| show::network(daemon, one, false))
        .collect();
    response::json(StatusCode::OK, &found)
}

async fn inspect(context: Context) -> Result<Response, EngineError> {
    let network = context.daemon.networks.find(&context.name)?;
    if context.query.text("scope").is_some_and(|scope| scope != "local") {
        return Err(EngineError::NotFound(format!("network {} not found", context.name)));
    }
    response::json(StatusCode::OK, &show::network(&context.daemon, &network, true))
}

async fn remove(context: Context) -> Result<Response, EngineError> {
    let daemon = &context.daemon;
    let network = daemon.networks.find(&context.name)?;
    if network.is_predefined() {
        let name = &network.name;
        return Err(EngineError::Denied(format!("{name} is a pre-defined network and cannot be removed")));
    }
    let members = members(daemon, &network);
    if !members.is_empty() {
        let endpoint =
            |container: &Rc<Container>| format!("name:{:?} id:{:?}", container.name(), &container.id[..12]);
        return Err(EngineError::Denied(format!(
            "error while removing network: network {} has active endpoints ({})",
            network.name,
            members.iter().map(endpoint).collect::<Vec<_>>().join(", ")
        )));
    }
    forget(daemon, &network).await?;
    Ok(response::status(StatusCode::NO_CONTENT))
}

async fn prune(context: Context) -> Result<Response, EngineError> {
    let filters = Filters::from_query(&context.query, &["label", "label!", "until"])?;
    let until = filters.values("until").next().map(|text| {
        time::parse(text).ok_or_else(|| EngineError::BadRequest(format!("invalid filter 'until={text}'")))
    });
    let until = until.transpose()?;
    let daemon = context.daemon;
    let deleted = whole(async move { remove_unused(&daemon, &filters, until).await }).await?;
    response::json(StatusCode::OK, &json!({ "NetworksDeleted": deleted }))
}

/// Removes what no container is on, and answers the names.
async fn remove_unused(
    daemon: &Daemon,
    filters: &Filters,
    until: Option<SystemTime>,
) -> Result<Vec<String>, EngineError> {
    let mut deleted = Vec::new();
    for network in daemon.networks.all() {
        let is_wanted = !network.is_predefined()
            && members(daemon, &network).is_empty()
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
    daemon.db.commit(batch).await?;
    Ok(deleted)
}

async fn forget(daemon: &Daemon, network: &Network) -> Result<(), EngineError> {
    let mut batch = Batch::default();
    daemon.networks.forget(&mut batch, &network.id);
    daemon.events.push(&mut batch, network.event("destroy", &[]));
    if let Err(error) = daemon.db.commit(batch).await {
        daemon.networks.keep(&mut Batch::default(), network.clone())?;
        return Err(error.into());
    }
    daemon.networks.remove_directory(daemon, &network.id).await;
    Ok(())
}

/// The containers whose pods are on a network, or about to be.
fn members(daemon: &Daemon, network: &Network) -> Vec<Rc<Container>> {
    let mut all = daemon.containers.all();
    all.retain(|container| container.has_pod() && container.is_on(&network.id));
    all
}
