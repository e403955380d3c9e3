//! `POST /containers/prune`: all containers that do not run are removed.

use hyper::StatusCode;
use serde_json::json;
use vdocker::EngineError;
use vdocker::filters::Filters;
use vdocker::response::{self, Response};

use super::record::Status;
use super::{lifecycle, remove};
use crate::context::Context;
use crate::events::Event;

/// `POST /containers/prune`.
pub(super) async fn prune(context: Context) -> Result<Response, EngineError> {
    let filters = Filters::from_query(&context.query, &["until", "label", "label!"])?;
    let until = filters.values("until").next().map(crate::images::list::moment).transpose()?;
    let daemon = context.daemon;
    let pruned = lifecycle::whole(async move {
        let mut pruned = Vec::new();
        for container in daemon.containers.all() {
            let (labels, created) = {
                let record = container.record.borrow();
                let labels = record.config.labels.iter().flatten();
                (labels.map(|(name, value)| (name.clone(), value.clone())).collect(), record.created)
            };
            let stands = matches!(container.status(), Status::Created | Status::Exited | Status::Dead);
            let unwanted = filters.has("label!") && filters.labels("label!", &labels);
            let is_older = until.is_none_or(|until| created < until);
            if !stands || unwanted || !is_older || !filters.labels("label", &labels) {
                continue;
            }
            if remove::remove(&daemon, &container, remove::Options::default()).await.is_ok() {
                pruned.push(container.id.clone());
            }
        }
        let mut batch = crate::db::Batch::default();
        let reclaimed = [("reclaimed".to_owned(), "0".to_owned())].into();
        daemon.events.push(&mut batch, Event::now("container", "prune", "", reclaimed));
        daemon.db.commit(batch).await?;
        Ok(pruned)
    });
    let pruned = pruned.await?;
    let deleted = (!pruned.is_empty()).then_some(pruned);
    response::json(StatusCode::OK, &json!({ "ContainersDeleted": deleted, "SpaceReclaimed": 0 }))
}
