//! `DELETE /images/{name}` and `POST /images/prune`.

use std::collections::BTreeMap;

use hyper::StatusCode;
use image::{CatalogError, Removed, Store, Use};
use serde_json::{Value, json};
use vdocker::EngineError;
use vdocker::filters::Filters;
use vdocker::response::{self, Response};
use vdocker::time;

use super::list::{created, moment};
use super::{blocking, event, job, refusal};
use crate::context::Context;
use crate::daemon::Daemon;
use crate::events::Event;
use crate::failure::failed;

/// `DELETE /images/{name}`.
pub(super) async fn delete(context: Context) -> Result<Response, EngineError> {
    let (store, name) = (context.daemon.images.clone(), context.name.clone());
    let (uses, force) = (uses(&context.daemon), context.query.flag("force"));
    let (lines, events) = blocking(move || {
        let labels = store.image(&name).map_err(refusal)?.config.config;
        let (id, removed) = store.delete_image(&name, &uses, force).map_err(refusal)?;
        store.sweep().map_err(|error| failed(&error))?;
        let id = id.to_string();
        let events = removed.iter().map(|one| event(verb(one), &id, &id, Some(&labels))).collect();
        Ok((removed.iter().map(line).collect::<Vec<_>>(), events))
    })
    .await?;
    job::keep(&context.daemon, events).await?;
    response::json(StatusCode::OK, &lines)
}

/// Which container uses which image.
fn uses(daemon: &Daemon) -> Vec<Use> {
    let uses = daemon.containers.all().into_iter().filter_map(|container| {
        let image = container.record.borrow().image_id.parse().ok()?;
        Some(Use { image, container: container.id.clone(), running: container.is_running() })
    });
    uses.collect()
}

fn verb(removed: &Removed) -> &'static str {
    match removed {
        Removed::Untagged(_) => "untag",
        Removed::Deleted(_) => "delete",
    }
}

fn line(removed: &Removed) -> Value {
    match removed {
        Removed::Untagged(name) => json!({ "Untagged": name }),
        Removed::Deleted(id) => json!({ "Deleted": id }),
    }
}

/// `POST /images/prune`.
pub(super) async fn prune(context: Context) -> Result<Response, EngineError> {
    let filters = Filters::from_query(&context.query, &["dangling", "until", "label", "label!"])?;
    let dangling = filters.truth("dangling")?.unwrap_or(true);
    let until = filters.values("until").map(moment).collect::<Result<Vec<_>, _>>()?.into_iter().min();
    let (store, uses) = (context.daemon.images.clone(), uses(&context.daemon));
    let (lines, reclaimed, mut events) = blocking(move || {
        let (mut lines, mut events) = (Vec::new(), Vec::new());
        for image in store.images().map_err(|error| failed(&error))? {
            let labels = &image.config.config.labels;
            let wanted = (!dangling || image.tags.is_empty())
                && until.is_none_or(|until| created(&image.config) <= time::unix(until))
                && filters.labels("label", labels)
                && (!filters.has("label!") || !filters.labels("label!", labels));
            if !wanted || uses.iter().any(|used| used.image == image.id) {
                continue;
            }
            let id = image.id.to_string();
            for one in remove(&store, &image, &uses)? {
                events.push(event(verb(&one), &id, &id, Some(&image.config.config)));
                lines.push(line(&one));
            }
        }
        let swept = store.sweep().map_err(|error| failed(&error))?;
        Ok((lines, swept.bytes, events))
    })
    .await?;
    let attributes = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
    events.push(Event::now("image", "prune", "", attributes));
    job::keep(&context.daemon, events).await?;
    let deleted = if lines.is_empty() { Value::Null } else { json!(lines) };
    response::json(StatusCode::OK, &json!({"ImagesDeleted": deleted, "SpaceReclaimed": reclaimed}))
}

/// Removes an image with all its names; what somebody took meanwhile stays.
fn remove(store: &Store, image: &image::StoredImage, uses: &[Use]) -> Result<Vec<Removed>, EngineError> {
    let names: Vec<_> = image.tags.iter().chain(&image.digests).map(ToString::to_string).collect();
    let names = if names.is_empty() { vec![image.id.to_string()] } else { names };
    let mut removed = Vec::new();
    for name in names {
        match store.delete_image(&name, uses, false) {
            Ok((_, one)) => removed.extend(one),
            // With the last tag of a repository its digests went.
            Err(CatalogError::NoImage(_) | CatalogError::Conflict(_)) => {}
            Err(error) => return Err(refusal(error)),
        }
    }
    Ok(removed)
}
