//! What a container's files take: asked of its pod while that runs, else read from its disk, for which nothing is booted.

use std::rc::Rc;

use bollard_stubs::models::ContainerInspectResponse;

use super::Container;
use crate::daemon::Daemon;
use crate::pods::client;

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// What the container has written.
    pub(super) written: i64,
    /// That and its image.
    pub(super) all: i64,
}

/// The sizes of a container; `None` where nobody can tell.
pub(super) async fn of(daemon: &Rc<Daemon>, container: &Container) -> Option<Sizes> {
    let dir = daemon.pods.of(&container.id).ok()?;
    if container.is_reachable.get() {
        let target = format!("/containers/{}/json?size=1", container.id);
        let found: ContainerInspectResponse = client::get(&dir, &target).await.ok()?;
        return Some(Sizes { written: found.size_rw?, all: found.size_root_fs? });
    }
    let (templates, store) = (daemon.config.templates.clone(), daemon.images.clone());
    let image = container.record.borrow().image_id.clone();
    let measured = daemon.blocking(move || {
        let written = match image::ext4::written(&templates, &dir.scratch()) {
            // It is made at the first start.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            written => written.ok()?,
        };
        Some((written, store.image(&image).map_or(0, |image| image.size)))
    });
    let (written, image) = measured.await.ok()??;
    let bytes = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Some(Sizes { written: bytes(written), all: bytes(written.saturating_add(image)) })
}
