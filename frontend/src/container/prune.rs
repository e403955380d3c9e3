//! `POST /containers/prune`: all containers that do not run are removed.

use hyper::StatusCode;
use serde_json::json;
use vdocker::EngineError;
use vdocker::filters::Filters;
use vdocker::response::{self, Response};

use super::record::Status;
use super::{Container, lifecycle, remove};
use crate::context::Context;
use crate::daemon::Daemon;
use crate::events::Event;
use crate::system::df;

/// `POST /containers/prune`.
pub(super) async fn prune(context: Context) -> Result<Response, EngineError> {
    let filters = Filters::from_query(&context.query, &["until", "label", "label!"])?;
    let until = filters.values("until").next().map(crate::images::list::moment).transpose()?;
    let daemon = context.daemon;
    let pruned = lifecycle::whole(async move {
        let (mut pruned, mut reclaimed) = (Vec::new(), 0);
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
            let used = used(&daemon, &container).await;
            if remove::remove(&daemon, &container, remove::Options::default()).await.is_ok() {
                pruned.push(container.id.clone());
                reclaimed += used;
            }
        }
        let mut batch = crate::db::Batch::default();
        let told = [("reclaimed".to_owned(), reclaimed.to_string())].into();
        daemon.events.push(&mut batch, Event::now("container", "prune", "", told));
        daemon.db.commit(batch).await?;
        Ok((pruned, reclaimed))
    });
    let (pruned, reclaimed) = pruned.await?;
    let deleted = (!pruned.is_empty()).then_some(pruned);
    response::json(StatusCode::OK, &json!({ "ContainersDeleted": deleted, "SpaceReclaimed": reclaimed }))
}

/// Bytes that the host gets back when a container is removed.
async fn used(daemon: &Daemon, container: &Container) -> u64 {
    let Ok(dir) = daemon.pods.of(&container.id) else { return 0 };
    daemon.blocking(move || df::taken(&dir.scratch())).await.unwrap_or_default()
}
