//! `GET /system/df`: what images, containers and volumes take on the host's disk.

use std::os::unix::fs::MetadataExt as _;
use std::rc::Rc;

use bollard_stubs::models::{ContainerSummary, Volume, VolumeUsageData};
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use vdocker::EngineError;
use vdocker::response::{self, Response};

use crate::container::{Container, list};
use crate::context::Context;
use crate::daemon::Daemon;
use crate::failure::failed;
use crate::{images, volume};

const TYPES: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// `GET /system/df`.
pub(super) async fn df(context: Context) -> Result<Response, EngineError> {
    let wanted: Vec<&str> = context.query.all("type").collect();
    if let Some(unknown) = wanted.iter().find(|kind| !TYPES.contains(kind)) {
        return Err(EngineError::BadRequest(format!("unknown object type: {unknown}")));
    }
    let is_wanted = |kind: &str| wanted.is_empty() || wanted.contains(&kind);
    let daemon = &context.daemon;
    let mut usage = Map::new();
    if is_wanted("image") {
        let (images, size) = images::list::usage(daemon).await?;
        usage.insert("LayersSize".into(), json!(size));
        usage.insert("Images".into(), Value::Array(images));
    }
    if is_wanted("container") {
        usage.insert("Containers".into(), json!(containers(daemon).await?));
    }
    if is_wanted("volume") {
        usage.insert("Volumes".into(), json!(volumes(daemon).await?));
    }
    if is_wanted("build-cache") {
        usage.insert("BuildCache".into(), json!([]));
    }
    if !context.version.at_least(42) {
        usage.insert("BuilderSize".into(), json!(0));
    }
    response::json(StatusCode::OK, &usage)
}

/// All containers. What one has written is what its disk takes here: no pod is asked, nor booted for it.
async fn containers(daemon: &Daemon) -> Result<Vec<ContainerSummary>, EngineError> {
    let all = daemon.containers.all();
    let disks = all.iter().map(|one| daemon.pods.of(&one.id).map(|dir| dir.scratch()));
    let disks = disks.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
    let written = daemon.blocking(move || disks.iter().map(|disk| taken(disk)).collect::<Vec<_>>()).await?;
    let store = daemon.images.clone();
    let ids: Vec<_> = all.iter().map(|one| one.record.borrow().image_id.clone()).collect();
    let sizes = daemon.blocking(move || {
        let size = |id: &String| store.image(id).map_or(0, |image| image.size);
        ids.iter().map(size).collect::<Vec<_>>()
    });
    let show = |((container, written), size): ((&Rc<Container>, u64), u64)| ContainerSummary {
        size_rw: i64::try_from(written).ok(),
        size_root_fs: i64::try_from(written.saturating_add(size)).ok(),
        ..list::describe(container)
    };
    Ok(all.iter().zip(written).zip(sizes.await?).map(show).collect())
}

/// All volumes with what they take: files of a directory are counted, a disk is asked.
async fn volumes(daemon: &Daemon) -> Result<Vec<Volume>, EngineError> {
    let (all, store) = (daemon.volumes.all(), daemon.volumes.store().clone());
    let used =
        daemon.blocking(move || all.into_iter().map(|one| (store.used(&one), one)).collect::<Vec<_>>());
    let show = |(used, one): (u64, pod::Volume)| {
        let users = volume::users(daemon, &one.name).len();
        let used = VolumeUsageData {
            size: i64::try_from(used).unwrap_or(i64::MAX),
            ref_count: i64::try_from(users).unwrap_or(i64::MAX),
        };
        Volume { usage_data: Some(used), ..volume::routes::show(daemon, &one) }
    };
    Ok(used.await?.into_iter().map(show).collect())
}

/// Bytes that a file takes; 0 where there is none, as before the first start.
pub(crate) fn taken(file: &std::path::Path) -> u64 {
    std::fs::metadata(file).map_or(0, |found| found.blocks() * 512)
}
