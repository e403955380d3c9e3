//! `/volumes`.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use bollard_stubs::models;
use hyper::{Method, StatusCode};
use pod::volume::users::Users;
use pod::volume::{Volume, Wanted};
use serde::Deserialize;
use serde_json::{Value, json};
use vdocker::EngineError;
use vdocker::filters::Filters;
use vdocker::response::{self, Response};
use vdocker::time;

use super::{create, missing, remove, users};
use crate::container::lifecycle::whole;
use crate::context::Context;
use crate::daemon::Daemon;
use crate::db::Batch;
use crate::events::Event;
use crate::failure::failed;
use crate::patterns::Patterns;
use crate::routes::{Route, route};

/// All routes.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "volumes", list),
        route(Method::POST, "volumes/create", post),
        route(Method::POST, "volumes/prune", prune),
        route(Method::GET, "volumes/{id}", inspect),
        route(Method::DELETE, "volumes/{id}", delete),
        route(Method::PUT, "volumes/{id}", async |_| {
            Err(EngineError::Unsupported("only volumes of a swarm can be updated".into()))
        }),
    ]
}

/// What `POST /volumes/create` takes; `null` is as good as nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    name: Option<String>,
    driver: Option<String>,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    cluster_volume_spec: Option<serde_json::Value>,
}

async fn post(mut context: Context) -> Result<Response, EngineError> {
    let body: CreateBody = context.json().await?;
    if body.cluster_volume_spec.is_some() {
        return Err(EngineError::Busy("This node is not a swarm manager: it has no cluster volumes.".into()));
    }
    let wanted = Wanted {
        name: body.name.unwrap_or_default(),
        driver: body.driver,
        labels: body.labels.unwrap_or_default(),
        options: body.driver_opts.unwrap_or_default(),
        size: 0,
    };
    let daemon = Rc::clone(&context.daemon);
    let volume = whole(async move { create(&daemon, wanted).await }).await?;
    response::json(StatusCode::CREATED, &show(&context.daemon, &volume))
}

async fn inspect(context: Context) -> Result<Response, EngineError> {
    let volume = context.daemon.volumes.get(&context.name).ok_or_else(|| missing(&context.name))?;
    let shown = show(&context.daemon, &volume);
    let mut shown = serde_json::to_value(shown).map_err(|error| failed(&error))?;
    shown["Status"] = status(&context.daemon, volume).await?;
    response::json(StatusCode::OK, &shown)
}

async fn delete(context: Context) -> Result<Response, EngineError> {
    let (daemon, name) = (Rc::clone(&context.daemon), context.name.clone());
    match whole(async move { remove(&daemon, &name).await }).await {
        Err(EngineError::NotFound(_)) if context.query.flag("force") => {}
        result => result?,
    }
    Ok(response::status(StatusCode::NO_CONTENT))
}

async fn list(context: Context) -> Result<Response, EngineError> {
    let daemon = &context.daemon;
    let filters = Filters::from_query(&context.query, &["dangling", "driver", "label", "label!", "name"])?;
    let dangling = filters.truth("dangling")?;
    let names = Patterns::read(&filters, "name")?;
    let is_wanted = |volume: &Volume| {
        dangling.is_none_or(|dangling| dangling == users(daemon, &volume.name).is_empty())
            && filters.exact("driver", volume.driver())
            && filters.labels("label", &volume.labels)
            && (!filters.has("label!") || !filters.labels("label!", &volume.labels))
            && names.pass(&[&volume.name])
    };
    let volumes: Vec<_> =
        daemon.volumes.all().iter().filter(|one| is_wanted(one)).map(|one| show(daemon, one)).collect();
    response::json(StatusCode::OK, &json!({ "Volumes": volumes, "Warnings": null }))
}

async fn prune(context: Context) -> Result<Response, EngineError> {
    let filters = Filters::from_query(&context.query, &["all", "label", "label!"])?;
    // Since version 1.42 named volumes are left alone unless asked for.
    let all = filters.truth("all")?.unwrap_or(!context.version.at_least(42));
    let daemon = context.daemon;
    let (deleted, reclaimed) = whole(async move { remove_unused(&daemon, &filters, all).await }).await?;
    response::json(StatusCode::OK, &json!({ "VolumesDeleted": deleted, "SpaceReclaimed": reclaimed }))
}

/// Removes what no container has, and answers the names and the bytes that are free now.
async fn remove_unused(
    daemon: &Rc<Daemon>,
    filters: &Filters,
    all: bool,
) -> Result<(Vec<String>, u64), EngineError> {
    let (mut deleted, mut reclaimed) = (Vec::new(), 0);
    for volume in daemon.volumes.all() {
        let is_wanted = (all || volume.is_anonymous())
            && users(daemon, &volume.name).is_empty()
            && filters.labels("label", &volume.labels)
            && (!filters.has("label!") || !filters.labels("label!", &volume.labels));
        if !is_wanted {
            continue;
        }
        let (store, of_work) = (daemon.volumes.store().clone(), volume.clone());
        let used = daemon.blocking(move || store.used(&of_work)).await?;
        match remove(daemon, &volume.name).await {
            Ok(()) => {
                deleted.push(volume.name);
                reclaimed += used;
            }
            // A container took it meanwhile, or another request removed it.
            Err(EngineError::Conflict(_) | EngineError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let mut batch = Batch::default();
    let attributes = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
    daemon.events.push(&mut batch, Event::now("volume", "prune", "", attributes));
    daemon.db.commit(batch).await?;
    Ok((deleted, reclaimed))
}

/// A volume in the form of the API.
pub(crate) fn show(daemon: &Daemon, volume: &Volume) -> models::Volume {
    let map = |from: &BTreeMap<String, String>| -> HashMap<String, String> {
        from.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    models::Volume {
        name: volume.name.clone(),
        driver: volume.driver().into(),
        mountpoint: daemon.volumes.store().place(volume).display().to_string(),
        created_at: Some(time::trimmed(UNIX_EPOCH + Duration::from_nanos(volume.created))),
        labels: map(&volume.labels),
        scope: Some(models::VolumeScopeEnum::LOCAL),
        options: map(&volume.options),
        ..models::Volume::default()
    }
}

/// What is known of a volume besides: bytes that it has and that it takes, and the pods that run with it, those of the command
/// line among them.
async fn status(daemon: &Daemon, volume: Volume) -> Result<Value, EngineError> {
    let (store, images) = (daemon.volumes.store().clone(), daemon.images.clone());
    let looked = daemon.blocking(move || {
        let (users, place) = (Users::of(&images)?, store.place(&volume));
        let running: Vec<_> = users.running_with(&place).map(|pod| pod.path().to_owned()).collect();
        // As text: clients in Go would print large numbers with an exponent.
        let size = store.size(&volume).map(|size| size.to_string());
        Ok(json!({ "Size": size, "Allocated": store.used(&volume).to_string(), "InUseBy": running }))
    });
    looked.await?.map_err(|error: image::StoreError| failed(&error))
}
